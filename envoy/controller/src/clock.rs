//! The wall clock, for the times in Leases and conditions.

use k8s_openapi::jiff::Timestamp;
use std::fmt;
use std::sync::Arc;

/// Returns the time of day. Tests use another clock.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Returns the system's clock.
    pub(crate) fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// Returns a clock that follows tokio's clock, also while tokio's clock is paused. Starts at 2026-01-01.
    #[cfg(test)]
    pub(crate) fn virtual_time() -> Self {
        let begun = tokio::time::Instant::now();
        Self(Arc::new(move || Timestamp::from_second(1_767_225_600).unwrap() + begun.elapsed()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}
