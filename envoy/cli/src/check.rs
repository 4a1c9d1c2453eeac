//! `traffic-split check`.

use crate::usage_error;
use clap::Args;
use std::process::ExitCode;
use traffic_split_cli::input::{InputArgs, file_name, notes};
use traffic_split_cli::report::{Report, ReportFormat};
use traffic_split_envoy::unknown_ports;

/// Report every problem in TrafficSplits, HTTPRouteGroups and Services.
///
/// Each problem is one line on standard error: SEVERITY: FILE:LINE:COLUMN: OBJECT: FIELD: PROBLEM. Exit codes: 0 no errors, 1 errors
/// (with --strict, also warnings), 2 usage error.
#[derive(Args)]
#[command(mut_arg("object_namespace", |option| option.visible_alias("namespace")))]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split check envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml

  # Check a change together with the objects that exist.
  cat envoy/examples/guide/trafficsplit-50-50.yaml |
    dist/traffic-split check --config envoy/examples/guide/config.yaml envoy/examples/guide/services.yaml -

  # In GitHub Actions: show the problems beside the changed lines, and refuse warnings.
  dist/traffic-split check --strict --output github envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml")]
pub(crate) struct Check {
    #[command(flatten)]
    input: InputArgs,

    /// Format of the report
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: ReportFormat,

    /// Exit with code 1 if there are warnings
    #[arg(long)]
    strict: bool,
}

// === impl Check ===

impl Check {
    pub(crate) fn run(&self) -> ExitCode {
        self.input.check_stdin().unwrap_or_else(|why| usage_error(&["check"], &why));
        let mut report = Report::default();
        if let Some(config) = &self.input.config {
            report.add_file(file_name(config), None);
        }
        match self.input.read() {
            Ok(input) => {
                for file in &input.files {
                    report.add_file(&file.file, Some(file.content()));
                }
                report.extend(notes(&input));
                report.extend(unknown_ports(&input, None));
                report.extend(input.warnings);
            }
            Err(problems) => {
                for file in &self.input.files {
                    report.add_file(file_name(file), None);
                }
                report.extend(problems);
            }
        }
        report.print(self.output, self.strict)
    }
}
