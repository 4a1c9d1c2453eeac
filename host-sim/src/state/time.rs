//! Time in nanoseconds since 1970.

use std::time::Duration;

/// Returns a duration in nanoseconds, at most `u64::MAX`.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
