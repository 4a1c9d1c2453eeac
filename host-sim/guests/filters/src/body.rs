//! Buffers response bodies and replaces card numbers by `[card]`.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Stream::default()));
}}

#[derive(Default)]
struct Stream {
    /// The size of the buffered body.
    size: usize,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            // The length will change, and headers cannot be changed once they are forwarded.
            self.set_http_response_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.size = size;
        if !end_of_stream {
            // The host buffers the body and passes all of it to the next call. A card number may span two parts.
            return Action::Pause;
        }
        self.mask();
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        // `end_of_stream` is never true for a body with trailers: the body ends here.
        self.mask();
        Action::Continue
    }
}

impl Stream {
    fn mask(&self) {
        if let Some(body) = self.get_http_response_body(0, self.size) {
            self.set_http_response_body(0, self.size, &masked(&body));
        }
    }
}

/// Replaces each run of 13 to 19 digits. Works on bytes, because a body may have any encoding.
fn masked(body: &[u8]) -> Vec<u8> {
    let runs = body.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let is_card = |run: &[u8]| (13..=19).contains(&run.len()) && run.iter().all(u8::is_ascii_digit);
    runs.flat_map(|run| if is_card(run) { b"[card]" } else { run }).copied().collect()
}
