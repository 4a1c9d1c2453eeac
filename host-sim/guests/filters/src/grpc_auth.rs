//! Authorizes requests by a gRPC callout: a request is paused until `auth.v1.Authorization/Check` of the cluster `auth`
//! responds.

use log::warn;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_http_context(|_, _| Box::new(Stream));
}}

// gRPC status codes.
const OK: u32 = 0;
const PERMISSION_DENIED: u32 = 7;
const UNAUTHENTICATED: u32 = 16;

struct Stream;

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let token = self.get_http_request_header_bytes("authorization").unwrap_or_default();
        let request = check_request(&self.get_http_request_header_bytes(":path").unwrap_or_default());
        let call = self.dispatch_grpc_call(
            "auth",
            "auth.v1.Authorization",
            "Check",
            vec![("authorization", &token)],
            Some(&request),
            Duration::from_secs(1),
        );
        match call {
            Ok(_) => Action::Pause,
            Err(status) => {
                warn!("callout to auth failed: {status:?}");
                self.refuse(503)
            }
        }
    }
}

impl Context for Stream {
    fn on_grpc_call_response(&mut self, _: u32, status: u32, _: usize) {
        match status {
            OK => self.resume_http_request(),
            UNAUTHENTICATED => _ = self.refuse(401),
            PERMISSION_DENIED => _ = self.refuse(403),
            other => {
                warn!("auth responded with gRPC status {other}");
                self.refuse(503);
            }
        }
    }
}

impl Stream {
    fn refuse(&self, status: u32) -> Action {
        // For a gRPC client, Envoy converts the local response to a gRPC status.
        self.send_http_response(status, vec![], None);
        Action::Pause
    }
}

/// Returns the protobuf encoding of `message CheckRequest { bytes path = 1; }`. Use a library for more messages.
fn check_request(path: &[u8]) -> Vec<u8> {
    let mut message = vec![0x0a];
    let mut length = path.len();
    while length > 0x7f {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(path);
    message
}
