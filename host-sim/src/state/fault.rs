//! Injected faults: host functions that return a status instead of running.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A status that a host function returns instead of running.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub function: String,
    pub status: u32,
    /// The number of calls that still run before the first fault.
    pub skipped: u32,
    /// The number of remaining faults, or `None` for all calls.
    pub remaining: Option<u32>,
}

/// The faults of one VM. Clones share the number of injected statuses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub list: Vec<Fault>,
    injected: Arc<AtomicU64>,
}

// === impl Faults ===

impl Faults {
    pub(crate) fn of(list: Vec<Fault>) -> Faults {
        Faults { list, injected: Arc::default() }
    }

    /// Returns the injected status of a host function, if there is one, and counts the call.
    pub(crate) fn next(&mut self, function: &str) -> Option<u32> {
        let fault = self.list.iter_mut().find(|fault| fault.function == function && fault.remaining != Some(0))?;
        if fault.skipped > 0 {
            fault.skipped -= 1;
            return None;
        }
        if let Some(remaining) = &mut fault.remaining {
            *remaining -= 1;
        }
        self.injected.fetch_add(1, Ordering::Relaxed);
        Some(fault.status)
    }

    /// Returns the number of calls with an injected status, including those of all clones.
    pub(crate) fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }
}
