//! Metrics. They belong to Envoy, not to the VM: a new VM finds what the one before counted.

use super::{Answer, Guest};
use crate::abi::Status;
use std::collections::BTreeMap;

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

/// The metrics of a simulator, and the ids by which its VM knows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    by_name: BTreeMap<(u32, String), Metric>,
    ids: BTreeMap<u32, (u32, String)>,
    /// How many ids each type has given away.
    given: [u32; 3],
}

/// Ids of a type lie this far apart: the lowest bits are the type, as in Envoy.
const STEP: u32 = 4;

// === impl Metrics ===

impl Metrics {
    /// The metrics for a new VM, which knows no ids yet.
    pub(crate) fn for_new_vm(self) -> Metrics {
        Metrics { by_name: self.by_name, ..Metrics::default() }
    }

    /// All metrics by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.by_name.iter().map(|((_, name), metric)| (&name[..], metric))
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
        self.by_name.entry((kind, name.clone())).or_insert(Metric { value, definitions: 0 }).definitions += 1;
        self.ids.insert(id, (kind, name));
        Some(id)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Value> {
        self.by_name.get_mut(self.ids.get(&id)?).map(|metric| &mut metric.value)
    }
}

pub(super) fn proxy_define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, size: u32, id_at: u32) -> Answer {
    let name = String::from_utf8_lossy(guest.read(name, size)?).into_owned();
    let id = guest.state_mut().metrics.define(kind, name).ok_or(Status::BadArgument)?;
    guest.write(id_at, &id.to_le_bytes())
}

pub(super) fn proxy_increment_metric(guest: &mut Guest<'_>, id: u32, offset: i64) -> Answer {
    match guest.state_mut().metrics.get_mut(id).ok_or(Status::NotFound)? {
        Value::Counter(value) if offset > 0 => *value = value.wrapping_add_signed(offset),
        Value::Gauge(value) => *value = value.wrapping_add_signed(offset),
        Value::Counter(_) | Value::Histogram(_) => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

/// Adds to a counter, sets a gauge, records in a histogram.
pub(super) fn proxy_record_metric(guest: &mut Guest<'_>, id: u32, recorded: u64) -> Answer {
    match guest.state_mut().metrics.get_mut(id).ok_or(Status::NotFound)? {
        Value::Counter(value) => *value = value.wrapping_add(recorded),
        Value::Gauge(value) => *value = recorded,
        Value::Histogram(values) => values.push(recorded),
    }
    Ok(())
}

pub(super) fn proxy_get_metric(guest: &mut Guest<'_>, id: u32, value_at: u32) -> Answer {
    let value = match guest.state_mut().metrics.get_mut(id).ok_or(Status::NotFound)? {
        Value::Counter(value) | Value::Gauge(value) => *value,
        Value::Histogram(_) => return Err(Status::BadArgument.into()),
    };
    guest.write(value_at, &value.to_le_bytes())
}
