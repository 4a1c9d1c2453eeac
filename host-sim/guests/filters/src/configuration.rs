//! Adds configured headers to each response. The configuration has lines of `name: value`; other lines are refused.

use log::{error, info};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

type Headers = Vec<(String, String)>;

/// A root context with its configuration. Envoy creates a new one for a new configuration; open streams keep the old one.
#[derive(Default)]
struct Root {
    headers: Rc<Headers>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        // Parse once, not for each request.
        match parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(headers) => {
                info!("headers: {}", headers.len());
                self.headers = Rc::new(headers);
                true
            }
            // Envoy's error says only that the configuration was refused: log the reasons.
            Err(problems) => {
                problems.iter().for_each(|problem| error!("{problem}"));
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { headers: Rc::clone(&self.headers) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    headers: Rc<Headers>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        for (name, value) in &*self.headers {
            self.add_http_response_header(name, value);
        }
        Action::Continue
    }
}

/// Parses a configuration. Returns the headers, or all problems.
fn parse(configuration: &[u8]) -> Result<Headers, Vec<String>> {
    let text = std::str::from_utf8(configuration).map_err(|why| vec![why.to_string()])?;
    let (mut headers, mut problems) = (Vec::new(), Vec::new());
    for (place, line) in (1..).zip(text.lines()) {
        match line.split_once(':').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() => headers.push((name.to_owned(), value.to_owned())),
            _ => problems.push(format!("line {place}: expected `name: value`: {line}")),
        }
    }
    if problems.is_empty() { Ok(headers) } else { Err(problems) }
}
