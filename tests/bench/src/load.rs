//! Throughput and latency through real upstreams.

use crate::connection::Connection;
use crate::cost::Target;
use crate::cpu;
use crate::rounds::in_random_order;
use crate::statistics::{median_ratio, quantile};
use e2e::{Error, Result};
use std::thread;
use std::time::{Duration, Instant};

/// Connections of the load generator. Each sends its next request when it has the response, so Envoy's one worker is
/// always busy.
const CONNECTIONS: usize = 8;

/// The results of one variant, by round.
#[derive(Clone, Debug, Default)]
struct Samples {
    throughput: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    utilization: Vec<f64>,
}

/// The results of one variant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Requests a second: the median of all rounds.
    pub(crate) throughput: f64,
    /// The median latency in milliseconds: the median of all rounds.
    pub(crate) p50: f64,
    /// The 99th percentile of latency in milliseconds: the median of all rounds.
    pub(crate) p99: f64,
    /// The share of one CPU that Envoy used: the median of all rounds.
    pub(crate) utilization: f64,
    /// The median of `throughput` relative to the reference's in the same round.
    pub(crate) throughput_ratio: f64,
    /// The median of `p50` relative to the reference's in the same round.
    pub(crate) p50_ratio: f64,
    /// The median of `p99` relative to the reference's in the same round.
    pub(crate) p99_ratio: f64,
}

/// Loads all targets in rounds of random order, and returns their results in the same order. `reference` is the index
/// of the target to compare with. `progress` is called after each round.
pub(crate) fn measure(
    process: u32,
    targets: &[Target],
    reference: usize,
    rounds: u32,
    duration: Duration,
    progress: impl FnMut(u32),
) -> Result<Vec<Outcome>> {
    let mut samples = vec![Samples::default(); targets.len()];
    in_random_order(targets.len(), rounds, progress, |index| {
        one_round(process, &targets[index], duration, &mut samples[index])
    })?;
    let native = &samples[reference];
    let outcomes = samples.iter().map(|samples| Outcome {
        throughput: quantile(&samples.throughput, 0.5),
        p50: quantile(&samples.p50, 0.5),
        p99: quantile(&samples.p99, 0.5),
        utilization: quantile(&samples.utilization, 0.5),
        throughput_ratio: median_ratio(&samples.throughput, &native.throughput),
        p50_ratio: median_ratio(&samples.p50, &native.p50),
        p99_ratio: median_ratio(&samples.p99, &native.p99),
    });
    Ok(outcomes.collect())
}

fn one_round(process: u32, target: &Target, duration: Duration, samples: &mut Samples) -> Result<()> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(target.address, target.request.clone())?;
        connection.send()?;
        connections.push(connection);
    }
    let cpu_before = cpu::time(process)?;
    let start = Instant::now();
    let latencies = thread::scope(|scope| {
        let clients: Vec<_> = connections
            .into_iter()
            .map(|connection| scope.spawn(move || repeat(connection, start + duration)))
            .collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| Error("a client panicked".to_owned()))??);
        }
        Ok::<_, Error>(all)
    })?;
    let elapsed = start.elapsed().as_secs_f64();
    samples.throughput.push(latencies.len() as f64 / elapsed);
    samples.p50.push(quantile(&latencies, 0.5));
    samples.p99.push(quantile(&latencies, 0.99));
    samples.utilization.push((cpu::time(process)? - cpu_before).as_secs_f64() / elapsed);
    Ok(())
}

/// Returns the latencies of all requests until the deadline, in milliseconds.
fn repeat(mut connection: Connection, deadline: Instant) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    loop {
        let start = Instant::now();
        if start >= deadline {
            return Ok(latencies);
        }
        connection.send()?;
        latencies.push(start.elapsed().as_secs_f64() * 1e3);
    }
}
