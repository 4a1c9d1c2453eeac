//! The rules of one client's sidecar, and the one function that decides: [`Rules::decide`].

use crate::configuration::pattern::MatchingSteps;
use crate::configuration::plugin_configuration::Configuration;
use crate::configuration::problem::Problem;
use crate::routing::authority::Authority;
use crate::routing::backend::Backend;
use crate::routing::cookie;
use crate::routing::counter::Reason;
use crate::routing::decision::{Decision, Pick, RootReason};
use crate::routing::header_cache::HeaderCache;
use crate::routing::matching;
use crate::routing::mirroring;
use crate::routing::port;
use crate::routing::random::RandomSource;
use crate::routing::request::Request;
use crate::routing::roots::RootTable;
use crate::routing::selection::{Candidates, Selection};
use crate::routing::sharing;
use crate::routing::trace::{Certain, DecidedBy, NoTrace, Observer, RoutingTrace, Share};
use crate::routing::warnings::warnings;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::sync::Arc;

/// The rules of one client's sidecar. Created once from a configuration, then used for each request.
///
/// Rules may share memory: see [`Rules::sharing`]. They never change, so sharing does not affect decisions.
#[derive(Debug)]
pub struct Rules {
    /// Whether the client's namespace is excluded.
    excluded: bool,
    roots: RootTable,
    warnings: Vec<Problem>,
}

impl Rules {
    /// Creates the rules for a client in `client_namespace`. The configuration's own `namespace` takes precedence.
    /// Without either, a host name without a namespace is never a root.
    pub fn new(configuration: &Configuration, client_namespace: Option<&str>) -> Self {
        Self::sharing(configuration, client_namespace, [])
    }

    /// Creates the same rules as [`new`](Self::new), but shares memory with the most similar of `others`: roots, splits
    /// and groups that are equal in both are the same allocations. If few roots changed, the new rules take memory for
    /// those roots only.
    pub fn sharing<'o>(
        configuration: &Configuration,
        client_namespace: Option<&str>,
        others: impl IntoIterator<Item = &'o Self>,
    ) -> Self {
        let client_namespace = configuration.namespace.as_deref().or(client_namespace);
        let others = others.into_iter().map(|other| &other.roots);
        let roots = sharing::roots(configuration, client_namespace, others);
        let excluded = client_namespace.is_some_and(|own| configuration.excluded_namespaces.iter().any(|it| it == own));
        Self { excluded, warnings: warnings(configuration, &roots), roots }
    }

    /// Returns the warnings about the configuration. A configuration with warnings is valid.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Returns the warnings and removes them, so that long-lived rules do not keep their memory.
    pub fn take_warnings(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.warnings)
    }

    /// Decides where `request` goes. The result depends only on the request and the random numbers.
    pub fn decide(&self, request: &impl Request, random: &mut impl RandomSource) -> Decision<'_> {
        let headers = &mut HeaderCache::new(request);
        let candidates = self.candidates(headers, &mut NoTrace);
        let pick = candidates.and_then(|candidates| pick(candidates, headers, random));
        pick.map_or_else(Decision::Root, Decision::Backend)
    }

    /// Returns the steps that [`decide`](Self::decide) takes for `request`, except for random numbers.
    pub fn explain(&self, request: &impl Request) -> RoutingTrace<'_> {
        let headers = &mut HeaderCache::new(request);
        let mut trace = RoutingTrace::default();
        match self.candidates(headers, &mut trace) {
            Ok(candidates) => explain_selection(candidates, headers, &mut trace),
            Err(reason) => trace.root_reason = Some(reason),
        }
        trace
    }

    /// Finds the root, the port and the split of a request; returns the backends of that split that serve the port.
    fn candidates<'r>(
        &'r self,
        headers: &mut HeaderCache<'_, impl Request>,
        observer: &mut impl Observer<'r>,
    ) -> Result<Candidates<'r>, RootReason> {
        if self.excluded {
            return Err(RootReason::Excluded);
        }
        // Without splits, reading `:authority` would be a wasted hostcall.
        if self.roots.is_empty() {
            return Err(RootReason::NoSplit);
        }
        let authority = headers.authority().and_then(Authority::parse).ok_or(RootReason::NoSplit)?;
        let (root, given_port) = self.roots.find(&authority).ok_or(RootReason::NoSplit)?;
        observer.on_root(&root.name, given_port);
        let (port, rule) = port::select(root.ports.as_deref(), given_port, headers).ok_or(RootReason::NoPort)?;
        observer.on_port(port, rule);
        let mut steps = MatchingSteps::new();
        for split in root.splits.iter().map(Arc::as_ref) {
            let matched = match &split.groups {
                None => None,
                Some(groups) => {
                    let on_failed = |failed| observer.on_failed_match(&split.name, failed);
                    let Some(matched) = matching::first_match(groups, headers, &mut steps, on_failed) else { continue };
                    Some(matched)
                }
            };
            observer.on_split(&split.name, matched);
            return Ok(Candidates::new(split, port));
        }
        Err(RootReason::NoMatch)
    }
}

