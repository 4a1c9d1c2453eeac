//! The CPU time of a request, measured in short rounds of all variants in random order. Other load on the machine then
//! disturbs all variants equally, and the result uses the least disturbed rounds of each variant.

use crate::connection::Connection;
use crate::cpu;
use crate::one_cpu::OneCpu;
use crate::rounds::in_random_order;
use crate::statistics::{least_tenth, quantile};
use e2e::Result;
use std::net::SocketAddr;

/// Requests of a variant in a round.
const REQUESTS: u32 = 50;
/// Requests of a variant at the start of a round, which are not measured.
const WARM_UP: u32 = 5;

/// A listener and the request to it.
pub(crate) struct Target {
    /// The listener.
    pub(crate) address: SocketAddr,
    /// The bytes of the request.
    pub(crate) request: Vec<u8>,
}

/// The cost of a request, in microseconds of CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// The mean of the least tenth of all rounds.
    pub(crate) least_tenth: f64,
    /// The first quartile of all rounds.
    pub(crate) first_quartile: f64,
}

/// Measures all targets, and returns their costs in the same order. `progress` is called after each round.
pub(crate) fn measure(process: u32, targets: &[Target], rounds: u32, progress: impl FnMut(u32)) -> Result<Vec<Cost>> {
    let _one_cpu = OneCpu::occupy(process)?;
    let open = |target: &Target| Connection::open(target.address, target.request.clone());
    let mut connections = targets.iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut samples = vec![Vec::new(); targets.len()];
    in_random_order(targets.len(), rounds, progress, |index| {
        samples[index].push(one_round(process, &mut connections[index])?);
        Ok(())
    })?;
    let costs = samples
        .iter()
        .map(|samples| Cost { least_tenth: least_tenth(samples), first_quartile: quantile(samples, 0.25) });
    Ok(costs.collect())
}

fn one_round(process: u32, connection: &mut Connection) -> Result<f64> {
    for _ in 0..WARM_UP {
        connection.send()?;
    }
    let before = cpu::time(process)?;
    for _ in 0..REQUESTS {
        connection.send()?;
    }
    let used = cpu::time(process)? - before;
    Ok(used.as_secs_f64() * 1e6 / f64::from(REQUESTS))
}
