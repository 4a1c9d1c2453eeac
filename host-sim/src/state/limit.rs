//! Limits of the resources that a module uses.

use std::fmt;
use wasmi::ResourceLimiter;
use wasmi_core::LimiterError;

/// The maximum number of elements of a table, as in V8.
const MAX_TABLE_ELEMENTS: usize = 10_000_000;

/// The size of a table element in bytes.
const TABLE_ELEMENT_SIZE: usize = 16;

/// wasmi's default for instances, tables and memories.
const MAX_INSTANCES: usize = 10_000;

/// A limit that a module exceeded, which ended its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Builder::fuel`](crate::Builder::fuel), in the interpreter's units.
    Fuel(u64),
    /// [`Builder::memory_limit`](crate::Builder::memory_limit), in bytes.
    Memory(usize),
    /// [`Builder::log_limit`](crate::Builder::log_limit), in bytes.
    Log(usize),
    /// [`Builder::host_limit`](crate::Builder::host_limit), in bytes.
    Host(usize),
}

/// Limits the memories and tables of a VM. Growth beyond the limit fails; a trap in the same callback is attributed to
/// the limit.
#[derive(Debug, Default)]
pub(crate) struct MemoryLimiter {
    /// The limit of all memories and tables together, in bytes.
    limit: Option<usize>,
    used: usize,
    /// Whether growth has failed since [`reset`](Self::reset).
    is_exceeded: bool,
}

// === impl Limit ===

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Fuel(units) => write!(f, "fuel limit of {units} units per callback exceeded"),
            Limit::Memory(bytes) => write!(f, "memory limit of {bytes} bytes exceeded"),
            Limit::Log(bytes) => write!(f, "log limit of {bytes} bytes exceeded"),
            Limit::Host(bytes) => write!(f, "limit of {bytes} bytes passed to host functions exceeded"),
        }
    }
}

// === impl MemoryLimiter ===

impl MemoryLimiter {
    /// Returns a limiter. `own` bytes of memory belong to the host and do not count.
    pub(crate) fn new(limit: Option<usize>, own: usize) -> MemoryLimiter {
        MemoryLimiter { limit: limit.map(|limit| limit.saturating_add(own)), used: 0, is_exceeded: false }
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }

    /// Forgets failed growth, which does not cause traps of later callbacks.
    pub(crate) fn reset(&mut self) {
        self.is_exceeded = false;
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let used = self.used.saturating_add(bytes);
        let is_allowed = self.limit.is_none_or(|limit| used <= limit);
        if is_allowed {
            self.used = used;
        } else {
            self.is_exceeded = true;
        }
        is_allowed
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, LimiterError> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, LimiterError> {
        let maximum = maximum.map_or(MAX_TABLE_ELEMENTS, |maximum| maximum.min(MAX_TABLE_ELEMENTS));
        let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_SIZE);
        Ok(desired <= maximum && self.grow(bytes))
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_INSTANCES
    }
}
