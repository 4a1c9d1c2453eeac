//! An Envoy with one filter: configuration, time, callouts, faults, logs and metrics.

use crate::error::Error;
use crate::host_functions::table;
use crate::http::headers::Headers;
use crate::http::message::Response;
use crate::lifecycle::runtime::Runtime;
use crate::state::callout::{GrpcCall, HttpCall};
use crate::state::fault::Fault;
use crate::state::limit::Limit;
use crate::state::log::Log;
use crate::state::metric::Metric;
use std::sync::Arc;
use std::time::Duration;

/// An Envoy with one filter.
///
/// Runs are reproducible: time advances only when the test [advances](Simulator::advance) it, and a seed determines random
/// bytes.
#[derive(Debug)]
pub struct Simulator {
    pub(super) runtime: Runtime,
    pub(super) seed: u64,
}

// === impl Simulator ===

impl Simulator {
    /// Replaces the plugin configuration as Envoy does: validates it in a VM that serves no traffic, then configures a new
    /// root context in each VM. The old root context ends with its last stream.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Trapped`]: the old configuration stays in effect, and no VM that serves traffic has
    /// received the new configuration. [`Error::VmFailed`] after a trap.
    pub fn reconfigure(&mut self, configuration: impl AsRef<[u8]>) -> Result<(), Error> {
        self.runtime.reconfigure(Arc::from(configuration.as_ref()))
    }

    /// Replaces every VM by a new VM with the last configuration, as Envoy does after a trap with
    /// [`FailurePolicy::Reload`](crate::FailurePolicy::Reload).
    ///
    /// # Errors
    /// Those of [`Builder::start`](crate::Builder::start).
    pub fn reload(&mut self) -> Result<(), Error> {
        self.runtime.reload()
    }

    /// Advances the time. Runs the ticks and the timeouts of HTTP callouts in the order of their times.
    pub fn advance(&mut self, time: Duration) {
        self.runtime.advance(time);
    }

    /// Returns the open HTTP callouts, oldest first.
    #[must_use]
    pub fn http_calls(&self) -> Vec<HttpCall> {
        let mut calls: Vec<_> = self.runtime.roots().flat_map(|root| root.http_calls.values().cloned()).collect();
        calls.sort_by_key(|call| (call.started_at, call.token));
        calls
    }

    /// Responds to an HTTP callout. Returns `false` for an unknown token.
    pub fn respond_to_http_call(&mut self, token: u32, response: Response) -> bool {
        self.runtime.respond_to_http_call(token, response)
    }

    /// Resets the connection of an HTTP callout. Returns `false` for an unknown token.
    pub fn reset_http_call(&mut self, token: u32) -> bool {
        self.runtime.reset_http_call(token)
    }

    /// Returns the open gRPC calls and streams, oldest of each kind first.
    #[must_use]
    pub fn grpc_calls(&self) -> Vec<GrpcCall> {
        self.runtime.roots().flat_map(|root| root.grpc_calls.values().cloned()).collect()
    }

    /// Passes initial metadata of a gRPC stream to the filter. Returns `false` for an unknown token.
    pub fn grpc_initial_metadata(&mut self, token: u32, metadata: Headers) -> bool {
        self.runtime.grpc_initial_metadata(token, metadata)
    }

    /// Passes a message of a gRPC call or stream to the filter. The message ends a call, but not a stream. Returns `false`
    /// for an unknown token.
    pub fn grpc_message(&mut self, token: u32, message: impl AsRef<[u8]>) -> bool {
        self.runtime.grpc_message(token, message.as_ref().to_vec())
    }

    /// Passes trailing metadata of a gRPC stream to the filter. Returns `false` for an unknown token.
    pub fn grpc_trailing_metadata(&mut self, token: u32, metadata: Headers) -> bool {
        self.runtime.grpc_trailing_metadata(token, metadata)
    }

    /// Closes a gRPC call or stream from the server's side, with a gRPC status. Returns `false` for an unknown token.
    pub fn grpc_close(&mut self, token: u32, status: u32, message: &str) -> bool {
        self.runtime.grpc_close(token, status, message)
    }

