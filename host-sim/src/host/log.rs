//! Logging.

use super::{Answer, Guest};
use crate::abi::{LogLevel, Status};
use std::fmt;

/// Something the filter logged, or Envoy of a trap in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// How serious it is.
    pub level: LogLevel,
    /// The context whose callback ran; 0 is the VM's own.
    pub context: u32,
    /// What it said; what isn't UTF-8 is replaced.
    pub message: String,
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.level, self.message)
    }
}

pub(super) fn proxy_log(guest: &mut Guest<'_>, level: u32, message: u32, size: u32) -> Answer {
    let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
    let message = guest.read(message, size)?.to_vec();
    guest.state_mut().log_guest(level, &message);
    Ok(())
}

/// The level of Envoy's logger. Unless it is set, nothing is left out.
pub(super) fn proxy_get_log_level(guest: &mut Guest<'_>, level_at: u32) -> Answer {
    let level = guest.state().surroundings.log_level.unwrap_or(LogLevel::Trace);
    guest.write_u32(level_at, level as usize)
}
