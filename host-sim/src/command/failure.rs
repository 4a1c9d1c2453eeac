//! The reasons why a command fails, and the reading of input files.

use host_sim::Log;
use std::io;
use std::path::Path;

/// The reason why a command fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The input is invalid.
    #[error("{0}")]
    Input(String),
    /// The module failed. The log messages precede the error.
    #[error("{0}")]
    Module(String, Vec<Log>),
    /// The output cannot be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    bytes.map_err(|why| Failure::Input(format!("{}: {why}", file.display())))
}
