//! `traffic-split check`.

use crate::unknown_ports::warn_of_unknown_ports;
use crate::usage_error;
use clap::Args;
use std::process::ExitCode;
use traffic_split_cli::input::InputArgs;
use traffic_split_cli::output::print_stdout;

/// Report every problem in TrafficSplits, HTTPRouteGroups and Services.
///
/// Each problem is one line: FILE: OBJECT: FIELD: PROBLEM.
#[derive(Args)]
#[command(mut_arg("object_namespace", |option| option.visible_alias("namespace")))]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split check envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml

  # Check a change together with the objects that exist.
  cat envoy/examples/guide/trafficsplit-50-50.yaml |
    dist/traffic-split check --config envoy/examples/guide/config.yaml envoy/examples/guide/services.yaml -")]
pub(crate) struct Check {
    #[command(flatten)]
    input: InputArgs,
}

// === impl Check ===

impl Check {
    pub(crate) fn run(&self) -> ExitCode {
        self.input.check_stdin().unwrap_or_else(|why| usage_error(&["check"], &why));
        let Some(input) = self.input.load() else { return ExitCode::FAILURE };
        warn_of_unknown_ports(&input.configuration, None);
        let lines: String = input.files.iter().map(|file| format!("{file}, fine\n")).collect();
        print_stdout(&lines)
    }
}
