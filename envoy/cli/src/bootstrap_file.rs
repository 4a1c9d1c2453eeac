//! The option `--bootstrap`: a file with the configuration of an Envoy.

use std::path::Path;
use traffic_split_cli::input;
use traffic_split_envoy::{Diagnostic, EnvoyConfiguration};

/// Reads a bootstrap or a config dump.
///
/// # Errors
/// If the file cannot be read, or is neither: one error.
pub(crate) fn read(path: &Path) -> Result<EnvoyConfiguration, Box<Diagnostic>> {
    let file = input::read(path);
    let parsed = match &file.content {
        Ok(content) => EnvoyConfiguration::parse(content),
        Err(why) => Err(Box::new(Diagnostic::error("", "", "", why))),
    };
    parsed.map_err(|mut diagnostic| {
        diagnostic.file = file.name;
        diagnostic
    })
}
