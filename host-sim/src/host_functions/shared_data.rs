//! Data that VMs with one `vm_id` share.

use super::guest::{Answer, Guest};
use crate::abi::Status;

/// Returns a value and its compare-and-swap number.
pub(super) fn proxy_get_shared_data(
    guest: &mut Guest<'_>,
    key: u32,
    size: u32,
    value_at: u32,
    size_at: u32,
    cas_at: u32,
) -> Answer {
    let key = guest.read(key, size)?;
    let state = guest.state();
    let (value, cas) = state.shared.get(&state.config.vm_id, key).ok_or(Status::NotFound)?;
    guest.give(&value, value_at, size_at)?;
    guest.write(cas_at, &cas.to_le_bytes())
}

/// Writes a value. Fails if `cas` is not 0 and the value has changed since that number was read.
pub(super) fn proxy_set_shared_data(
    guest: &mut Guest<'_>,
    key: u32,
    size: u32,
    value: u32,
    value_size: u32,
    cas: u32,
) -> Answer {
    let (key, value) = (guest.read(key, size)?, guest.read(value, value_size)?);
    let state = guest.state();
    Ok(state.shared.set(&state.config.vm_id, key, value, cas)?)
}
