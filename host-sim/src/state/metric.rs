//! Metrics. They belong to Envoy, not to a VM: all workers share them, and they survive a VM.

use crate::abi::Status;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A metric of Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The value.
    pub value: Value,
    /// How many times a filter defined the metric. Each definition costs Envoy memory as long as the VM lives.
    pub definitions: u32,
}

/// The value of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The total count.
    Counter(u64),
    /// The value set last.
    Gauge(u64),
    /// The recorded values in order.
    Histogram(Vec<u64>),
}

/// The metrics of one Envoy by type and name. Clones share the metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricRegistry(Arc<Mutex<BTreeMap<(u32, String), Metric>>>);

/// The metric ids of one VM.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: MetricRegistry,
    ids: BTreeMap<u32, (u32, String)>,
    /// The number of ids assigned for each type.
    assigned: [u32; 3],
}

/// The distance between ids of one type: the lowest bits encode the type, as in Envoy.
pub(crate) const ID_STEP: u32 = 4;

// === impl MetricRegistry ===

impl MetricRegistry {
    /// Returns all metrics, by name within each type.
    pub(crate) fn all(&self) -> Vec<(String, Metric)> {
        self.lock().iter().map(|((_, name), metric)| (name.clone(), metric.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u32, String), Metric>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Metrics ===

impl Metrics {
    /// Returns the empty id table of a new VM.
    pub(crate) fn new(registry: MetricRegistry) -> Metrics {
        Metrics { registry, ids: BTreeMap::new(), assigned: [0; 3] }
    }

    /// Defines a metric and returns its id, or `None` for an unknown type.
    pub(crate) fn define(&mut self, kind: u32, name: String) -> Option<u32> {
        let value = match kind {
            0 => Value::Counter(0),
            1 => Value::Gauge(0),
            2 => Value::Histogram(Vec::new()),
            _ => return None,
        };
        let assigned = self.assigned.get_mut(kind as usize)?;
        *assigned += 1;
        let id = *assigned * ID_STEP + kind;
        let mut metrics = self.registry.lock();
        metrics.entry((kind, name.clone())).or_insert(Metric { value, definitions: 0 }).definitions += 1;
        self.ids.insert(id, (kind, name));
        Some(id)
    }

    /// Applies `change` to the value of a metric.
    ///
    /// # Errors
    /// [`Status::NotFound`] for an unknown id, and the errors of `change`.
    pub(crate) fn with<T>(&self, id: u32, change: impl FnOnce(&mut Value) -> Result<T, Status>) -> Result<T, Status> {
        let name = self.ids.get(&id).ok_or(Status::NotFound)?;
        let mut metrics = self.registry.lock();
        change(&mut metrics.get_mut(name).ok_or(Status::NotFound)?.value)
    }
}
