//! Metrics. They belong to Envoy, not to a VM: workers count together, and a new VM finds what the one before counted.

use super::{Answer, Guest};
use crate::abi::Status;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A metric as Envoy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its value.
    pub value: Value,
    /// How many times a filter defined it. Each costs Envoy memory for as long as the VM lives: once is enough.
    pub definitions: u32,
}

/// The value of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// What was counted, all in all.
    Counter(u64),
    /// What was set last.
    Gauge(u64),
    /// What was recorded, in order.
    Histogram(Vec<u64>),
}

/// The metrics of an Envoy by type and name; a clone is the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<BTreeMap<(u32, String), Metric>>>);

/// The ids by which a VM knows metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    ids: BTreeMap<u32, (u32, String)>,
    /// How many ids each type has given away.
    given: [u32; 3],
}

/// Ids of a type lie this far apart: the lowest bits are the type, as in Envoy.
const STEP: u32 = 4;

// === impl Registry ===

impl Registry {
    /// All metrics by name, within each type.
    pub(crate) fn all(&self) -> Vec<(String, Metric)> {
        self.lock().iter().map(|((_, name), metric)| (name.clone(), metric.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u32, String), Metric>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Metrics ===

impl Metrics {
    /// For a new VM, which knows no ids yet.
    pub(crate) fn new(registry: Registry) -> Metrics {
        Metrics { registry, ids: BTreeMap::new(), given: [0; 3] }
    }

    fn define(&mut self, kind: u32, name: String) -> Option<u32> {
        let value = match kind {
            0 => Value::Counter(0),
            1 => Value::Gauge(0),
            2 => Value::Histogram(Vec::new()),
            _ => return None,
        };
        let given = self.given.get_mut(kind as usize)?;
        *given += 1;
        let id = *given * STEP + kind;
        let mut metrics = self.registry.lock();
        metrics.entry((kind, name.clone())).or_insert(Metric { value, definitions: 0 }).definitions += 1;
        self.ids.insert(id, (kind, name));
        Some(id)
    }

    /// What `change` makes of a metric's value.
    fn with<T>(&self, id: u32, change: impl FnOnce(&mut Value) -> Result<T, Status>) -> Result<T, Status> {
        let name = self.ids.get(&id).ok_or(Status::NotFound)?;
        let mut metrics = self.registry.lock();
        change(&mut metrics.get_mut(name).ok_or(Status::NotFound)?.value)
    }
}

pub(super) fn proxy_define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, size: u32, id_at: u32) -> Answer {
    let name = String::from_utf8_lossy(guest.read(name, size)?).into_owned();
    let id = guest.state_mut().metrics.define(kind, name).ok_or(Status::BadArgument)?;
    guest.write(id_at, &id.to_le_bytes())
}

/// Whether an id is that of a counter or a gauge: its lowest bits say what it is of, whoever defined it.
fn check_has_value(id: u32) -> Result<(), Status> {
    if id % STEP < 2 { Ok(()) } else { Err(Status::BadArgument) }
}

pub(super) fn proxy_increment_metric(guest: &mut Guest<'_>, id: u32, offset: i64) -> Answer {
    check_has_value(id)?;
    Ok(guest.state().metrics.with(id, |value| match value {
        Value::Counter(value) if offset > 0 => {
            *value = value.wrapping_add_signed(offset);
            Ok(())
        }
        Value::Gauge(value) => {
            *value = value.wrapping_add_signed(offset);
            Ok(())
        }
        Value::Counter(_) | Value::Histogram(_) => Err(Status::BadArgument),
    })?)
}

/// Adds to a counter, sets a gauge, records in a histogram.
pub(super) fn proxy_record_metric(guest: &mut Guest<'_>, id: u32, recorded: u64) -> Answer {
    Ok(guest.state().metrics.with(id, |value| {
        match value {
            Value::Counter(value) => *value = value.wrapping_add(recorded),
            Value::Gauge(value) => *value = recorded,
            Value::Histogram(values) => values.push(recorded),
        }
        Ok(())
    })?)
}

pub(super) fn proxy_get_metric(guest: &mut Guest<'_>, id: u32, value_at: u32) -> Answer {
    check_has_value(id)?;
    let value = guest.state().metrics.with(id, |value| match value {
        Value::Counter(value) | Value::Gauge(value) => Ok(*value),
        Value::Histogram(_) => Err(Status::BadArgument),
    })?;
    guest.write(value_at, &value.to_le_bytes())
}
