//! `traffic-split check`.

use crate::bootstrap_file;
use crate::usage_error;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use traffic_split::Configuration;
use traffic_split_cli::input::{InputArgs, file_name, notes};
use traffic_split_cli::report::{Report, ReportFormat};
use traffic_split_envoy::{check_wiring, unknown_ports};

const PATH: &[&str] = &["check"];

/// Report every problem in TrafficSplits, HTTPRouteGroups and Services, and in an Envoy's configuration.
///
/// Each problem is one line on standard error: SEVERITY: FILE:LINE:COLUMN: OBJECT: FIELD: PROBLEM. Exit codes: 0 no errors, 1 errors
/// (with --strict, also warnings), 2 usage error.
#[derive(Args)]
#[command(mut_arg("object_namespace", |option| option.visible_alias("namespace")))]
#[command(mut_arg("files", |files| files.required(false).required_unless_present("bootstrap")))]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split check envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml

  # Check a change together with the objects that exist.
  cat envoy/examples/guide/trafficsplit-50-50.yaml |
    dist/traffic-split check --config envoy/examples/guide/config.yaml envoy/examples/guide/services.yaml -

  # In GitHub Actions: show the problems beside the changed lines, and fail if there are warnings.
  dist/traffic-split check --strict --output github envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml

  # Check that an Envoy applies the splits. For a running Envoy: curl -s localhost:15000/config_dump | dist/traffic-split check --bootstrap -
  dist/traffic-split check --bootstrap envoy/examples/guide/envoy.yaml --config envoy/examples/guide/config.yaml \\
    envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml")]
pub(crate) struct Check {
    #[command(flatten)]
    input: InputArgs,

    /// Also check an Envoy's bootstrap, or its config dump: the filter, its route, the removal of its headers, and the backends' clusters.
    /// `-` reads standard input, e.g. from `curl -s localhost:15000/config_dump`
    #[arg(long, value_name = "FILE")]
    bootstrap: Option<PathBuf>,

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
        self.input.check_stdin().unwrap_or_else(|why| usage_error(PATH, &why));
        if self.bootstrap.as_deref() == Some(Path::new("-")) && self.input.reads_stdin() {
            usage_error(PATH, "`-` is duplicated; standard input can be read only once");
        }
        let mut report = Report::default();
        let configuration = self.check_objects(&mut report);
        if let Some(bootstrap) = &self.bootstrap {
            check_bootstrap(bootstrap, configuration.as_ref(), &mut report);
        }
        report.print(self.output, self.strict)
    }

    /// Reports problems of the objects. Returns their configuration, if there are objects and they are valid.
    fn check_objects(&self, report: &mut Report) -> Option<Configuration> {
        if self.input.files.is_empty() && self.input.config.is_none() {
            return None;
        }
        if let Some(config) = &self.input.config {
            report.add_file(file_name(config), None);
        }
        match self.input.read() {
            Ok((input, of_files)) => {
                for file in &input.files {
                    report.add_file(&file.file, Some(file.content()));
                }
                report.extend(of_files);
                report.extend(notes(&input));
                report.extend(unknown_ports(&input, None));
                report.extend(input.warnings);
                Some(input.configuration)
            }
            Err(problems) => {
                for file in &self.input.files {
                    report.add_file(file_name(file), None);
                }
                report.extend(problems);
                None
            }
        }
    }
}

/// Reports mistakes of an Envoy's configuration.
fn check_bootstrap(path: &Path, configuration: Option<&Configuration>, report: &mut Report) {
    let name = file_name(path);
    match bootstrap_file::read(path) {
        Err(diagnostic) => {
            report.add_file(name, None);
            report.extend([*diagnostic]);
        }
        Ok(envoy) => {
            let wiring = check_wiring(&envoy, configuration);
            let number = wiring.connection_managers;
            let managers = if number == 1 { "connection manager" } else { "connection managers" };
            report.add_file(&name, Some(format!("{number} {managers} with the filter")));
            report.extend(wiring.diagnostics.into_iter().map(|mut diagnostic| {
                diagnostic.file.clone_from(&name);
                diagnostic
            }));
        }
    }
}
