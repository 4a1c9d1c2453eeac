//! Functions that Emscripten's runtime imports.

use super::guest::Guest;

pub(super) fn pthread_equal(_: &mut Guest<'_>, left: u32, right: u32) -> u32 {
    u32::from(left == right)
}

/// Ignores the notification: the host reads the memory's size when it needs it.
pub(super) fn emscripten_notify_memory_growth(_: &mut Guest<'_>, _memory: u32) {}
