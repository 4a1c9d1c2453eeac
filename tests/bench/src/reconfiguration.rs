//! The cost of a new configuration: the time until Envoy serves it, the memory of the filter's VMs, and how long Envoy's
//! only worker answers no request.

use crate::connection::Connection;
use crate::connection_manager::Answers;
use crate::proxy::{self, Proxy};
use crate::statistics::quantile;
use crate::upstreams::Upstreams;
use crate::variants::{grown, many_splits, plugin_configuration};
use e2e::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Envoy counts a configuration before the worker has it, so the client continues to send requests for this time.
const REST: Duration = Duration::from_millis(300);

/// The results for one number of splits.
pub(crate) struct Reconfiguration {
    /// The number of splits.
    pub(crate) splits: usize,
    /// All splits are new, as when the proxy starts or its VM is replaced.
    pub(crate) load: Updates,
    /// The weights of one split change.
    pub(crate) change: Updates,
    /// The longest latency of a request while nothing is updated, in milliseconds.
    pub(crate) worst_idle: f64,
    /// Resident bytes of the linear memories of all VMs after the last update.
    pub(crate) guest_bytes: u64,
}

/// Updates of one kind, in milliseconds.
#[derive(Default)]
pub(crate) struct Updates {
    /// From the replacement of the file until Envoy serves it.
    times: Vec<f64>,
    /// The longest latency of a request during the update.
    stalls: Vec<f64>,
}

/// Updates the configuration several times while one client sends requests without a pause.
pub(crate) fn measure(
    splits: usize,
    repetitions: usize,
    upstreams: &Upstreams,
    module: &Path,
) -> Result<Reconfiguration> {
    let variant = grown(1, 2);
    let proxy = Proxy::start(std::slice::from_ref(&variant), upstreams, module)?;
    let request = || Connection::open(proxy.address(&variant.key, Answers::Direct)?, variant.request.bytes());
    let configuration = |splits, revision| proxy::parse(&plugin_configuration(&many_splits(splits, 2, revision), &[]));
    let (mut load, mut change) = (Updates::default(), Updates::default());
    for revision in 1..=repetitions {
        // Two revisions of one split, so that no update is equal to the configuration before.
        proxy.reconfigure(&variant.key, &configuration(1, revision)?, module)?;
        for (updates, revision) in [(&mut load, 0), (&mut change, revision)] {
            let configuration = configuration(splits, revision)?;
            let (time, stall) =
                longest_request(request()?, || proxy.reconfigure(&variant.key, &configuration, module))?;
            updates.times.push(milliseconds(time));
            updates.stalls.push(stall);
        }
    }
    let (_, worst_idle) = longest_request(request()?, || Ok(()))?;
    let guest_bytes = proxy.envoy.wasm_memory_resident().ok_or("Linux does not tell the memory of the VMs")?;
    Ok(Reconfiguration { splits, load, change, worst_idle, guest_bytes })
}

/// Sends requests during an action and [`REST`], and returns the result of the action and the longest latency in
/// milliseconds.
fn longest_request<T>(mut connection: Connection, action: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                connection.send()?;
                longest = longest.max(start.elapsed());
            }
            Ok::<_, Error>(milliseconds(longest))
        });
        let result = action();
        thread::sleep(REST);
        stop.store(true, Ordering::Relaxed);
        let longest = client.join().map_err(|_| Error("the client panicked".to_owned()))??;
        Ok((result?, longest))
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

// === impl Updates ===

impl Updates {
    /// Returns the median time until Envoy serves an update.
    pub(crate) fn median_time(&self) -> f64 {
        quantile(&self.times, 0.5)
    }

    /// Returns the median over the updates of the longest latency of a request.
    pub(crate) fn median_stall(&self) -> f64 {
        quantile(&self.stalls, 0.5)
    }

    /// Returns the longest latency of a request during any update.
    pub(crate) fn worst_stall(&self) -> f64 {
        quantile(&self.stalls, 1.0)
    }
}
