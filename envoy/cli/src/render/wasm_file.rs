//! Checks the file of `--wasm`, which is a path on another machine or in a container, but often also exists here.

use std::fs::File;
use std::io::{self, Read};
use traffic_split_cli::output::print_diagnostic;
use traffic_split_envoy::{Diagnostic, Severity};

/// The beginning of a WebAssembly module.
const MAGIC: [u8; 4] = *b"\0asm";

/// Reports a file that is not a compiled filter as an error, and a file that does not exist here with this severity. Returns whether
/// the file may be a compiled filter.
pub(super) fn check_wasm_file(path: &str, severity_if_missing: Severity) -> bool {
    let problem = match start_of(path) {
        Ok(start) if start == MAGIC => return true,
        Ok(_) => Diagnostic::error(name(path), "", "--wasm", "is not a WebAssembly module; pass the compiled filter"),
        Err(why) if why.kind() == io::ErrorKind::IsADirectory => {
            Diagnostic::error(name(path), "", "--wasm", "is a directory; pass the compiled filter")
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let message = "the file does not exist here, so its version is unknown; check that it exists in the proxy";
            Diagnostic::new(severity_if_missing, name(path), "", "--wasm", message)
        }
        Err(why) => {
            let message = format!("cannot be read here, so its version is unknown: {}", why.kind());
            Diagnostic::new(severity_if_missing, name(path), "", "--wasm", message)
        }
    };
    print_diagnostic(&problem);
    problem.severity < Severity::Error
}

/// Returns the first bytes of a file.
fn start_of(path: &str) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn name(path: &str) -> String {
    traffic_split_envoy::one_line(path)
}
