//! Logs headers, responds to `/ping`, and sends only testers to the canary.

use log::info;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, Bytes, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_http_context(|_, _| Box::new(Stream));
}}

struct Stream;

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        // Read bytes: clients may send any, and the SDK's string functions panic on invalid UTF-8.
        log("request", &self.get_http_request_headers_bytes());
        if self.get_http_request_header_bytes(":path").as_deref() == Some(b"/ping") {
            self.send_http_response(200, vec![("x-answered-by", "the filter")], Some(b"pong\n"));
            // The request ends here: the local response is sent after this callback.
            return Action::Pause;
        }
        let tester = self.get_http_request_header_bytes("x-tester").as_deref() == Some(b"yes");
        // Remove the header from all other requests: the route reads it, and a client may have sent it.
        self.set_http_request_header("x-cluster", tester.then_some("canary"));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        log("response", &self.get_http_response_headers_bytes());
        Action::Continue
    }
}

fn log(what: &str, headers: &[(String, Bytes)]) {
    for (name, value) in headers {
        info!("{what} {name}: {}", String::from_utf8_lossy(value));
    }
}
