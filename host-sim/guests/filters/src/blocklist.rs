//! Ticks, shared data and a metric: every ten seconds each worker gets the list of blocked users from the cluster
//! `control`, and stores it in shared data for all workers.

use log::warn;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType};
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { blocked_requests: None }));
}}

/// The key of the shared list, which has one user per line.
const BLOCKED: &str = "blocked";

struct Root {
    /// The id of the counter.
    blocked_requests: Option<u32>,
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.blocked_requests = hostcalls::define_metric(MetricType::Counter, "blocked_requests").ok();
        self.set_tick_period(Duration::from_secs(10));
        true
    }

    fn on_tick(&mut self) {
        let headers = vec![(":method", "GET"), (":path", "/blocked"), (":authority", "control")];
        if let Err(status) = self.dispatch_http_call("control", headers, None, vec![], Duration::from_secs(5)) {
            warn!("callout to control failed: {status:?}");
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { blocked_requests: self.blocked_requests }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, _: u32, headers: usize, body_size: usize, _: usize) {
        // Without headers the callout was reset, and reading its headers would make the SDK panic.
        if headers == 0 || self.get_http_call_response_header_bytes(":status").as_deref() != Some(b"200") {
            // The last list remains in effect.
            return warn!("control did not respond with 200");
        }
        let users = self.get_http_call_response_body(0, body_size).unwrap_or_default();
        // Without a compare-and-swap number the last write wins.
        if let Err(status) = self.set_shared_data(BLOCKED, Some(&users), None) {
            warn!("the list cannot be stored: {status:?}");
        }
    }
}

struct Stream {
    blocked_requests: Option<u32>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(user) = self.get_http_request_header_bytes("x-user").filter(|user| !user.is_empty()) else {
            return Action::Continue;
        };
        let (blocked, _) = self.get_shared_data(BLOCKED);
        if !blocked.unwrap_or_default().split(|&byte| byte == b'\n').any(|line| line == user) {
            return Action::Continue;
        }
        if let Some(counter) = self.blocked_requests {
            // A request that cannot be counted is blocked all the same.
            _ = hostcalls::increment_metric(counter, 1);
        }
        self.send_http_response(403, vec![], Some(b"blocked\n"));
        Action::Pause
    }
}
