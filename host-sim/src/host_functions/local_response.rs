//! Local responses.

use super::guest::{Answer, Guest};
use crate::abi::pairs::decode_pairs;
use crate::state::deferred::Deferred;
use crate::state::local_response::LocalResponse;

#[allow(clippy::too_many_arguments)] // The ABI defines the parameters.
pub(super) fn proxy_send_local_response(
    guest: &mut Guest<'_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: u32,
) -> Answer {
    let response = LocalResponse {
        status,
        details: guest.read(details, details_size)?.to_vec(),
        body: guest.read(body, body_size)?.to_vec(),
        headers: decode_pairs(guest.read(headers, headers_size)?).into_iter().collect(),
        // -1 stands for no status.
        grpc_status: (grpc_status != u32::MAX).then_some(grpc_status),
    };
    // Without a stream there is no client. Envoy returns Ok.
    let state = guest.state_mut();
    state.local_response_sent = true;
    if state.stream().is_some() {
        let stream = state.context_id();
        state.deferred.push_back(Deferred::Respond(stream, response));
    }
    Ok(())
}
