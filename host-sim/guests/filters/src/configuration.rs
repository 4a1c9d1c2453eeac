//! Configuration: lines of `name: value`, headers that each response gets. What is no such line is refused.

use log::{error, info};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

type Headers = Vec<(String, String)>;

/// A configuration. Envoy makes another root context for another configuration; streams keep theirs.
#[derive(Default)]
struct Root {
    headers: Rc<Headers>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        // Parsed once, not for each request.
        match parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(headers) => {
                info!("headers: {}", headers.len());
                self.headers = Rc::new(headers);
                true
            }
            // With false Envoy refuses the configuration: this is all that its author learns.
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

/// Every header, or everything that is wrong.
fn parse(configuration: &[u8]) -> Result<Headers, Vec<String>> {
    let text = std::str::from_utf8(configuration).map_err(|why| vec![why.to_string()])?;
    let (mut headers, mut problems) = (Vec::new(), Vec::new());
    for (place, line) in (1..).zip(text.lines()) {
        match line.split_once(':').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() => headers.push((name.to_owned(), value.to_owned())),
            _ => problems.push(format!("line {place} isn't `name: value`: {line}")),
        }
    }
    if problems.is_empty() { Ok(headers) } else { Err(problems) }
}
