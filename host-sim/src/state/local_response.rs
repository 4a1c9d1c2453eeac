//! Responses that the filter, or Envoy in its place, sends to the client.

use crate::http::headers::Headers;
use crate::http::message::Response;

/// A response to the client in place of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalResponse {
    /// The HTTP status.
    pub status: u32,
    /// The response code details of access logs.
    pub details: Vec<u8>,
    /// Additional headers.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The gRPC status for gRPC requests.
    pub grpc_status: Option<u32>,
}

impl LocalResponse {
    /// Returns the response that Envoy sends: gRPC clients receive a trailers-only gRPC error.
    pub(crate) fn response(&self, to_grpc: bool) -> Response {
        let mut response = Response::status_only(u16::try_from(self.status).unwrap_or(u16::MAX));
        if to_grpc {
            response.headers.replace(b":status", "200");
            response.headers.add(b"content-type", "application/grpc");
            // The mapping of https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
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

    /// Returns Envoy's response for a filter whose VM failed.
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
