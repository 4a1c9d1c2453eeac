//! Simulated time: ticks and the timeouts of HTTP callouts.

use super::runtime::Runtime;
use crate::http::message::Response;
use crate::state::context::{Context, Tick};
use crate::state::time::nanoseconds;
use std::time::Duration;

/// An event that happens at a certain time.
#[derive(Clone, Copy, Debug)]
enum TimedEvent {
    /// The tick of a worker's root context.
    Tick(usize, u32),
    /// The timeout of an HTTP callout.
    Timeout(u32),
}

impl Runtime {
    /// Advances the time, and runs each tick and timeout when it is due.
    pub(crate) fn advance(&mut self, time: Duration) {
        let until = self.now.saturating_add(nanoseconds(time));
        while let Some((at, event)) = self.next_event(until) {
            self.set_now(at);
            match event {
                TimedEvent::Tick(worker, root) => self.tick(worker, root),
                TimedEvent::Timeout(token) => {
                    // The response that Envoy generates.
                    let text = "upstream request timeout";
                    let response = Response::status_only(504)
                        .header("content-length", text.len().to_string())
                        .header("content-type", "text/plain");
                    self.respond_to_http_call(token, response.body(text));
                }
            }
        }
        self.set_now(until);
    }

    fn set_now(&mut self, now: u64) {
        self.now = now;
        self.workers.iter_mut().for_each(|worker| worker.vm.state_mut().now = now);
    }

    /// Returns the first event until a time.
    fn next_event(&self, until: u64) -> Option<(u64, TimedEvent)> {
        let mut next: Option<(u64, TimedEvent)> = None;
        let mut consider = |at: u64, event: TimedEvent| {
            if at <= until && next.as_ref().is_none_or(|(other, _)| at < *other) {
                next = Some((at, event));
            }
        };
        for (index, worker) in self.workers.iter().enumerate().filter(|(_, worker)| worker.vm.failed().is_none()) {
            for (&id, context) in &worker.vm.state().contexts {
                let Context::Root(root) = context else { continue };
                if let Some(tick) = root.tick {
                    consider(tick.next, TimedEvent::Tick(index, id));
                }
                for call in root.http_calls.values() {
                    if let Some(timeout) = call.timeout {
                        let at = call.started_at.saturating_add(nanoseconds(timeout));
                        consider(at, TimedEvent::Timeout(call.token));
                    }
                }
            }
        }
        next
    }

    fn tick(&mut self, index: usize, id: u32) {
        let Some(worker) = self.workers.get_mut(index) else { return };
        if let Some(root) = worker.vm.root_mut(id) {
            // A tick past the end of time never happens.
            root.tick = root
                .tick
                .and_then(|Tick { period, next }| Some(Tick { period, next: next.checked_add(nanoseconds(period))? }));
        }
        _ = worker.vm.call(id, |callbacks| callbacks.tick, id, |_, result| result);
        self.finish_event();
    }
}
