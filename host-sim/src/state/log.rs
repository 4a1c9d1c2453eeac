//! Log messages.

use crate::abi::LogLevel;
use std::fmt;

/// A log message of the filter, or Envoy's message about a trap in the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// The level.
    pub level: LogLevel,
    /// The context whose callback ran. 0 stands for the VM itself.
    pub context: u32,
    /// The text. Invalid UTF-8 is replaced.
    pub message: String,
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.level, self.message)
    }
}
