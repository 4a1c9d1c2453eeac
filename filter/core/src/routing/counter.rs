//! The request counter of a backend: its name, its `reason` label, and its ids in a host.

use std::sync::atomic::{AtomicU32, Ordering};

/// How a backend was selected: the `reason` label of the request counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// By the split's override header, in which the request names the backend.
    Override,
    /// By the value of the split's sticky header or cookie.
    Sticky,
    /// By a random number and the weights.
    Random,
}

/// The ids that a host assigned to a backend's counters, one for each [`Reason`].
#[derive(Debug)]
pub(crate) struct CounterIds {
    by_override: AtomicU32,
    sticky: AtomicU32,
    random: AtomicU32,
}

/// Returns the name of a counter. Its labels are packed as Istio packs them: tag rules such as
/// `(split=\.=(.*?);\.;)` turn them into labels in Prometheus.
pub(crate) fn name(split: &str, backend: &str, reason: Reason) -> String {
    format!("traffic_split_requests.split=.={split};.;backend=.={backend};.;reason=.={};.;", reason.as_str())
}

// === impl Reason ===

impl Reason {
    /// Returns the value of the metric's `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Sticky => "sticky",
            Self::Random => "random",
        }
    }
}

// === impl CounterIds ===

impl CounterIds {
    /// Marks an id that is not assigned. If a host assigns exactly this id, the counter is looked up by name each time.
    const UNASSIGNED: u32 = u32::MAX;

    /// Returns the id for a reason; `None` if it is not assigned.
    pub(crate) fn get(&self, reason: Reason) -> Option<u32> {
        Some(self.of(reason).load(Ordering::Relaxed)).filter(|id| *id != Self::UNASSIGNED)
    }

    pub(crate) fn set(&self, reason: Reason, id: u32) {
        self.of(reason).store(id, Ordering::Relaxed);
    }

    fn of(&self, reason: Reason) -> &AtomicU32 {
        match reason {
            Reason::Override => &self.by_override,
            Reason::Sticky => &self.sticky,
            Reason::Random => &self.random,
        }
    }
}

impl Default for CounterIds {
    fn default() -> Self {
        let [by_override, sticky, random] = [const { AtomicU32::new(Self::UNASSIGNED) }; 3];
        Self { by_override, sticky, random }
    }
}

impl PartialEq for CounterIds {
    /// Always true: ids are a cache and not part of a backend's identity.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
