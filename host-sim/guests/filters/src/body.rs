//! A body that is changed as a whole: card numbers in responses become `[card]`.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Stream::default()));
}}

#[derive(Default)]
struct Stream {
    /// How much of the body has come.
    size: usize,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            // It won't be true any more, and headers can't be written once they are gone.
            self.set_http_response_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.size = size;
        if !end_of_stream {
            // The host keeps what there is, and shows it again together with what comes next: a number may lie across
            // two pieces.
            return Action::Pause;
        }
        self.mask();
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        // A body that trailers follow has no last piece: it ends here.
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

/// Replaces each run of 13 to 19 digits. Bytes, as a body may be in any encoding, or in none.
fn masked(body: &[u8]) -> Vec<u8> {
    let runs = body.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let is_card = |run: &[u8]| (13..=19).contains(&run.len()) && run.iter().all(u8::is_ascii_digit);
    runs.flat_map(|run| if is_card(run) { b"[card]" } else { run }).copied().collect()
}
