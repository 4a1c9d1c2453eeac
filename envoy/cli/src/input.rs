//! The files of Kubernetes objects that a command reads.

use crate::output::say;
use clap::Args;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use traffic_split::Configuration;
use traffic_split_envoy::{Input, InputFile, load};

/// The options of commands that read Kubernetes objects.
#[derive(Args)]
pub struct InputArgs {
    /// Kubernetes objects, YAML or JSON, many documents a file; `-` is standard input, as from
    /// `kubectl get trafficsplits,httproutegroups,services -A -o yaml`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// A plugin configuration, YAML or JSON, to which the objects are added, e.g. with
    /// `cluster`, `clusterDomain`, `backendHeader` or `hosts`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

// === impl InputArgs ===

impl InputArgs {
    /// Checks that standard input is named once at most, because it can be read only once.
    ///
    /// # Errors
    /// If `-` is given twice: the message.
    pub fn check_stdin(&self) -> Result<(), String> {
        match self.files.iter().chain(&self.config).filter(|file| *file == Path::new("-")).count() {
            0 | 1 => Ok(()),
            _ => Err("`-` is given twice, but standard input can be read only once".into()),
        }
    }

    /// Reads and parses the files, and reports warnings and errors on standard error; `None` after an error.
    pub fn load(&self) -> Option<Input> {
        let files: Vec<_> = self.files.iter().map(|path| read(path)).collect();
        let config = self.config.as_deref().map(read);
        match load(&files, config.as_ref()) {
            Ok(input) => {
                for file in input.files.iter().filter(|file| !file.ignored.is_empty()) {
                    say(format_args!("note: {}: ignored: {}", file.file, file.ignored.join(", ")));
                }
                for warning in &input.warnings {
                    say(format_args!("warning: {warning}"));
                }
                Some(input)
            }
            Err(diagnostics) => {
                diagnostics.into_iter().for_each(say);
                None
            }
        }
    }
}

/// Reads a file, or standard input if the path is `-`.
#[must_use]
pub fn read(path: &Path) -> InputFile {
    if path == Path::new("-") {
        let mut content = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut content);
        return InputFile { name: "stdin".into(), content: read.map(|_| content).map_err(|why| read_error(&why)) };
    }
    let name = traffic_split_envoy::one_line(&path.display().to_string());
    InputFile { name, content: std::fs::read(path).map_err(|why| read_error(&why)) }
}

fn read_error(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::IsADirectory => "is a directory, must be a file".into(),
        io::ErrorKind::PermissionDenied => "may not be read: permission denied".into(),
        _ => format!("cannot be read: {why}"),
    }
}

/// Notes on standard error that the configuration has no TrafficSplits.
pub fn note_no_splits(configuration: &Configuration) {
    if configuration.traffic_splits.is_empty() {
        say("note: there is no TrafficSplit in the input: everything passes through");
    }
}

/// Checks that `--namespace` does not contradict the `namespace` of `--config`.
///
/// # Errors
/// If the two differ: the message.
pub fn check_namespace(configuration: &Configuration, given: Option<&str>) -> Result<(), String> {
    match (&configuration.namespace, given) {
        (Some(own), Some(given)) if own != given => {
            Err(format!("--namespace {given} contradicts --config, whose namespace is {own}"))
        }
        _ => Ok(()),
    }
}
