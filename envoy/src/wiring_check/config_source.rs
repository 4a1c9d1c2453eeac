//! Reads the source of the filter's configuration, and checks that Envoy notices changes of a file.

use super::findings::Findings;
use crate::safe_text::one_line;
use serde_json::Value;
use std::path::{Component, Path, PathBuf};

/// Returns the path of a config source that is a file.
pub(super) fn path(source: &Value) -> Option<&str> {
    source.pointer("/path_config_source/path").or(source.get("path"))?.as_str()
}

/// Reports that Envoy would not notice all replacements of a file.
///
/// Envoy notices that a file is renamed over the old one only in the directory that it watches: `watched_directory`, or by default
/// the directory of the file, where it misses the renamed symbolic links of a Kubernetes volume
/// (`source/extensions/config_subscription/filesystem/filesystem_subscription_impl.cc`).
pub(super) fn check_directory(file: &str, source: &Value, place: &str, field: &str, findings: &mut Findings) {
    let directory = match Path::new(file).parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let field = format!("{field}.path_config_source.watched_directory");
    let needed = one_line(&directory.display().to_string());
    let watched = source.pointer("/path_config_source/watched_directory/path").and_then(Value::as_str);
    match watched {
        None => {
            let message = format!(
                "is missing, so Envoy misses changes of a mounted ConfigMap, which replace a symbolic link; set it to `{{path: {needed}}}`"
            );
            findings.warning(place, &field, message);
        }
        Some(watched) if clean(Path::new(watched)) != clean(directory) => {
            let message = format!(
                "is `{}`, but the file is in `{needed}`, so Envoy misses every change of the file; set it to `{{path: {needed}}}`",
                one_line(watched)
            );
            findings.error(place, &field, message);
        }
        Some(_) => {}
    }
}

/// Returns a path without `.` and repeated separators.
pub(super) fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}
