//! Metrics.

use super::guest::{Answer, Guest};
use crate::abi::Status;
use crate::state::metric::{ID_STEP, Value};

pub(super) fn proxy_define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, size: u32, id_at: u32) -> Answer {
    let name = String::from_utf8_lossy(guest.read(name, size)?).into_owned();
    let id = guest.state_mut().metrics.define(kind, name).ok_or(Status::BadArgument)?;
    guest.write(id_at, &id.to_le_bytes())
}

/// Checks that an id encodes a counter or a gauge, even if it is not defined.
fn check_has_value(id: u32) -> Result<(), Status> {
    if id % ID_STEP < 2 { Ok(()) } else { Err(Status::BadArgument) }
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

/// Adds to a counter, sets a gauge, or records a value in a histogram.
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
