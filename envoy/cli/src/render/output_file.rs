//! The option `--output`: replaces a file atomically.

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use traffic_split_cli::output::{print_stderr, print_stdout};

/// The destination of the rendered configuration.
#[derive(Args)]
pub(super) struct OutputArgs {
    /// Replace this file atomically, by rename, instead of writing to standard output. After an error, the old file stays. `-` is
    /// standard output
    #[arg(short, long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(parse_output))]
    output: Option<PathBuf>,
}

/// The values of kubectl's and of this program's options `-o`, which are formats and not files.
const FORMATS: [&str; 8] = ["json", "yaml", "yml", "text", "github", "name", "wide", "table"];

// === impl OutputArgs ===

impl OutputArgs {
    /// Returns the file; `None` for standard output.
    pub(super) fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|output| *output != Path::new("-"))
    }

    /// Checks that the output is not an input file.
    ///
    /// # Errors
    /// If the output is an input file: the message.
    pub(super) fn check<'p>(&self, mut inputs: impl Iterator<Item = &'p PathBuf>) -> Result<(), String> {
        let Some(output) = self.file() else { return Ok(()) };
        let real = fs::canonicalize(output).ok();
        let directory = fs::canonicalize(directory(output)).ok();
        // A directory as input means the YAML and JSON files in it.
        let is_read =
            output.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        let is_output = |input: &PathBuf| {
            let input = (input.as_path(), fs::canonicalize(input).ok());
            input.0 == output || input.1.is_some() && (input.1 == real || is_read && input.1 == directory)
        };
        match inputs.any(is_output) {
            true => {
                Err(format!("--output `{}` is an input file; write the output to another directory", output.display()))
            }
            false => Ok(()),
        }
    }

    /// Writes the text to the file, or to standard output; `None` after an error, which is reported on standard error.
    pub(super) fn write(&self, text: Option<&str>) -> ExitCode {
        match (text, self.file()) {
            (None, _) => ExitCode::FAILURE,
            (Some(text), None) => print_stdout(text),
            (Some(text), Some(path)) => write_and_report(path, text, None),
        }
    }
}

/// Parses the value of `--output`.
fn parse_output(text: OsString) -> Result<PathBuf, String> {
    match text.to_str() {
        Some("") => Err("the path is empty".into()),
        Some(format) if FORMATS.contains(&format) => {
            Err(format!("`{format}` is a format, but --output names a file; omit the option, or write `./{format}`"))
        }
        _ => Ok(text.into()),
    }
}

/// Replaces a file, and reports success or the error on standard error.
pub(super) fn write_and_report(path: &Path, text: &str, version: Option<&str>) -> ExitCode {
    match replace(path, text) {
        Ok(()) => {
            print_stderr(written(path, version));
            ExitCode::SUCCESS
        }
        Err(why) => {
            print_stderr(format_args!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns the line that reports a written file.
pub(super) fn written(path: &Path, version: Option<&str>) -> String {
    let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
    format!("wrote {}{version}", name(path))
}

/// Replaces a file by rename, so that a reader sees either the old or the new content, also after a power failure. The new file has
/// the mode and the owner of the old one, or mode 0644.
///
/// # Errors
/// If the file cannot be written: the message. The old file is unchanged.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let failed = |what: &str, why: &io::Error| format!("{}: {what}: {why}; the old file is unchanged", name(path));
    let old = match fs::metadata(path) {
        Ok(old) if old.is_dir() => return Err(format!("{}: is a directory; pass a file", name(path))),
        // Renaming over /dev/null or /dev/stdout would replace the device.
        Ok(old) if !old.is_file() => {
            return Err(format!("{}: is not a regular file; omit --output to write to standard output", name(path)));
        }
        Ok(old) => Some(old),
        Err(why) if why.kind() == io::ErrorKind::NotFound => None,
        Err(why) => return Err(failed("cannot be read", &why)),
    };
    let directory = directory(path);
    if !directory.is_dir() {
        return Err(format!("{}: the directory `{}` does not exist; create it", name(path), name(directory)));
    }
    // The error itself names the temporary file.
    let cannot_create =
        |why: io::Error| format!("{}: cannot be replaced: {}; the old file is unchanged", name(path), why.kind());
    let mut new = tempfile::Builder::new().prefix(".traffic-split-").tempfile_in(directory).map_err(cannot_create)?;
    new.as_file_mut().write_all(text.as_bytes()).map_err(|why| failed("cannot be written", &why))?;
    copy_permissions(new.as_file(), old.as_ref()).map_err(|why| failed("its owner or mode cannot be set", &why))?;
    new.as_file().sync_all().map_err(|why| failed("cannot be written", &why))?;
    new.persist(path).map_err(|why| failed("cannot be replaced", &why.error))?;
    // The rename is done; only a power failure could undo it.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

#[cfg(unix)]
fn copy_permissions(new: &File, old: Option<&Metadata>) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    const MODE: u32 = 0o644;
    let created = new.metadata()?;
    if let Some(old) = old
        && (old.uid(), old.gid()) != (created.uid(), created.gid())
    {
        let owner = (old.uid() != created.uid()).then_some(old.uid());
        let group = (old.gid() != created.gid()).then_some(old.gid());
        let changed = fchown(new, owner, group);
        // Only root may change the owner. Otherwise, a file that everyone may read stays readable.
        if old.mode() & 0o004 == 0 {
            changed?;
        }
    }
    let mode = old.map_or(MODE, |old| old.mode() & 0o7777);
    new.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn copy_permissions(new: &File, old: Option<&Metadata>) -> io::Result<()> {
    old.map_or(Ok(()), |old| new.set_permissions(old.permissions()))
}

/// Returns the directory of a file.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn name(path: &Path) -> String {
    traffic_split_envoy::one_line(&path.display().to_string())
}
