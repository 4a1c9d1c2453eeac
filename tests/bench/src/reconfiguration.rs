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

/// The result for one number of splits.
pub(crate) struct Reconfiguration {
    /// The number of splits.
    pub(crate) splits: usize,
    /// Milliseconds from the replacement of the file until Envoy serves it: the median of all updates.
    pub(crate) milliseconds: f64,
    /// The longest latency of a request during an update, in milliseconds: the median of all updates.
    pub(crate) median_stall: f64,
    /// The longest latency of a request during any update, in milliseconds.
    pub(crate) worst_stall: f64,
    /// The longest latency of a request while nothing is updated, in milliseconds.
    pub(crate) worst_idle: f64,
    /// Resident bytes of the linear memories of all VMs after the last update.
    pub(crate) guest_bytes: u64,
}

/// Updates the configuration several times while one client sends requests without a pause.
pub(crate) fn measure(splits: usize, updates: usize, upstreams: &Upstreams, module: &Path) -> Result<Reconfiguration> {
    let variant = grown(1, 2);
    let proxy = Proxy::start(std::slice::from_ref(&variant), upstreams, module)?;
    let address = proxy.address(&variant.key, Answers::Direct)?;
    let (mut times, mut stalls) = (Vec::new(), Vec::new());
    let worst_during = |action: &mut dyn FnMut() -> Result<()>| {
        let mut connection = Connection::open(address, variant.request.bytes())?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut worst = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    connection.send()?;
                    worst = worst.max(start.elapsed());
                }
                Ok::<_, Error>(worst.as_secs_f64() * 1e3)
            });
            let done = action();
            thread::sleep(REST);
            stop.store(true, Ordering::Relaxed);
            let worst = client.join().map_err(|_| Error("the client panicked".to_owned()))?;
            done.and(worst)
        })
    };
    for revision in 1..=updates {
        let configuration = proxy::parse(&plugin_configuration(&many_splits(splits, 2, revision), &[]))?;
        stalls.push(worst_during(&mut || {
            times.push(proxy.reconfigure(&variant.key, &configuration, module)?.as_secs_f64() * 1e3);
            Ok(())
        })?);
    }
    let worst_idle = worst_during(&mut || {
        thread::sleep(REST);
        Ok(())
    })?;
    let guest_bytes = proxy.envoy.wasm_memory_resident().ok_or("Linux does not tell the memory of the VMs")?;
    Ok(Reconfiguration {
        splits,
        milliseconds: quantile(&times, 0.5),
        median_stall: quantile(&stalls, 0.5),
        worst_stall: quantile(&stalls, 1.0),
        worst_idle,
        guest_bytes,
    })
}