/// Selects the backend and the mirror of a request.
fn pick<'r>(
    candidates: Candidates<'r>,
    headers: &mut HeaderCache<'_, impl Request>,
    random: &mut impl RandomSource,
) -> Result<Pick<'r>, RootReason> {
    let mut set_cookie = None;
    let (backend, reason) = match candidates.select(headers) {
        Selection::Override(backend, _) => (Some(backend), Reason::Override),
        Selection::StickyHeader(backend, _) | Selection::StickyCookie(backend, _) => (Some(backend), Reason::Sticky),
        Selection::NewCookie(cookie) => match random.id() {
            Some(id) => {
                let id = Base64UrlUnpadded::encode_string(&id);
                set_cookie = Some(cookie.attributes.set_cookie(&cookie.name, &id));
                (candidates.sticky_pick(id.as_bytes()), Reason::Sticky)
            }
            None => (candidates.random_pick(random.number()), Reason::Random),
        },
        Selection::Random => (candidates.random_pick(random.number()), Reason::Random),
        Selection::NoBackend => (None, Reason::Random),
    };
    let backend = backend.ok_or(RootReason::NoBackend)?;
    let mirror = mirroring::mirror_of_request(candidates, backend, headers, random);
    Ok(Pick {
        split: &candidates.split.name,
        backend: &backend.target.name,
        cluster: backend.cluster(candidates.port),
        mirror: mirror.map(|mirror| mirror.cluster(candidates.port)),
        set_cookie,
        reason,
        target: &backend.target,
    })
}

/// Records the selection that [`pick`] would make.
fn explain_selection<'r>(
    candidates: Candidates<'r>,
    headers: &mut HeaderCache<'_, impl Request>,
    trace: &mut RoutingTrace<'r>,
) {
    let certain =
        |backend: &'r Backend, reason, decided_by| Some(Certain { backend: &backend.target.name, reason, decided_by });
    match candidates.select(headers) {
        Selection::Override(backend, name) => {
            trace.certain = certain(backend, Reason::Override, header(name, headers));
        }
        Selection::StickyHeader(backend, name) => {
            trace.certain = certain(backend, Reason::Sticky, header(name, headers));
        }
        Selection::StickyCookie(backend, name) => {
            let value = headers.get("cookie").and_then(|header| cookie::find(header, name)).unwrap_or_default();
            trace.certain = certain(backend, Reason::Sticky, DecidedBy::Cookie(name, value.into()));
        }
        Selection::NewCookie(cookie) => trace.new_cookie = Some(&cookie.name),
        Selection::Random => {}
        Selection::NoBackend => {
            trace.root_reason = Some(RootReason::NoBackend);
            return;
        }
    }
    let shares = candidates.iter().map(|backend| Share {
        backend: &backend.target.name,
        cluster: backend.cluster(candidates.port),
        weight: backend.weight,
        // An override may select a backend even if the sum of weights is 0.
        share: backend.weight.billionths() as f64 / (candidates.weight_sum as f64).max(1.0),
    });
    trace.shares = shares.collect();
    trace.mirror = mirroring::mirror(candidates).map(|(backend, percent)| (&*backend.target.name, percent));
}

fn header<'r>(name: &'r str, headers: &mut HeaderCache<'_, impl Request>) -> DecidedBy<'r> {
    DecidedBy::Header(name, headers.get(name).unwrap_or_default().into())
}
