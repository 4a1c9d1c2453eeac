//! Closes TCP connections whose first line is not a greeting, before the upstream receives any data.

use log::info;
use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::{Action, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_stream_context(|_, _| Box::new(Connection { greeted: false }));
}}

struct Connection {
    greeted: bool,
}

/// The maximum size of a greeting in bytes.
const MAX_GREETING: usize = 64;

impl Context for Connection {}

impl StreamContext for Connection {
    fn on_downstream_data(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.greeted {
            return Action::Continue;
        }
        let data = self.get_downstream_data(0, size).unwrap_or_default();
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
            if end_of_stream || size > MAX_GREETING {
                info!("no line");
                self.close_downstream();
            }
            // The next call receives all data again, with what arrives until then.
            return Action::Pause;
        };
        let line = data.get(..end).unwrap_or_default();
        if line.starts_with(b"HELLO ") {
            self.greeted = true;
            return Action::Continue;
        }
        info!("no greeting: {}", line.escape_ascii());
        self.close_downstream();
        Action::Pause
    }
}
