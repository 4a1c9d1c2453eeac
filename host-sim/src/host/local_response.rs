//! The answer that a filter gives itself.

use super::{Answer, Guest};
use crate::abi::decode_pairs;
use crate::headers::Headers;
use crate::message::Response;
use crate::state::After;

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
    /// The response as Envoy makes it: a gRPC client gets its own kind of error.
    pub(crate) fn response(&self, to_grpc: bool) -> Response {
        let mut response = Response::status_only(u16::try_from(self.status).unwrap_or(u16::MAX));
        if to_grpc {
            response.headers.replace(b":status", "200");
            response.headers.add(b"content-type", "application/grpc");
            // As gRPC maps them: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
            let mapped = match self.status {
                200 => 0,
                400 => 13,
                401 => 16,
                403 => 7,
                404 => 12,
                429 | 502..=504 => 14,
                _ => 2,
            };
            response.headers.add(b"grpc-status", self.grpc_status.unwrap_or(mapped).to_string());
            if !self.body.is_empty() {
                response.headers.add(b"grpc-message", self.body.clone());
            }
        } else if !self.body.is_empty() {
            response.headers.add(b"content-length", self.body.len().to_string());
            response.headers.add(b"content-type", "text/plain");
            response.body.clone_from(&self.body);
        }
        for (name, value) in self.headers.iter() {
            response.headers.add(name, value);
        }
        response
    }

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
    // Outside of a stream there is nobody to answer, and Envoy answers Ok.
    let state = guest.state_mut();
    state.stop = true;
    if state.stream().is_some() {
        let stream = state.context();
        state.after.push_back(After::Respond(stream, response));
    }
    Ok(())
}
