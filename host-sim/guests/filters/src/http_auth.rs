//! Authorizes requests by an HTTP callout: a request is paused until the cluster `auth` responds.

use log::warn;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_http_context(|_, _| Box::new(Stream));
}}

struct Stream;

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let token = self.get_http_request_header_bytes("authorization");
        let Some(token) = token.and_then(|token| String::from_utf8(token).ok()) else {
            return self.refuse(401);
        };
        let headers =
            vec![(":method", "GET"), (":path", "/check"), (":authority", "auth"), ("authorization", &token[..])];
        match self.dispatch_http_call("auth", headers, None, vec![], Duration::from_secs(1)) {
            Ok(_) => Action::Pause,
            Err(status) => {
                warn!("callout to auth failed: {status:?}");
                self.refuse(503)
            }
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, headers: usize, _: usize, _: usize) {
        if headers == 0 {
            // The callout was reset, and reading its headers would make the SDK panic.
            warn!("auth did not respond");
            self.refuse(503);
            return;
        }
        match self.get_http_call_response_header_bytes(":status").as_deref() {
            Some(b"200") => self.resume_http_request(),
            Some(b"401") => _ = self.refuse(401),
            Some(b"403") => _ = self.refuse(403),
            // Any other response refuses the request.
            other => {
                warn!("auth responded with status {}", String::from_utf8_lossy(other.unwrap_or_default()));
                self.refuse(503);
            }
        }
    }
}

impl Stream {
    fn refuse(&self, status: u32) -> Action {
        self.send_http_response(status, vec![], None);
        Action::Pause
    }
}