    /// Makes a host function, such as `proxy_get_property`, return a status without any effect: `times` times, or always
    /// with `None`. For WASI functions, the status is an errno. With status 0, the function succeeds and returns no value.
    ///
    /// Each VM counts its own calls. VMs that start later, such as the one that validates the next configuration, have no
    /// such fault; see [`Builder::fault`](crate::Builder::fault).
    ///
    /// # Panics
    /// If no host function has this name, or the function returns nothing: the fault would never happen.
    #[track_caller]
    pub fn inject_fault(&mut self, function: &str, status: u32, times: Option<u32>) {
        self.inject_fault_after(0, function, status, times);
    }

    /// Injects a fault as [`inject_fault`](Self::inject_fault) does, but lets the first `calls` calls run.
    ///
    /// # Panics
    /// As [`inject_fault`](Self::inject_fault).
    #[track_caller]
    pub fn inject_fault_after(&mut self, calls: u32, function: &str, status: u32, times: Option<u32>) {
        let fault = fault(calls, function, status, times);
        for worker in &mut self.runtime.workers {
            worker.vm.state_mut().faults.list.push(fault.clone());
        }
    }

    /// Ends the effect of all injected faults, including those of [`Builder::fault`](crate::Builder::fault).
    pub fn clear_faults(&mut self) {
        self.runtime.faults.list.clear();
        self.runtime.workers.iter_mut().for_each(|worker| worker.vm.state_mut().faults.list.clear());
    }

    /// Returns the number of calls that returned an injected status, in all VMs so far: a test of faults can check that
    /// they happened.
    #[must_use]
    pub fn injected_faults(&self) -> u64 {
        self.runtime.faults.injected()
    }

    /// Delivers `on_queue_ready` for items that other simulators enqueued. Items of this simulator's own VMs are delivered
    /// at once, at most 10,000 per event.
    pub fn deliver(&mut self) {
        self.runtime.finish_event();
    }

    /// Returns whether a trap ended a VM.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.runtime.workers.iter().any(|worker| worker.vm.failed().is_some())
    }

    /// Returns the limit that ended a VM, if one did.
    #[must_use]
    pub fn exceeded_limit(&self) -> Option<Limit> {
        self.runtime.workers.iter().find_map(|worker| worker.vm.state().exceeded)
    }

    /// Returns all log messages, oldest first. The messages of a configuration's validation are included only if it
    /// failed.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.runtime.logs
    }

    /// Forgets the log messages so far, which would fill the memory of a long run. [Outcomes](crate::Outcome) keep theirs.
    pub fn forget_logs(&mut self) {
        self.runtime.forget_logs();
    }

    /// Returns a metric by name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<Metric> {
        self.metrics().into_iter().find(|(other, _)| *other == name).map(|(_, metric)| metric)
    }

    /// Returns all metrics, sorted by type, then by name.
    #[must_use]
    pub fn metrics(&self) -> Vec<(String, Metric)> {
        self.runtime.metrics.all()
    }

    /// Returns the number of root contexts of all VMs: one for each VM, and old root contexts that have not ended.
    #[must_use]
    pub fn root_contexts(&self) -> usize {
        self.runtime.roots().count()
    }

    /// Returns the size of the VMs' memories in bytes. Memories never shrink. If the size grows over many equal requests,
    /// the filter leaks memory.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.runtime.workers.iter().map(|worker| worker.vm.memory_size()).sum()
    }
}

impl Drop for Simulator {
    /// If a test panics, prints how to reproduce the failure.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            eprintln!(
                "host-sim: the seed of random bytes was {seed}; reproduce with `.seed({seed})` before `.start()`"
            );
        }
    }
}

/// Returns a fault.
///
/// # Panics
/// If no host function has this name, or the function returns nothing.
#[track_caller]
pub(super) fn fault(calls_before: u32, function: &str, status: u32, times: Option<u32>) -> Fault {
    let known = ["env", "wasi_snapshot_preview1"].iter().find_map(|module| table::find(module, function));
    let known = known.unwrap_or_else(|| {
        panic!("unknown host function {function:?}; `host_sim::abi_functions` lists them");
    });
    assert!(!known.signature.results.is_empty(), "the host function {function:?} returns nothing, so it cannot fail");
    Fault { function: function.to_owned(), status, skipped: calls_before, remaining: times }
}
