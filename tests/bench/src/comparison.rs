//! The comparison of all variants: measures, prints the table, and writes `bench.json` and `cost.svg`.

use crate::chart::{self, Bar};
use crate::connection_manager::Answers;
use crate::cost::{self, Cost, Target};
use crate::load::{self, Outcome};
use crate::options::Options;
use crate::progress::Progress;
use crate::proxy::Proxy;
use crate::table::table;
use crate::upstreams::Upstreams;
use crate::variants::{LUA, NATIVE, NO_SPLIT, PLAIN, SPLIT, Variant, variants};
use crate::verification;
use e2e::{Error, Result};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// The results of a variant.
struct Row {
    variant: Variant,
    cost: Cost,
    load: Outcome,
}

/// A figure that a change must not make worse.
struct Goal {
    what: &'static str,
    value: f64,
    limit: f64,
    /// Whether the limit is a minimum.
    is_minimum: bool,
}

/// Measures all variants and writes the results.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rounds = options.rounds.unwrap_or(if options.quick { 40 } else { 1000 });
    let duration = Duration::from_millis(if options.quick { 50 } else { 400 });
    let variants = variants(&options.compare);
    let upstreams = Upstreams::start()?;
    let proxy = Proxy::start(&variants, &upstreams, &options.wasm)?;
    let process = proxy.envoy.process_id();

    eprintln!("checking that each variant does what it says");
    for variant in &variants {
        verification::check(&proxy, &upstreams, variant)?;
    }
    let targets = |answers| -> Result<Vec<Target>> {
        let target = |variant: &Variant| {
            Ok(Target { address: proxy.address(&variant.key, answers)?, request: variant.request.bytes() })
        };
        variants.iter().map(target).collect()
    };
    let mut progress = Progress::new("measuring CPU time", rounds);
    let costs = cost::measure(process, &targets(Answers::Direct)?, rounds, |round| progress.show(round))?;
    let load_rounds = rounds.div_ceil(40);
    let reference = index_of(&variants, NATIVE)?;
    let mut progress = Progress::new("measuring throughput and latency", load_rounds);
    let loads = load::measure(process, &targets(Answers::Upstreams)?, reference, load_rounds, duration, |round| {
        progress.show(round);
    })?;
    let rows: Vec<Row> = (variants.into_iter().zip(costs).zip(loads))
        .map(|((variant, cost), load)| Row { variant, cost, load })
        .collect();
    let results = Results::new(rows, &proxy, rounds)?;
    print!("{}", results.text());
    fs::create_dir_all(&options.output)?;
    let file = |name: &str| options.output.join(name);
    fs::write(file("bench.json"), format!("{:#}\n", results.json()))?;
    fs::write(file("cost.svg"), results.svg())?;
    println!("\nwrote {} and {}", file("bench.json").display(), file("cost.svg").display());
    Ok(())
}

fn index_of(variants: &[Variant], key: &str) -> Result<usize> {
    variants.iter().position(|variant| variant.key == key).ok_or_else(|| Error(format!("no variant {key}")))
}

/// The results of a run.
struct Results {
    rows: Vec<Row>,
    plain: Cost,
    lua: Cost,
    envoy: String,
    rounds: u32,
}

// === impl Results ===

impl Results {
    fn new(rows: Vec<Row>, proxy: &Proxy, rounds: u32) -> Result<Results> {
        let cost = |key| {
            let row = rows.iter().find(|row| row.variant.key == key);
            row.map(|row| row.cost).ok_or_else(|| Error(format!("no variant {key}")))
        };
        let info: Value = serde_json::from_str(&proxy.envoy.admin("/server_info")?)
            .map_err(|error| Error(format!("/server_info: {error}")))?;
        // COMMIT/VERSION/STATE/TYPE/SSL
        let version = info["version"].as_str().and_then(|text| text.split('/').nth(1)).unwrap_or("unknown").to_owned();
        Ok(Results { plain: cost(PLAIN)?, lua: cost(LUA)?, rows, envoy: version, rounds })
    }

    /// Returns what a variant adds to a request, in microseconds and as a multiple of what the script adds: by the
    /// least tenth, and by the first quartile.
    fn added(&self, cost: &Cost) -> [(f64, f64); 2] {
        let by = |estimate: fn(&Cost) -> f64| {
            let added = estimate(cost) - estimate(&self.plain);
            (added, added / (estimate(&self.lua) - estimate(&self.plain)))
        };
        [by(|cost| cost.least_tenth), by(|cost| cost.first_quartile)]
    }

