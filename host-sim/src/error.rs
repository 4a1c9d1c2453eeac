//! What can go wrong before a filter serves.

use crate::host::log::Log;
use crate::limit::Limit;
use std::path::PathBuf;

/// Why a filter couldn't be loaded, started or given a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file isn't there or can't be read.
    #[error("{}: {why}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// It isn't WebAssembly, or not a Proxy-Wasm module that this host can run.
    #[error("not a Proxy-Wasm module: {0}")]
    Invalid(String),
    /// The module imports what this host doesn't serve; it could not be started.
    #[error("the module imports what this host doesn't serve: {}", imports.join(", "))]
    Unserved {
        /// `module.name` of each such import.
        imports: Vec<String>,
    },
    /// `on_vm_start` or `on_configure` answered false. What ran before runs on.
    #[error("{callback} refused the configuration{}", listed(logs))]
    Refused {
        /// Which callback.
        callback: &'static str,
        /// What the filter logged meanwhile.
        logs: Vec<Log>,
    },
    /// The module trapped (a panic in Rust is a trap). What ran before runs on.
    #[error("the module trapped in {callback}: {why}{}", listed(logs))]
    Trapped {
        /// Which callback, `_initialize`, or the allocator in one of them.
        callback: &'static str,
        /// The trap.
        why: String,
        /// The limit that caused the trap, if one did.
        limit: Option<Limit>,
        /// What was logged meanwhile: a panic's message is there, and last what Envoy says of the trap, with a backtrace if
        /// the module has function names.
        logs: Vec<Log>,
    },
    /// The module exceeded a limit before its first callback: its memory is too large, or its start function ran too long.
    #[error("{limit}{}", listed(logs))]
    Limit {
        /// Which limit.
        limit: Limit,
        /// What the filter logged meanwhile.
        logs: Vec<Log>,
    },
    /// The VM is dead by an earlier trap; [`reload`](crate::Simulator::reload) starts another.
    #[error("the VM is dead since a trap: {why}")]
    Dead {
        /// The trap.
        why: String,
    },
}

// === impl Error ===

impl Error {
    /// Returns the limit that the module exceeded, if that is the error.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Error::Limit { limit, .. } => Some(*limit),
            Error::Trapped { limit, .. } => *limit,
            _ => None,
        }
    }

    /// Returns what the filter logged before the error.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        match self {
            Error::Refused { logs, .. } | Error::Trapped { logs, .. } | Error::Limit { logs, .. } => logs,
            _ => &[],
        }
    }
}

fn listed(logs: &[Log]) -> String {
    logs.iter().map(|log| format!("\n  {log}")).collect()
}
