//! The input files of a command: Kubernetes objects and a plugin configuration.

use crate::options::parse_namespace;
use crate::output::print_diagnostic;
use clap::Args;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use traffic_split::Configuration;
use traffic_split_envoy::{Diagnostic, FileSummary, Input, InputFile, LoadOptions, load};

/// The extensions of the files that are read from a directory, as `kubectl apply -f DIRECTORY` does.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The options of commands that read Kubernetes objects.
#[derive(Args, Default)]
pub struct InputArgs {
    /// Files with TrafficSplits, HTTPRouteGroups and Services, as YAML or JSON, or directories that contain *.yaml, *.yml and
    /// *.json files. `-` reads standard input, e.g. from `kubectl get trafficsplits,httproutegroups,services -A -o yaml`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Plugin configuration, as YAML or JSON, to which the objects are added. Sets e.g. `cluster`, `clusterDomain`, `backendHeader`
    /// or `hosts`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Namespace of TrafficSplits, HTTPRouteGroups and Services without one, as with `kubectl apply -n`. Objects with a
    /// namespace keep theirs
    #[arg(short = 'n', long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    pub object_namespace: Option<String>,

    /// Report unknown fields as warnings, not as errors
    #[arg(long)]
    pub allow_unknown_fields: bool,
}

/// The content of all input files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFiles {
    files: Vec<InputFile>,
    config: Option<InputFile>,
    /// Files that are not read.
    notes: Vec<Diagnostic>,
}

// === impl InputArgs ===

impl InputArgs {
    /// Checks that `-` is given at most once, because standard input can be read only once.
    ///
    /// # Errors
    /// If `-` is given twice: the message.
    pub fn check_stdin(&self) -> Result<(), String> {
        match self.files.iter().chain(&self.config).filter(|file| *file == Path::new("-")).count() {
            0 | 1 => Ok(()),
            _ => Err("`-` is duplicated; standard input can be read only once".into()),
        }
    }

    /// Returns whether a file is standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.files.iter().chain(&self.config).any(|file| file == Path::new("-"))
    }

    /// Reads and parses the files, and reports notes, warnings and errors on standard error; `None` after an error.
    pub fn load(&self) -> Option<Input> {
        self.load_content(&self.content())
    }

    /// Parses the content of the files, and reports notes, warnings and errors on standard error; `None` after an error.
    pub fn load_content(&self, content: &InputFiles) -> Option<Input> {
        content.notes.iter().for_each(print_diagnostic);
        match self.parse(content) {
            Ok(input) => {
                notes(&input).iter().chain(&input.warnings).for_each(print_diagnostic);
                Some(input)
            }
            Err(diagnostics) => {
                diagnostics.iter().for_each(print_diagnostic);
                None
            }
        }
    }

    /// Reads and parses the files. Also returns a note for each file that is not read.
    ///
    /// # Errors
    /// Every problem in any of the files, and the notes.
    pub fn read(&self) -> Result<(Input, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut content = self.content();
        let notes = std::mem::take(&mut content.notes);
        match self.parse(&content) {
            Ok(input) => Ok((input, notes)),
            Err(problems) => Err(notes.into_iter().chain(problems).collect()),
        }
    }

    /// Returns the content of the files.
    #[must_use]
    pub fn content(&self) -> InputFiles {
        let mut files = Vec::new();
        let mut notes = Vec::new();
        let mut known = HashSet::new();
        for path in &self.files {
            let paths = paths_of(path, &mut notes).unwrap_or_else(|why| {
                files.push(InputFile { name: file_name(path), content: Err(why) });
                Vec::new()
            });
            for path in paths {
                let is_new = std::fs::canonicalize(&path).map_or(true, |real| known.insert(real));
                if is_new {
                    files.push(read(&path));
                } else {
                    notes.push(Diagnostic::note(file_name(&path), "is passed twice; the file is read once"));
                }
            }
        }
        InputFiles { files, config: self.config.as_deref().map(read), notes }
    }

    fn parse(&self, InputFiles { files, config, .. }: &InputFiles) -> Result<Input, Vec<Diagnostic>> {
        let names: Vec<_> = config.iter().chain(files).map(|file| file.name.clone()).collect();
        let mut options = LoadOptions::default();
        options.namespace.clone_from(&self.object_namespace);
        options.allow_unknown_fields = self.allow_unknown_fields;
        let mut loaded = load(files, config.as_ref(), &options);
        match &mut loaded {
            Ok(input) => sort(&mut input.warnings, &names),
            Err(problems) => sort(problems, &names),
        }
        loaded
    }
}

