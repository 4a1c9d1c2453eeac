//! Limits how often sidecars start a new VM of the filter.
//!
//! A new VM replaces a VM that has failed, but Envoy drops the old VM's counters. A tenant that keeps changing splits must
//! not reset the counters of all tenants with each change.

use crate::token_bucket::TokenBucket;
use std::time::{Duration, Instant};
use traffic_split_envoy::increment_vm_epoch;

/// The number of changes in a row that may rotate the VM.
const MAX_ROTATIONS: u32 = 4;
/// The time after which one more change may rotate the VM.
const ROTATION_INTERVAL: Duration = Duration::from_secs(300);

/// The budget of VM rotations.
#[derive(Debug)]
pub(crate) struct VmRotation {
    budget: TokenBucket,
    /// A rotation was postponed because the budget was used up.
    is_postponed: bool,
}

impl VmRotation {
    pub(crate) fn new(now: Instant) -> Self {
        Self { budget: TokenBucket::new(MAX_ROTATIONS, ROTATION_INTERVAL, now), is_postponed: false }
    }

    /// Returns the epoch to write: `wanted`, or `served` if the budget is used up. In the latter case, the rotation is
    /// postponed. Call [`spend`](Self::spend) after another epoch than `served` was written.
    pub(crate) fn epoch(&mut self, served: Option<u64>, wanted: u64, now: Instant) -> u64 {
        self.budget.refill(now);
        let Some(served) = served else { return wanted };
        if self.budget.is_empty() {
            self.is_postponed |= wanted != served;
            return served;
        }
        if self.is_postponed && wanted == served { increment_vm_epoch(served) } else { wanted }
    }

    /// Takes one rotation from the budget, after another epoch was written.
    pub(crate) fn spend(&mut self) {
        self.budget.take();
        self.is_postponed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ROTATIONS, ROTATION_INTERVAL, VmRotation};
    use std::time::Instant;

    #[test]
    fn frequent_changes_get_four_new_vms_and_then_one_per_interval() {
        let begun = Instant::now();
        let mut rotation = VmRotation::new(begun);
        let mut written = |seconds: u64| {
            let now = begun + std::time::Duration::from_secs(seconds);
            let is_new = rotation.epoch(Some(3), 4, now) == 4;
            if is_new {
                rotation.spend();
            }
            is_new
        };
        let first: Vec<_> = (0..10).map(&mut written).collect();
        assert_eq!(first.iter().filter(|is_new| **is_new).count(), MAX_ROTATIONS as usize);
        let interval = ROTATION_INTERVAL.as_secs();
        let later = (10..10 * interval).filter(|second| written(*second)).count();
        assert!((8..=10).contains(&later), "{later} in ten intervals");
    }

    #[test]
    fn postponed_rotation_follows_when_the_budget_allows() {
        let begun = Instant::now();
        let mut rotation = VmRotation::new(begun);
        for _ in 0..MAX_ROTATIONS {
            rotation.spend();
        }
        assert_eq!(rotation.epoch(Some(3), 4, begun), 3, "no rotation is left");
        assert_eq!(rotation.epoch(Some(3), 3, begun), 3);
        let later = begun + ROTATION_INTERVAL;
        assert_eq!(rotation.epoch(Some(3), 3, later), 4, "no other change was needed");
        rotation.spend();
        assert_eq!(rotation.epoch(Some(4), 4, later + ROTATION_INTERVAL), 4, "once");
    }

    #[test]
    fn first_envoy_filter_gets_the_wanted_epoch() {
        let now = Instant::now();
        let mut rotation = VmRotation::new(now);
        for _ in 0..2 * MAX_ROTATIONS {
            assert_eq!(rotation.epoch(None, 5, now), 5);
            rotation.spend();
        }
    }
}
