//! Measures what the filter adds to a request in a real Envoy, beside Envoy's own weights and a Lua script.

mod chart;
mod comparison;
mod connection;
mod connection_manager;
mod cost;
mod cpu;
mod growth;
mod load;
mod one_cpu;
mod options;
mod plan;
mod progress;
mod proxy;
mod reconfiguration;
mod rounds;
mod script;
mod statistics;
mod table;
mod upstreams;
mod variants;
mod verification;

use clap::Parser;
use options::Options;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.plan {
        Some(splits) => plan::run(splits),
        None if options.growth => growth::run(&options),
        None => comparison::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
