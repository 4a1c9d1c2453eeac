//! Checks that each variant does what its name says, before it is measured.

use crate::connection::Connection;
use crate::connection_manager::{Answers, ROOT_BODY, SPLIT_BODY};
use crate::proxy::Proxy;
use crate::upstreams::Upstreams;
use crate::variants::{BACKENDS, Destination, OTHER_HOST, Request, Splitter, Variant};
use e2e::{Error, Result, is_share, wait_for};
use std::collections::BTreeMap;

/// Requests that a check sends.
const REQUESTS: u64 = 400;
/// Standard deviations that a share may differ. A correct variant fails less than once in a million runs.
const SIGMAS: f64 = 5.0;

/// Checks the responses of a variant, from Envoy itself and from the upstreams.
///
/// # Errors
/// A variant does something else; the message says what.
pub(crate) fn check(proxy: &Proxy, upstreams: &Upstreams, variant: &Variant) -> Result<()> {
    let context = |error: Error| Error(format!("{}: {error}", variant.label));
    let copies = upstreams.requests_of_second();
    let bodies = send(proxy, variant, Answers::Upstreams, &variant.request).map_err(context)?;
    check_destination(variant, &bodies).map_err(context)?;
    if variant.is_mirrored {
        wait_for(&format!("{}: {REQUESTS} copies at {}", variant.label, BACKENDS[1]), || {
            Ok((upstreams.requests_of_second() - copies >= REQUESTS).then_some(()))
        })?;
    }
    let other = Request { host: OTHER_HOST, headers: Vec::new() };
    let bodies = send(proxy, variant, Answers::Upstreams, &other).map_err(context)?;
    expect_only(&bodies, ROOT_BODY).map_err(context)?;
    check_direct(proxy, variant)
}

/// Checks the responses of Envoy itself.
///
/// # Errors
/// The variant uses another route; the message says which.
pub(crate) fn check_direct(proxy: &Proxy, variant: &Variant) -> Result<()> {
    let bodies = send(proxy, variant, Answers::Direct, &variant.request)?;
    let checked = match variant.splitter {
        // The route of split requests does not know the backend.
        Splitter::Lua | Splitter::Filter(_) if variant.destination != Destination::Root => {
            expect_only(&bodies, SPLIT_BODY)
        }
        _ => check_destination(variant, &bodies),
    };
    checked.map_err(|error| Error(format!("{}: {error}", variant.label)))
}

fn send(proxy: &Proxy, variant: &Variant, answers: Answers, request: &Request) -> Result<BTreeMap<String, u64>> {
    let mut connection = Connection::open(proxy.address(&variant.key, answers)?, request.bytes())?;
    let mut bodies = BTreeMap::new();
    for _ in 0..REQUESTS {
        connection.send()?;
        *bodies.entry(connection.body().to_owned()).or_default() += 1;
    }
    Ok(bodies)
}

fn check_destination(variant: &Variant, bodies: &BTreeMap<String, u64>) -> Result<()> {
    let [first, second] = BACKENDS.map(|name| bodies.get(name).copied().unwrap_or(0));
    let fits = match variant.destination {
        Destination::Root => return expect_only(bodies, ROOT_BODY),
        Destination::Halves => first + second == REQUESTS && is_share(first, REQUESTS, 0.5, SIGMAS),
        Destination::OneBackend => first.max(second) == REQUESTS,
    };
    if fits { Ok(()) } else { Err(Error(format!("expected {:?}, got {bodies:?}", variant.destination))) }
}

fn expect_only(bodies: &BTreeMap<String, u64>, body: &str) -> Result<()> {
    if bodies.get(body) == Some(&REQUESTS) {
        Ok(())
    } else {
        Err(Error(format!("expected {REQUESTS} responses `{body}`, got {bodies:?}")))
    }
}
