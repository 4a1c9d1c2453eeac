//! Queues that VMs share.

use super::guest::{Answer, Guest};
use crate::abi::Status;

/// Returns the token of a queue of this VM's `vm_id`, which is created if needed. From then on, the root context is
/// notified of new items.
pub(super) fn proxy_register_shared_queue(guest: &mut Guest<'_>, name: u32, size: u32, token_at: u32) -> Answer {
    let name = guest.read(name, size)?;
    let state = guest.state();
    let token = state.shared.register(&state.config.vm_id, name, state.vm, state.root_id());
    guest.write(token_at, &token.to_le_bytes())
}

/// Returns the token of a registered queue. An empty `vm_id` stands for this VM's.
pub(super) fn proxy_resolve_shared_queue(
    guest: &mut Guest<'_>,
    vm_id: u32,
    vm_id_size: u32,
    name: u32,
    size: u32,
    token_at: u32,
) -> Answer {
    let (vm_id, name) = (guest.read(vm_id, vm_id_size)?, guest.read(name, size)?);
    let state = guest.state();
    let vm_id = String::from_utf8_lossy(vm_id);
    let vm_id = if vm_id.is_empty() { &state.config.vm_id } else { &*vm_id };
    let token = state.shared.resolve(vm_id, name).ok_or(Status::NotFound)?;
    guest.write(token_at, &token.to_le_bytes())
}

pub(super) fn proxy_enqueue_shared_queue(guest: &mut Guest<'_>, token: u32, item: u32, size: u32) -> Answer {
    let item = guest.read(item, size)?;
    Ok(guest.state().shared.enqueue(token, item)?)
}

/// Removes and returns the oldest item.
pub(super) fn proxy_dequeue_shared_queue(guest: &mut Guest<'_>, token: u32, item_at: u32, size_at: u32) -> Answer {
    let item = guest.state().shared.dequeue(token)?;
    guest.give(&item, item_at, size_at)
}
