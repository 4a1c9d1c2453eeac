//! `traffic-split render ecds`.

use super::output_file::{OutputArgs, replace, write_and_report, written};
use super::wasm_file::check_wasm_file;
use super::watch::{Shutdown, watch};
use super::{check_files, note_no_splits};
use crate::bootstrap_file;
use crate::unknown_ports::warn_of_unknown_ports;
use crate::usage_error;
use clap::Args;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use traffic_split_cli::input::{InputArgs, InputFiles, file_name};
use traffic_split_cli::options::{FailurePolicyArgs, VmEpochArgs, file_version, is_url};
use traffic_split_cli::output::{print_diagnostic, print_stderr, print_stdout};
use traffic_split_envoy::{EcdsFile, EcdsOptions, Severity, WasmSource, check_watched_file, ecds};

const PATH: &[&str] = &["render", "ecds"];

/// Write the file that a bare Envoy watches for the filter's configuration.
///
/// With --output, Envoy loads the new file at once and keeps all connections.
#[derive(Args)]
#[command(mut_arg("object_namespace", |option| option.visible_alias("namespace")))]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  # Change weights while Envoy runs.
  mkdir -p dist/guide
  dist/traffic-split render ecds --wasm dist/traffic-split.wasm --output dist/guide/ecds.yaml \\
    envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml

  # Use Envoy clusters that are not named as in Istio.
  dist/traffic-split render ecds --config envoy/examples/guide/config.yaml \\
    envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml")]
pub(super) struct Ecds {
    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    /// Render again whenever an input file or the filter changes, until SIGTERM or SIGINT. While the input is invalid, the last valid
    /// file stays. A file that another program changes or removes is written again
    #[arg(long, requires = "output")]
    watch: bool,

    /// Bootstrap or config dump of the Envoy that reads the file: warn if Envoy would not load a replaced file
    #[arg(long, value_name = "FILE", requires = "output")]
    bootstrap: Option<PathBuf>,

    /// Compiled filter: a file on Envoy's host. Copy the filter there before you render, and render again after you replace
    /// the filter [default: /etc/traffic-split/traffic-split.wasm]
    #[arg(long, value_name = "PATH", value_parser = parse_wasm_path)]
    wasm: Option<String>,

    #[command(flatten)]
    failure_policy: FailurePolicyArgs,

    #[command(flatten)]
    vm: VmEpochArgs,
}

/// The inputs of the rendered file.
#[derive(Clone, PartialEq)]
struct Sources {
    files: InputFiles,
    /// The version of the compiled filter.
    wasm_version: Option<String>,
}

/// The file that `--watch` maintains.
#[derive(Default)]
struct Watched {
    /// The inputs that were rendered last.
    sources: Option<Sources>,
    /// The content of the file: the last valid one.
    rendered: Option<EcdsFile>,
    /// The last attempt to load the input files reported errors.
    is_invalid: bool,
    /// The output file contains `rendered`.
    is_written: bool,
    last_error: String,
}

// === impl Ecds ===

impl Ecds {
    pub(super) fn run(&self) -> ExitCode {
        check_files(&self.input, &self.output, PATH);
        if self.watch && self.input.reads_stdin() {
            usage_error(PATH, "--watch cannot read standard input again; pass files instead of `-`");
        }
        if self.wasm.as_deref().is_some_and(|wasm| !check_wasm_file(wasm, Severity::Warning)) {
            return ExitCode::FAILURE;
        }
        let Some(output) = self.output.file() else {
            if self.watch || self.bootstrap.is_some() {
                usage_error(PATH, "--watch and --bootstrap need a file in --output");
            }
            return self.render(&self.read()).map_or(ExitCode::FAILURE, |rendered| print_stdout(&rendered.text));
        };
        if let Some(bootstrap) = &self.bootstrap
            && !warn_of_unwatched_file(bootstrap, output)
        {
            return ExitCode::FAILURE;
        }
        if self.watch {
            return self.watch(output);
        }
        match self.render(&self.read()) {
            Some(rendered) => write_and_report(output, &rendered.text, Some(&rendered.version)),
            None => ExitCode::FAILURE,
        }
    }

