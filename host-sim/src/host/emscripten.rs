//! What Emscripten's runtime imports.

use super::Guest;

pub(super) fn pthread_equal(_: &mut Guest<'_>, left: u32, right: u32) -> u32 {
    u32::from(left == right)
}

/// Nothing is to be done.
pub(super) fn emscripten_notify_memory_growth(_: &mut Guest<'_>, _memory: u32) {}
