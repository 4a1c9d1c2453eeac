//! The figures of the run, and their bounds.

use crate::changes::{Memory, Outcome, STABLE_SHARE};
use crate::load::Requests;
use e2e::is_share;
use std::fmt;

/// The heading of the lines of [`Report::last_minute`].
pub const HEADING: &str =
    "minute  changes  refused  requests  failed  connections  httpbin-v1   guest MiB  process MiB";

/// The fewest changes a minute: 500, less the time that a busy machine loses.
const MIN_CHANGES: u64 = 450;
/// The largest growth of memory from the second quarter of the run to the last one, in percent.
const MAX_GROWTH: f64 = 5.0;
/// The standard deviations within which the share must be.
const SIGMAS: f64 = 4.0;

/// The figures of all minutes.
#[derive(Debug, Default)]
pub struct Report {
    minutes: Vec<Minute>,
    errors: Vec<String>,
}

/// The figures of one minute.
#[derive(Debug)]
struct Minute {
    changes: Outcome,
    requests: u64,
    failed: u64,
    connections: u64,
    /// Requests to the stable root, and those of them that `httpbin-v1` served.
    stable: (u64, u64),
    memory: Memory,
}

/// A figure with its bound.
struct Figure {
    name: &'static str,
    value: String,
    bound: String,
    is_within: bool,
}

// === impl Report ===

impl Report {
    /// Adds the figures of a minute.
    pub fn add(&mut self, changes: Outcome, requests: &Requests, memory: Memory) {
        let errors = changes.errors.iter().chain(requests.all().flat_map(|tally| &tally.errors));
        self.errors.extend(errors.take(5_usize.saturating_sub(self.errors.len())).cloned());
        self.minutes.push(Minute {
            requests: requests.all().map(|tally| tally.total()).sum::<u64>() + changes.requests,
            failed: requests.all().map(|tally| tally.failed).sum::<u64>() + changes.failed,
            connections: requests.all().map(|tally| tally.connections).sum::<u64>()
                + changes.accepted
                + changes.refused,
            stable: (
                requests.stable.iter().map(|tally| tally.total() - tally.failed).sum(),
                requests.stable.iter().map(|tally| tally.of("httpbin-v1")).sum(),
            ),
            changes,
            memory,
        });
    }

    /// Returns the line of the last minute.
    pub fn last_minute(&self) -> String {
        let Some(minute) = self.minutes.last() else { return String::new() };
        format!(
            "{:6}  {:7}  {:7}  {:8}  {:6}  {:11}  {:9.2}%  {:10.1}  {:11.1}",
            self.minutes.len(),
            minute.changes.accepted + minute.changes.refused,
            minute.changes.refused,
            minute.requests,
            minute.failed,
            minute.connections,
            percent(minute.stable.1, minute.stable.0),
            mebibytes(minute.memory.guest as f64),
            mebibytes(minute.memory.process as f64),
        )
    }

    /// Returns whether all figures are within their bounds.
    pub fn is_within_bounds(&self) -> bool {
        self.figures().iter().all(|figure| figure.is_within)
    }

    fn sum(&self, figure: impl Fn(&Minute) -> u64) -> u64 {
        self.minutes.iter().map(figure).sum()
    }

    fn figures(&self) -> Vec<Figure> {
        let minutes = self.minutes.len() as u64;
        let at_least = |name, value: u64, bound: u64| Figure {
            name,
            value: value.to_string(),
            bound: format!("at least {bound}"),
            is_within: value >= bound,
        };
        let zero =
            |name, value: u64| Figure { name, value: value.to_string(), bound: "0".to_owned(), is_within: value == 0 };
        let changes = self.sum(|minute| minute.changes.accepted + minute.changes.refused);
        let (stable, served_by_v1) = (self.sum(|minute| minute.stable.0), self.sum(|minute| minute.stable.1));
        let sigma = 100.0 * (STABLE_SHARE * (1.0 - STABLE_SHARE) / stable.max(1) as f64).sqrt();
        let vms: Vec<u64> = self.minutes.iter().map(|minute| minute.memory.vms).collect();
        vec![
            at_least("changes of the configuration", changes, minutes * MIN_CHANGES),
            at_least("broken changes that Envoy refused", self.sum(|minute| minute.changes.refused), changes / 11),
            zero("changes with the wrong result", self.sum(|minute| minute.changes.wrong)),
            at_least("requests", self.sum(|minute| minute.requests), 1),
            zero("failed requests", self.sum(|minute| minute.failed)),
            zero("requests that another backend served", self.sum(|minute| minute.changes.misrouted)),
            at_least("connections", self.sum(|minute| minute.connections), 1),
            Figure {
                name: "share of `httpbin-v1` at the weights 3 : 1",
                value: format!("{:.3} % of {stable}", percent(served_by_v1, stable)),
                bound: format!("{:.0} % ± {:.3} % (4 σ)", 100.0 * STABLE_SHARE, SIGMAS * sigma),
                is_within: is_share(served_by_v1, stable, STABLE_SHARE, SIGMAS),
            },
            self.growth("largest linear memory of a VM", |memory| memory.guest),
            self.growth("allocated memory", |memory| memory.allocated),
            self.growth("resident memory of the process", |memory| memory.process),
            Figure {
                name: "VMs at the end of each minute",
                value: format!("{} to {}", vms.iter().min().unwrap_or(&0), vms.iter().max().unwrap_or(&0)),
                bound: "as many at the end as after the first minute".to_owned(),
                is_within: vms.last() <= vms.first(),
            },
        ]
    }

    /// Compares the means of the second and the last quarter of the run: the first one is the warm-up.
    fn growth(&self, name: &'static str, of: impl Fn(&Memory) -> u64) -> Figure {
        let values: Vec<f64> = self.minutes.iter().map(|minute| of(&minute.memory) as f64).collect();
        let quarter = (values.len() / 4).max(1);
        let mean = |part: Option<&[f64]>| {
            let part = part.filter(|part| !part.is_empty()).unwrap_or(&values);
            part.iter().sum::<f64>() / part.len().max(1) as f64
        };
        let begin = mean(values.get(quarter..2 * quarter));
        let end = mean(values.get(values.len().saturating_sub(quarter)..));
        let growth = 100.0 * (end / begin - 1.0);
        Figure {
            name,
            value: format!("{:.1} MiB, then {:.1} MiB ({growth:+.1} %)", mebibytes(begin), mebibytes(end)),
            bound: format!("at most +{MAX_GROWTH} %"),
            is_within: growth <= MAX_GROWTH,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| figure of {} minutes | value | bound | |\n|---|---|---|---|", self.minutes.len())?;
        for Figure { name, value, bound, is_within } in self.figures() {
            writeln!(f, "| {name} | {value} | {bound} | {} |", if is_within { "ok" } else { "OUT OF BOUNDS" })?;
        }
        self.errors.iter().try_for_each(|error| writeln!(f, "error: {error}"))
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}