    fn watch(&self, output: &Path) -> ExitCode {
        let shutdown = match Shutdown::install() {
            Ok(shutdown) => shutdown,
            Err(why) => {
                print_stderr(format_args!("error: {why}"));
                return ExitCode::FAILURE;
            }
        };
        let watched = RefCell::new(Watched::default());
        watch(
            &shutdown,
            || (self.read(), watched.borrow().is_current(output)),
            |(sources, _)| {
                let mut watched = watched.borrow_mut();
                if watched.sources.as_ref() != Some(sources) {
                    watched.update(sources.clone(), self.render(sources));
                }
                watched.write(output)
            },
        );
        ExitCode::SUCCESS
    }

    fn wasm(&self) -> WasmSource {
        self.wasm.as_ref().map_or_else(WasmSource::default, |path| WasmSource::File(path.clone()))
    }

    fn read(&self) -> Sources {
        Sources { files: self.input.content(), wasm_version: file_version(&self.wasm()) }
    }

    /// Renders the file; `None` after an error, which is reported on standard error.
    fn render(&self, sources: &Sources) -> Option<EcdsFile> {
        let input = self.input.load_content(&sources.files)?;
        note_no_splits(&input.configuration);
        warn_of_unknown_ports(&input, None);
        let mut options = EcdsOptions::default();
        options.wasm = self.wasm();
        options.wasm_version.clone_from(&sources.wasm_version);
        options.failure_policy = self.failure_policy.policy();
        options.vm_epoch = self.vm.vm_epoch;
        Some(ecds(&input.configuration, &options))
    }
}

// === impl Watched ===

impl Watched {
    /// Returns whether the file has the content that was written last. Another program may have changed or removed the file.
    fn is_current(&self, output: &Path) -> bool {
        match (&self.rendered, std::fs::read(output)) {
            (Some(rendered), Ok(content)) => content == rendered.text.as_bytes(),
            (Some(_), Err(why)) => why.kind() != io::ErrorKind::NotFound,
            (None, _) => true,
        }
    }

    /// Takes over the result of rendering new inputs; `None` if they are invalid.
    fn update(&mut self, sources: Sources, rendered: Option<EcdsFile>) {
        self.sources = Some(sources);
        let was_invalid = std::mem::replace(&mut self.is_invalid, rendered.is_none());
        let Some(rendered) = rendered else { return };
        if was_invalid {
            print_stderr("the input is valid again");
        }
        if self.rendered.as_ref().is_none_or(|old| old.version != rendered.version) {
            self.is_written = false;
            self.rendered = Some(rendered);
        }
    }

    /// Writes the file if its content differs. Returns whether the file is current.
    fn write(&mut self, output: &Path) -> bool {
        let is_current = self.is_current(output);
        let Some(rendered) = &self.rendered else { return true };
        if self.is_written && is_current {
            return true;
        }
        match replace(output, &rendered.text) {
            Ok(()) => {
                if self.is_written {
                    print_stderr(format_args!("{}: another program changed or removed the file", file_name(output)));
                }
                print_stderr(written(output, Some(&rendered.version)));
                self.is_written = true;
                self.last_error.clear();
                true
            }
            Err(why) => {
                if why != self.last_error {
                    print_stderr(format_args!("error: {why}; retrying"));
                }
                self.last_error = why;
                false
            }
        }
    }
}

/// Warns if the Envoy of a bootstrap would not load the file, or would not notice that it is replaced. Returns whether the bootstrap
/// was read.
fn warn_of_unwatched_file(bootstrap: &Path, output: &Path) -> bool {
    let envoy = match bootstrap_file::read(bootstrap) {
        Ok(envoy) => envoy,
        Err(diagnostic) => {
            print_diagnostic(&diagnostic);
            return false;
        }
    };
    let output = std::path::absolute(output).unwrap_or_else(|_| output.into());
    for mut diagnostic in check_watched_file(&envoy, &output) {
        diagnostic.file = file_name(bootstrap);
        // The file is written even after a warning.
        diagnostic.severity = Severity::Warning;
        print_diagnostic(&diagnostic);
    }
    true
}

fn parse_wasm_path(text: &str) -> Result<String, String> {
    match text {
        "" => Err("the path is empty".into()),
        _ if is_url(text) => {
            Err("only Istio's agent fetches URLs; copy the filter to Envoy's host and give its path".into())
        }
        _ => Ok(text.into()),
    }
}