    fn goals(&self) -> Vec<Goal> {
        let row = |key| self.rows.iter().find(move |row| row.variant.key == key);
        let mut goals = Vec::new();
        if let Some(row) = row(NO_SPLIT) {
            let [(_, value), _] = self.added(&row.cost);
            goals.push(Goal { what: "host without a split, × Lua's cost", value, limit: 0.1, is_minimum: false });
        }
        if let Some(row) = row(SPLIT) {
            let [(_, value), _] = self.added(&row.cost);
            let (throughput, p99) = (row.load.throughput_ratio, row.load.p99_ratio);
            goals.extend([
                Goal { what: "host with a split, × Lua's cost", value, limit: 1.25, is_minimum: false },
                Goal { what: "throughput, × Envoy's weights", value: throughput, limit: 0.85, is_minimum: true },
                Goal { what: "p99, × Envoy's weights", value: p99, limit: 1.2, is_minimum: false },
            ]);
        }
        goals
    }

    fn text(&self) -> String {
        let head = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut costs = vec![head(&["CPU time of a request", "µs", "added µs", "× Lua", "× Lua (quartile)"])];
        let mut loads =
            vec![head(&["through upstreams", "requests/s", "× weights", "p50 ms", "× weights", "p99 ms", "× weights"])];
        for row in &self.rows {
            let [(added, ratio), (_, ratio_by_quartile)] = self.added(&row.cost);
            costs.push(vec![
                row.variant.label.clone(),
                format!("{:.1}", row.cost.least_tenth),
                format!("{added:.1}"),
                format!("{ratio:.2}"),
                format!("{ratio_by_quartile:.2}"),
            ]);
            let load = &row.load;
            loads.push(vec![
                row.variant.label.clone(),
                format!("{:.0}", load.throughput),
                format!("{:.2}", load.throughput_ratio),
                format!("{:.2}", load.p50),
                format!("{:.2}", load.p50_ratio),
                format!("{:.2}", load.p99),
                format!("{:.2}", load.p99_ratio),
            ]);
        }
        let mut goals = vec![head(&["goal", "limit", "measured", ""])];
        for goal in self.goals() {
            let sign = if goal.is_minimum { "≥" } else { "≤" };
            let verdict = if goal.is_met() { "met" } else { "missed" };
            let limit = format!("{sign} {:.2}", goal.limit);
            goals.push(vec![goal.what.to_owned(), limit, format!("{:.2}", goal.value), verdict.to_owned()]);
        }
        format!(
            "Envoy {}, one worker; {} rounds in random order\n\n{}\n{}\n{}",
            self.envoy,
            self.rounds,
            table(&costs),
            table(&loads),
            table(&goals)
        )
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = (self.rows.iter())
            .map(|row| {
                let [(added, ratio), (added_by_quartile, ratio_by_quartile)] = self.added(&row.cost);
                json!({
                    "variant": row.variant.key,
                    "label": row.variant.label,
                    "cpuMicroseconds": {"leastTenth": row.cost.least_tenth, "firstQuartile": row.cost.first_quartile},
                    "addedMicroseconds": {"leastTenth": added, "firstQuartile": added_by_quartile},
                    "timesLua": {"leastTenth": ratio, "firstQuartile": ratio_by_quartile},
                    "upstreams": {
                        "requestsPerSecond": row.load.throughput,
                        "p50Milliseconds": row.load.p50,
                        "p99Milliseconds": row.load.p99,
                        "envoyCpus": row.load.utilization,
                        "timesNative": {
                            "throughput": row.load.throughput_ratio,
                            "p50": row.load.p50_ratio,
                            "p99": row.load.p99_ratio,
                        },
                    },
                })
            })
            .collect();
        let goals: Vec<Value> = (self.goals().iter())
            .map(|goal| json!({"goal": goal.what, "limit": goal.limit, "measured": goal.value, "met": goal.is_met()}))
            .collect();
        json!({"envoy": self.envoy, "rounds": self.rounds, "variants": rows, "goals": goals})
    }

    fn svg(&self) -> String {
        let bars: Vec<Bar> = (self.rows.iter())
            .filter(|row| row.variant.key != PLAIN && !row.variant.is_compared())
            .map(|row| {
                let [(added, ratio), _] = self.added(&row.cost);
                Bar {
                    label: row.variant.label.clone(),
                    value: added,
                    text: format!("{added:.1} µs, {ratio:.2} × Lua"),
                    is_ours: ![NATIVE, LUA].contains(&row.variant.key.as_str()),
                }
            })
            .collect();
        let subtitle = format!(
            "Envoy {}, one worker, direct responses; a request without splitting takes {:.1} µs; ./build.sh bench",
            self.envoy, self.plain.least_tenth
        );
        chart::bars("CPU time that splitting adds to a request", &subtitle, &bars)
    }
}

// === impl Goal ===

impl Goal {
    fn is_met(&self) -> bool {
        if self.is_minimum { self.value >= self.limit } else { self.value <= self.limit }
    }
}
