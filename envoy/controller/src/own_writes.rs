//! The controller's own writes: a watch event that only repeats one of them starts no pass.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The last write to each object. A write is recorded before its request is sent, so that its watch event is recognized.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnWrites(Arc<Mutex<Last>>);

#[derive(Debug, Default)]
struct Last {
    /// By `namespace/name` of the TrafficSplit.
    statuses: BTreeMap<String, Value>,
    filter_spec: Value,
}

impl OwnWrites {
    /// Records the status that is about to be written to a TrafficSplit, by `namespace/name`.
    pub(crate) fn record_status(&self, key: String, status: Value) {
        self.last().statuses.insert(key, status);
    }

    /// Records the spec that is about to be written to the EnvoyFilter.
    pub(crate) fn record_filter_spec(&self, spec: Value) {
        self.last().filter_spec = spec;
    }

    /// Forgets the statuses of TrafficSplits that no longer exist.
    pub(crate) fn retain_statuses(&self, exists: impl Fn(&str) -> bool) {
        self.last().statuses.retain(|key, _| exists(key));
    }

    /// Returns whether a TrafficSplit's status is the one last written.
    pub(crate) fn is_status(&self, key: &str, status: Option<&Value>) -> bool {
        status.is_some_and(|status| self.last().statuses.get(key) == Some(status))
    }

    /// Returns whether the EnvoyFilter's spec is the one last written.
    pub(crate) fn is_filter_spec(&self, spec: &Value) -> bool {
        !spec.is_null() && self.last().filter_spec == *spec
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::OwnWrites;
    use serde_json::{Value, json};

    #[test]
    fn only_the_last_write_is_recognized() {
        let own = OwnWrites::default();
        assert!(!own.is_status("ns/a", None) && !own.is_filter_spec(&Value::Null));
        own.record_status("ns/a".into(), json!({"state": 1}));
        own.record_status("ns/a".into(), json!({"state": 2}));
        assert!(own.is_status("ns/a", Some(&json!({"state": 2}))));
        assert!(
            !own.is_status("ns/a", Some(&json!({"state": 1}))) && !own.is_status("ns/b", Some(&json!({"state": 2})))
        );
        own.record_filter_spec(json!({"configPatches": []}));
        assert!(own.is_filter_spec(&json!({"configPatches": []})) && !own.is_filter_spec(&json!({})));
        own.retain_statuses(|key| key != "ns/a");
        assert!(!own.is_status("ns/a", Some(&json!({"state": 2}))));
    }
}
