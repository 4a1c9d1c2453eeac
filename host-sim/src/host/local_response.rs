//! The answer that a filter gives itself.

use super::{Answer, Guest};
use crate::abi::decode_pairs;
use crate::headers::Headers;

/// What the client gets in place of the upstream's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalResponse {
    /// The HTTP status.
    pub status: u32,
    /// Response code details, for access logs.
    pub details: Vec<u8>,
    /// Further headers.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The gRPC status, where the request is gRPC.
    pub grpc_status: Option<u32>,
}

impl LocalResponse {
    /// What Envoy answers for a filter whose VM is dead.
    pub(crate) fn fail_closed() -> LocalResponse {
        LocalResponse {
            status: 503,
            details: b"wasm_fail_stream".to_vec(),
            headers: Headers::default(),
            body: Vec::new(),
            grpc_status: None,
        }
    }
}

#[allow(clippy::too_many_arguments)] // The ABI's.
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
        // -1 is none.
        grpc_status: (grpc_status != u32::MAX).then_some(grpc_status),
    };
    // Outside of a stream there is nobody to answer, and Envoy answers Ok. The first response is the one sent.
    if let Some(stream) = guest.state_mut().stream_mut() {
        stream.local_response.get_or_insert(response);
    }
    Ok(())
}
