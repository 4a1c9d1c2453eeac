//! What one pass of the controller computes: a plan of the whole Kubernetes cluster, and the EnvoyFilter for it. Each
//! size runs in a process of its own, so that the process's memory is that of the pass.

use e2e::{Error, Result};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use traffic_split::Configuration;
use traffic_split_envoy::{ClusterSnapshot, IstioOptions, SplitObject, envoy_filter, plan};

use crate::variants::many_splits;

/// The default of the controller's `--max-bytes`.
const MAX_BYTES: usize = 1_000_000;

/// Plans a cluster of this many splits, each with two backends and a Service for each name, and prints the result.
pub(crate) fn run(splits: usize) -> Result<()> {
    let cluster = snapshot(splits);
    let snapshot_bytes = peak_memory()?;
    let (base, istio) = (Configuration::default(), IstioOptions::default());
    let start = Instant::now();
    let planned = plan(&base, &istio, &cluster, MAX_BYTES);
    let filter = envoy_filter(&planned.configuration, &istio);
    let elapsed = start.elapsed();
    println!(
        "{}",
        json!({
            "splits": splits,
            "served": planned.configuration.traffic_splits.len(),
            "envoyFilterBytes": filter.to_string().len(),
            "milliseconds": elapsed.as_secs_f64() * 1e3,
            "snapshotBytes": snapshot_bytes,
            "peakBytes": peak_memory()?,
        })
    );
    Ok(())
}

/// Runs [`run`] in another process, and returns what it prints.
pub(crate) fn in_own_process(splits: usize) -> Result<Value> {
    let output = Command::new(std::env::current_exe()?).args(["--plan", &splits.to_string()]).output()?;
    if !output.status.success() {
        return Err(Error(format!("the plan of {splits} splits: {}", String::from_utf8_lossy(&output.stderr))));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Error(format!("the plan of {splits} splits: {error}")))
}

fn snapshot(splits: usize) -> ClusterSnapshot {
    let mut cluster = ClusterSnapshot::default();
    for split in many_splits(splits, 2, 0) {
        let namespace = &split["metadata"]["namespace"];
        let backends = split["spec"]["backends"].as_array().into_iter().flatten().map(|backend| &backend["service"]);
        for name in backends.chain([&split["spec"]["service"]]) {
            cluster.services.push(Arc::new(json!({
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80}]},
            })));
        }
        cluster.traffic_splits.push(Arc::new(SplitObject::new(&split, "cluster.local")));
    }
    cluster
}

/// Returns the peak resident memory of this process, in bytes.
fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| "no VmHWM in /proc/self/status".into())
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, snapshot};
    use traffic_split::Configuration;
    use traffic_split_envoy::{IstioOptions, plan};

    #[test]
    fn all_splits_that_fit_are_served() {
        let cluster = snapshot(100);
        let planned = plan(&Configuration::default(), &IstioOptions::default(), &cluster, MAX_BYTES);
        assert_eq!(planned.configuration.traffic_splits.len(), 100);
    }
}
