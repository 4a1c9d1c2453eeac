//! `soak`: changes the configuration of a real Envoy for minutes, under load, and checks that nothing wears out.
//!
//! Every tenth change is broken. Prints one line a minute, and a table at the end. The exit status is 1 if a figure is
//! out of bounds.

mod changes;
mod load;
mod report;

use changes::Changes;
use e2e::Result;
use load::SoakLoad;
use report::Report;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: soak MINUTES

Changes the configuration of a real Envoy 500 times a minute under load. MINUTES is 1 to 1440.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let minutes = match (arguments.next(), arguments.next()) {
        (Some(minutes), None) => minutes.parse().ok().filter(|minutes| (1..=1440).contains(minutes)),
        _ => None,
    };
    let Some(minutes) = minutes else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(minutes) {
        Ok(report) => {
            print!("{report}");
            if report.is_within_bounds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(minutes: u64) -> Result<Report> {
    let mut changes = Changes::start()?;
    let mut load = SoakLoad::start(changes.port());
    let mut report = Report::default();
    println!("{}", report::HEADING);
    let started = Instant::now();
    for minute in 1..=minutes {
        changes.run_until(started + Duration::from_secs(60 * minute))?;
        report.add(changes.take(), &load.take(), changes.memory()?);
        println!("{}", report.last_minute());
    }
    Ok(report)
}
