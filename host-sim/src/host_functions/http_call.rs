//! HTTP callouts. The test responds to them.

use super::guest::{Answer, Guest};
use crate::abi::Status;
use crate::abi::pairs::decode_pairs;
use crate::http::headers::Headers;
use crate::state::callout::HttpCall;
use crate::state::vm_state::State;
use std::time::Duration;

#[allow(clippy::too_many_arguments)] // The ABI defines the parameters.
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
    // Envoy checks the address of the token before it sends the request.
    guest.write(token_at, &[0; 4])?;
    let state = guest.state_mut();
    // The timeout is a signed number in Envoy.
    let is_invalid = timeout > i32::MAX as u32
        || !has_cluster(state, &cluster)
        || [":path", ":method", ":authority"].iter().any(|name| headers.get(name).is_none());
    if is_invalid {
        return Err(Status::BadArgument.into());
    }
    state.tokens.http += 4;
    let (token, root, started_at) = (state.tokens.http, state.root_id(), state.now);
    let timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout)));
    let call = HttpCall { token, cluster, headers, body, trailers, timeout, root, started_at };
    state.root_mut().ok_or(Status::InternalFailure)?.http_calls.insert(token, call);
    guest.write(token_at, &token.to_le_bytes())
}

/// Returns whether Envoy has the cluster.
pub(super) fn has_cluster(state: &State, cluster: &str) -> bool {
    state.config.clusters.as_ref().is_none_or(|clusters| clusters.contains(cluster))
}
