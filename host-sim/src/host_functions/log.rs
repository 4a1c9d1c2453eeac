//! Logging.

use super::guest::{Answer, Guest};
use crate::abi::{LogLevel, Status};

pub(super) fn proxy_log(guest: &mut Guest<'_>, level: u32, message: u32, size: u32) -> Answer {
    let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
    let message = guest.read(message, size)?.to_vec();
    guest.state_mut().log_guest(level, &message);
    Ok(())
}

/// Returns the level of Envoy's logger: `trace` unless the test sets one.
pub(super) fn proxy_get_log_level(guest: &mut Guest<'_>, level_at: u32) -> Answer {
    let level = guest.state().config.log_level.unwrap_or(LogLevel::Trace);
    guest.write_u32(level_at, level as usize)
}
