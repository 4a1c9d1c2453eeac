//! Checks whether Envoy reads the filter's configuration from a file.

use super::config_source::{clean, path};
use super::connection_manager::{ConnectionManager, is_filter_name};
use super::envoy_configuration::EnvoyConfiguration;
use super::extension;
use super::findings::{Findings, PARTS, SILENCE};
use super::values::{list, name};
use crate::diagnostic::Diagnostic;
use crate::safe_text::one_line;
use serde_json::Value;
use std::path::Path;

/// Reports why an Envoy would not load the filter's configuration from `file`, or would not notice that it is replaced. The field
/// `file` of the diagnostics is empty.
///
/// Give an absolute path. A relative path in Envoy's configuration is relative to Envoy's working directory, which is unknown, so it
/// is compared with the end of `file`.
#[must_use]
pub fn check_watched_file(envoy: &EnvoyConfiguration, file: &Path) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    let managers = ConnectionManager::all(envoy);
    let sources: Vec<_> = managers
        .iter()
        .flat_map(|manager| list(manager.config, "http_filters").map(move |filter| (manager, filter)))
        .filter_map(|(manager, filter)| {
            Some((manager, filter, path(filter.pointer("/config_discovery/config_source")?)?))
        })
        .collect();
    let file = clean(file);
    let is_file = |path: &str| {
        let path = clean(Path::new(path));
        path == file || path.is_relative() && file.ends_with(path)
    };
    let mut is_read = false;
    for (manager, filter, _) in sources.iter().filter(|(.., path)| is_file(path)) {
        is_read = true;
        let discovery = filter.get("config_discovery").unwrap_or(&Value::Null);
        extension::check_discovery(filter, discovery, &manager.place, &mut findings);
    }
    if !is_read {
        let file = one_line(&file.display().to_string());
        let message = match sources.iter().find(|(_, filter, _)| is_filter_name(name(filter))) {
            Some((.., other)) => format!(
                "Envoy reads the filter's configuration from `{}`, not from `{file}`; write that file, or change `path` in the bootstrap",
                one_line(other)
            ),
            None => format!("no filter reads `{file}`, so {SILENCE}; add the filter of {PARTS} b"),
        };
        findings.warning("", "path_config_source.path", message);
    }
    findings.into_diagnostics()
}
