//! HTTP callouts. The test answers them.

use super::{Answer, Guest};
use crate::abi::{Status, decode_pairs};
use crate::headers::Headers;
use std::time::Duration;

/// An HTTP callout that a filter made and nobody has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpCall {
    /// By which it is answered.
    pub token: u32,
    /// The Envoy cluster that it goes to.
    pub cluster: String,
    /// The request's headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Headers,
    /// How long the filter waits; `None` is for ever.
    pub timeout: Option<Duration>,
    /// The root context that is called back.
    pub(crate) root: u32,
    /// When it was made, in nanoseconds since 1970.
    pub(crate) made: u64,
}

#[allow(clippy::too_many_arguments)] // The ABI's.
pub(super) fn proxy_http_call(
    guest: &mut Guest<'_>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    token_at: u32,
) -> Answer {
    let cluster = String::from_utf8_lossy(guest.read(cluster, cluster_size)?).into_owned();
    let body = guest.read(body, body_size)?.to_vec();
    let headers: Headers = decode_pairs(guest.read(headers, headers_size)?).into_iter().collect();
    let trailers = decode_pairs(guest.read(trailers, trailers_size)?).into_iter().collect();
    // Whether there is a place for the token is seen before anything is sent.
    guest.write(token_at, &[0; 4])?;
    let state = guest.state_mut();
    // The timeout is signed.
    let wrong = timeout > i32::MAX as u32
        || !has_cluster(state, &cluster)
        || [":path", ":method", ":authority"].iter().any(|name| headers.get(name).is_none());
    if wrong {
        return Err(Status::BadArgument.into());
    }
    state.tokens.http += 4;
    let (token, root, made) = (state.tokens.http, state.root_id(), state.now);
    let timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout)));
    let call = HttpCall { token, cluster, headers, body, trailers, timeout, root, made };
    state.root_mut().ok_or(Status::InternalFailure)?.http_calls.insert(token, call);
    guest.write(token_at, &token.to_le_bytes())
}

/// Whether Envoy has the cluster.
pub(super) fn has_cluster(state: &crate::state::State, cluster: &str) -> bool {
    state.surroundings.clusters.as_ref().is_none_or(|clusters| clusters.contains(cluster))
}
