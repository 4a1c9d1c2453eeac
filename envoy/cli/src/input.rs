//! The input files of a command: Kubernetes objects and a plugin configuration.

use crate::options::parse_namespace;
use crate::output::print_diagnostic;
use clap::Args;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use traffic_split::Configuration;
use traffic_split_envoy::{Diagnostic, Input, InputFile, LoadOptions, load};

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

    /// Reads and parses the files.
    ///
    /// # Errors
    /// Every problem in any of the files.
    pub fn read(&self) -> Result<Input, Vec<Diagnostic>> {
        self.parse(&self.content())
    }

    /// Returns the content of the files.
    #[must_use]
    pub fn content(&self) -> InputFiles {
        InputFiles {
            files: self.files.iter().flat_map(|path| read_all(path)).collect(),
            config: self.config.as_deref().map(read),
        }
    }

    fn parse(&self, InputFiles { files, config }: &InputFiles) -> Result<Input, Vec<Diagnostic>> {
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

/// Returns a note for each file with ignored objects.
#[must_use]
pub fn notes(input: &Input) -> Vec<Diagnostic> {
    let files = input.files.iter().filter(|file| !file.ignored.is_empty());
    files.map(|file| Diagnostic::note(&file.file, format!("ignored: {}", file.ignored.join(", ")))).collect()
}

/// Returns the name of a file in messages.
#[must_use]
pub fn file_name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".into() } else { traffic_split_envoy::one_line(&path.display().to_string()) }
}

/// Reads a file, standard input if the path is `-`, or all YAML and JSON files of a directory in alphabetical order. Ignores
/// subdirectories.
fn read_all(path: &Path) -> Vec<InputFile> {
    if path == Path::new("-") || !path.is_dir() {
        return vec![read(path)];
    }
    let is_input = |path: &PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str);
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && !path.is_dir()
    };
    let entries: io::Result<Vec<_>> =
        std::fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let invalid = |why: String| vec![InputFile { name: file_name(path), content: Err(why) }];
    match entries {
        Err(why) => invalid(read_error(&why)),
        Ok(entries) => {
            let mut files: Vec<_> = entries.into_iter().filter(is_input).collect();
            files.sort();
            match files.is_empty() {
                true => {
                    invalid("has no *.yaml, *.yml or *.json files; pass a directory that contains such files".into())
                }
                false => files.iter().map(|file| read(file)).collect(),
            }
        }
    }
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
