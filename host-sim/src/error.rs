//! Errors of loading, starting and configuring a filter.

use crate::state::limit::Limit;
use crate::state::log::Log;
use std::path::PathBuf;

/// An error of loading, starting or configuring a filter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: std::io::Error,
    },
    /// The file is not WebAssembly, or not a Proxy-Wasm module that this host can run.
    #[error("invalid Proxy-Wasm module: {0}")]
    Invalid(String),
    /// The module imports functions that this host does not provide.
    #[error("the module imports unknown functions: {}", imports.join(", "))]
    UnknownImports {
        /// The unknown imports as `module.name`.
        imports: Vec<String>,
    },
    /// `on_vm_start` or `on_configure` returned false. An earlier configuration stays in effect.
    #[error("{callback} refused the configuration{}", lines(logs))]
    Refused {
        /// The callback.
        callback: &'static str,
        /// The log messages of the attempt.
        logs: Vec<Log>,
    },
    /// The module trapped. (A panic in Rust is a trap.) An earlier configuration stays in effect.
    #[error("the module trapped in {callback}: {why}{}", lines(logs))]
    Trapped {
        /// The callback, `_initialize`, or the allocator.
        callback: &'static str,
        /// The trap.
        why: String,
        /// The limit that caused the trap, if one did.
        limit: Option<Limit>,
        /// The log messages of the attempt: the message of a panic, and last Envoy's message about the trap, with a
        /// backtrace if the module has function names.
        logs: Vec<Log>,
    },
    /// The module exceeded a limit before its first callback: its memory is too large, or its start function used too much
    /// fuel.
    #[error("{limit}{}", lines(logs))]
    Limit {
        /// The limit.
        limit: Limit,
        /// The log messages of the attempt.
        logs: Vec<Log>,
    },
    /// An earlier trap ended the VM. Call [`reload`](crate::Simulator::reload) to start another.
    #[error("the VM ended with a trap: {why}; reload it first")]
    VmFailed {
        /// The trap.
        why: String,
    },
}

// === impl Error ===

impl Error {
    /// Returns the limit that the module exceeded, if that is the cause.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Error::Limit { limit, .. } => Some(*limit),
            Error::Trapped { limit, .. } => *limit,
            _ => None,
        }
    }

    /// Returns the log messages before the error.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        match self {
            Error::Refused { logs, .. } | Error::Trapped { logs, .. } | Error::Limit { logs, .. } => logs,
            _ => &[],
        }
    }
}

/// Returns log messages as lines to append to an error.
fn lines(logs: &[Log]) -> String {
    logs.iter().map(|log| format!("\n  {log}")).collect()
}