/// Sorts diagnostics by file, in the order of these names, and position.
pub(crate) fn sort(diagnostics: &mut [Diagnostic], files: &[String]) {
    let order = |diagnostic: &Diagnostic| {
        let file = files.iter().position(|file| *file == diagnostic.file);
        (file.unwrap_or(usize::MAX), diagnostic.position)
    };
    diagnostics.sort_by_cached_key(order);
}

/// Returns a note for each file that is empty or has ignored objects.
#[must_use]
pub fn notes(input: &Input) -> Vec<Diagnostic> {
    let note = |file: &FileSummary| {
        let text = match file.is_empty {
            true => "is empty".into(),
            false if file.ignored.is_empty() => return None,
            false => format!("ignored: {}", file.ignored.join(", ")),
        };
        Some(Diagnostic::note(&file.file, text))
    };
    input.files.iter().filter_map(note).collect()
}

/// Returns the name of a file in messages.
#[must_use]
pub fn file_name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".into() } else { traffic_split_envoy::one_line(&path.display().to_string()) }
}

/// Returns the path, or the YAML and JSON files of a directory in alphabetical order. Adds a note about other entries of the
/// directory that are probably meant.
///
/// # Errors
/// If the directory cannot be read, or has no such files: the message.
fn paths_of(path: &Path, notes: &mut Vec<Diagnostic>) -> Result<Vec<PathBuf>, String> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let (mut files, others): (Vec<_>, Vec<_>) =
        entries(path).map_err(|why| read_error(&why))?.into_iter().partition(|entry| is_input(entry));
    let mut ignored: Vec<_> =
        others.iter().filter(|entry| is_probably_meant(entry)).map(|entry| name_of(entry)).collect();
    files.sort();
    ignored.sort();
    if !ignored.is_empty() {
        let text = format!(
            "ignored: {}; only the *.yaml, *.yml and *.json files of the directory itself are read",
            ignored.join(", ")
        );
        notes.push(Diagnostic::note(file_name(path), text));
    }
    match files.is_empty() {
        true => Err("has no *.yaml, *.yml or *.json files; pass a directory that contains such files".into()),
        false => Ok(files),
    }
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn is_input(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && !path.is_dir()
}

/// Returns whether an ignored entry of a directory is a subdirectory with input files, or a file with a misspelled extension.
/// Hidden entries are those of editors, and of ConfigMaps in a container.
fn is_probably_meant(path: &Path) -> bool {
    if name_of(path).starts_with('.') {
        return false;
    }
    if path.is_dir() {
        return entries(path).is_ok_and(|entries| entries.iter().any(|entry| is_input(entry)));
    }
    let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).unwrap_or_default();
    let is_similar = |known: &str| extension.starts_with(known) && extension.len() <= known.len() + 1;
    ["yam", "yml", "yaml", "json"].into_iter().any(is_similar)
}

/// Returns the last part of a path as one line.
fn name_of(path: &Path) -> String {
    traffic_split_envoy::one_line(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// Reads a file, or standard input if the path is `-`.
#[must_use]
pub fn read(path: &Path) -> InputFile {
    let content = if path == Path::new("-") {
        let mut content = Vec::new();
        io::stdin().lock().read_to_end(&mut content).map(|_| content)
    } else {
        std::fs::read(path)
    };
    InputFile { name: file_name(path), content: content.map_err(|why| read_error(&why)) }
}

fn read_error(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => "file not found".into(),
        io::ErrorKind::IsADirectory => "is a directory; pass a file".into(),
        io::ErrorKind::PermissionDenied => "cannot be read: permission denied".into(),
        _ => format!("cannot be read: {why}"),
    }
}

/// Notes on standard error that the configuration has no TrafficSplits.
pub fn note_no_splits(configuration: &Configuration) {
    if configuration.traffic_splits.is_empty() {
        print_diagnostic(&Diagnostic::note("", "the input has no TrafficSplit, so no request is split"));
    }
}

/// Checks that `--namespace` does not contradict the `namespace` of `--config`.
///
/// # Errors
/// If the two differ: the message.
pub fn check_namespace(configuration: &Configuration, given: Option<&str>) -> Result<(), String> {
    match (&configuration.namespace, given) {
        (Some(own), Some(given)) if own != given => {
            Err(format!("--namespace `{given}` differs from `namespace` in --config, `{own}`; omit one of them"))
        }
        _ => Ok(()),
    }
}
