//! Growth: the cost of many splits and backends, for a request, for a sidecar's memory, and for the controller.

use crate::connection_manager::Answers;
use crate::cost::{self, Cost, Target};
use crate::options::Options;
use crate::plan;
use crate::progress::Progress;
use crate::proxy::Proxy;
use crate::reconfiguration::{self, Reconfiguration, Updates};
use crate::table::table;
use crate::upstreams::Upstreams;
use crate::variants::{Variant, grown, plain};
use crate::verification;
use e2e::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Splits, and backends of each, whose cost for a request is measured. The last is near the filter's limit of 65,536
/// backends.
const SIZES: [(usize, usize); 6] = [(1, 2), (100, 2), (10_000, 2), (1, 50), (100, 50), (1_000, 50)];
/// Numbers of splits whose configuration is measured.
const CONFIGURED: [usize; 4] = [1, 100, 1_000, 10_000];
/// Numbers of splits whose plan is measured.
const PLANNED: [usize; 2] = [1_000, 10_000];

/// Measures growth and writes the results.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rounds = options.rounds.unwrap_or(if options.quick { 40 } else { 1000 });
    let repetitions = if options.quick { 1 } else { 5 };
    let upstreams = Upstreams::start()?;
    let variants: Vec<Variant> =
        [plain()].into_iter().chain(SIZES.map(|(splits, backends)| grown(splits, backends))).collect();
    let costs = request_costs(&variants, rounds, &upstreams, &options.wasm)?;

    eprintln!("measuring updates: {repetitions} of each kind");
    let measure = |splits| reconfiguration::measure(splits, repetitions, &upstreams, &options.wasm);
    let reconfigurations = CONFIGURED.into_iter().map(measure).collect::<Result<Vec<_>>>()?;

    eprintln!("measuring the controller's plan");
    let plans = PLANNED.into_iter().map(plan::in_own_process).collect::<Result<Vec<_>>>()?;

    println!(
        "{}\n{}\n{}",
        table(&cost_rows(&variants, &costs)),
        table(&reconfiguration_rows(&reconfigurations)),
        table(&plan_rows(&plans))
    );
    let file = options.output.join("growth.json");
    fs::create_dir_all(&options.output)?;
    fs::write(&file, format!("{:#}\n", results(&variants, &costs, &reconfigurations, &plans)))?;
    println!("wrote {}", file.display());
    Ok(())
}

fn request_costs(variants: &[Variant], rounds: u32, upstreams: &Upstreams, module: &Path) -> Result<Vec<Cost>> {
    let proxy = Proxy::start(variants, upstreams, module)?;
    let mut targets = Vec::new();
    for variant in variants {
        verification::check_direct(&proxy, variant)?;
        let address = proxy.address(&variant.key, Answers::Direct)?;
        targets.push(Target { address, request: variant.request.bytes() });
    }
    let mut progress = Progress::new("measuring CPU time", rounds);
    cost::measure(proxy.envoy.process_id(), &targets, rounds, |round| progress.show(round))
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

fn cost_rows(variants: &[Variant], costs: &[Cost]) -> Vec<Vec<String>> {
    let mut rows = vec![row(&["CPU time of a request", "µs", "added µs"])];
    for (variant, cost) in variants.iter().zip(costs) {
        let added = cost.least_tenth - costs[0].least_tenth;
        rows.push(row(&[&variant.label, &format!("{:.1}", cost.least_tenth), &format!("{added:.1}")]));
    }
    rows
}

fn reconfiguration_rows(results: &[Reconfiguration]) -> Vec<Vec<String>> {
    let mut rows = vec![row(&["update", "applied after ms", "longest request ms", "worst ms", "VMs' MB"])];
    for result in results {
        for (updates, what) in [(&result.load, "splits loaded"), (&result.change, "splits, weights of one changed")] {
            rows.push(row(&[
                &format!("{} {what}", result.splits),
                &format!("{:.0}", updates.median_time()),
                &format!("{:.1}", updates.median_stall()),
                &format!("{:.1}", updates.worst_stall()),
                &format!("{:.1}", megabytes(result.guest_bytes)),
            ]));
        }
    }
    let idle = results.iter().map(|result| result.worst_idle).fold(0.0, f64::max);
    rows.push(row(&["no update", "", "", &format!("{idle:.1}"), ""]));
    rows
}

fn plan_rows(plans: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![row(&["the controller's plan", "served splits", "ms", "peak MB"])];
    for plan in plans {
        rows.push(row(&[
            &format!("{} splits, 2 backends each", plan["splits"]),
            &plan["served"].to_string(),
            &format!("{:.0}", plan["milliseconds"].as_f64().unwrap_or(f64::NAN)),
            &format!("{:.0}", megabytes(plan["peakBytes"].as_u64().unwrap_or(0))),
        ]));
    }
    rows
}

fn results(variants: &[Variant], costs: &[Cost], reconfigurations: &[Reconfiguration], plans: &[Value]) -> Value {
    let costs: Vec<Value> = (variants.iter().zip(costs))
        .map(|(variant, cost)| {
            json!({"variant": variant.key, "leastTenth": cost.least_tenth, "firstQuartile": cost.first_quartile})
        })
        .collect();
    let updates = |updates: &Updates| {
        json!({
            "appliedAfterMilliseconds": updates.median_time(),
            "longestRequestMilliseconds": {"median": updates.median_stall(), "worst": updates.worst_stall()},
        })
    };
    let reconfigurations: Vec<Value> = (reconfigurations.iter())
        .map(|result| {
            json!({
                "splits": result.splits,
                "load": updates(&result.load),
                "changeOfOne": updates(&result.change),
                "longestRequestWithoutUpdateMilliseconds": result.worst_idle,
                "guestBytes": result.guest_bytes,
            })
        })
        .collect();
    json!({"cpuMicroseconds": costs, "reconfigurations": reconfigurations, "plans": plans})
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
