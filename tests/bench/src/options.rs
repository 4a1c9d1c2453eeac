//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Measures what the filter adds to a request in a real Envoy
#[derive(Debug, Parser)]
#[command(
    name = "./build.sh bench",
    after_help = "\
Examples:
  ./build.sh bench                  all variants; about three minutes
  ./build.sh bench --quick          a rough result in ten seconds
  ./build.sh bench --growth         cost, memory and stalls with up to 10,000 splits
  ./build.sh bench --compare old.wasm
                                    also measures another build of the filter, in the same rounds

Run it on an idle machine with two CPUs at least: one for Envoy's worker, one for the clients. The environment variable ENVOY
names another Envoy binary."
)]
pub(crate) struct Options {
    /// Measures few rounds
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measures growth: number of splits and backends, reconfiguration, and the controller's plan
    #[arg(long)]
    pub(crate) growth: bool,

    /// Rounds of CPU time; a fortieth of them for throughput [default: 1000; 40 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,

    /// Directory of the results
    #[arg(short, long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) output: PathBuf,

    /// Compiled filter
    #[arg(long, value_name = "FILE", default_value = "dist/traffic-split.wasm")]
    pub(crate) wasm: PathBuf,

    /// Another compiled filter, measured in the same rounds; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Vec<PathBuf>,

    /// Plans a cluster of this many splits, and prints the result as JSON. The process then holds nothing else
    #[arg(long, value_name = "SPLITS", hide = true)]
    pub(crate) plan: Option<usize>,
}
