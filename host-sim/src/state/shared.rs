//! Data and queues that VMs with the same `vm_id` share.

use crate::abi::Status;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Data and queues that VMs with the same `vm_id` share. Clones share the same data: pass one to several simulators to
/// connect them as the VMs of one Envoy.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    vms: u64,
    /// Values by `vm_id` and key, with the number of the change that wrote them.
    data: BTreeMap<(String, Vec<u8>), (Vec<u8>, u32)>,
    changes: u32,
    /// Queue tokens by `vm_id` and name.
    tokens: BTreeMap<(String, Vec<u8>), u32>,
    queues: BTreeMap<u32, Queue>,
    /// Undelivered `on_queue_ready` notifications, in order.
    ready: VecDeque<QueueReady>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The VM and root context that registered the queue last.
    vm: u64,
    root: u32,
    items: VecDeque<Vec<u8>>,
}

/// A notification that a queue has an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueReady {
    pub vm: u64,
    pub root: u32,
    pub token: u32,
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while the lock is held, so the data is consistent even if the lock is poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a unique number for a new VM.
    pub(crate) fn next_vm(&self) -> u64 {
        let mut inner = self.lock();
        inner.vms += 1;
        inner.vms
    }

    /// Returns a value and the number of the change that wrote it.
    pub(crate) fn get(&self, vm_id: &str, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.lock().data.get(&(vm_id.to_owned(), key.to_vec())).cloned()
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`Status::CasMismatch`] if a value exists, `cas` is not 0, and `cas` is not the number of the last change.
    pub(crate) fn set(&self, vm_id: &str, key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        let mut inner = self.lock();
        let key = (vm_id.to_owned(), key.to_vec());
        if inner.data.get(&key).is_some_and(|(_, written)| cas != 0 && cas != *written) {
            return Err(Status::CasMismatch);
        }
        inner.changes += 1;
        let changes = inner.changes;
        inner.data.insert(key, (value.to_vec(), changes));
        Ok(())
    }

    /// Returns the token of a queue, which is created if needed. The last root context to register receives the
    /// notifications.
    pub(crate) fn register(&self, vm_id: &str, name: &[u8], vm: u64, root: u32) -> u32 {
        let mut inner = self.lock();
        let next = u32::try_from(inner.tokens.len()).unwrap_or(u32::MAX).saturating_add(1);
        let token = *inner.tokens.entry((vm_id.to_owned(), name.to_vec())).or_insert(next);
        let queue = inner.queues.entry(token).or_default();
        (queue.vm, queue.root) = (vm, root);
        token
    }

    pub(crate) fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        self.lock().tokens.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    pub(crate) fn enqueue(&self, token: u32, item: &[u8]) -> Result<(), Status> {
        let mut inner = self.lock();
        let queue = inner.queues.get_mut(&token).ok_or(Status::NotFound)?;
        queue.items.push_back(item.to_vec());
        let ready = QueueReady { vm: queue.vm, root: queue.root, token };
        inner.ready.push_back(ready);
        Ok(())
    }

    pub(crate) fn dequeue(&self, token: u32) -> Result<Vec<u8>, Status> {
        let mut inner = self.lock();
        inner.queues.get_mut(&token).ok_or(Status::NotFound)?.items.pop_front().ok_or(Status::Empty)
    }

    /// Takes the oldest notification for a VM.
    pub(crate) fn take_ready(&self, vm: u64) -> Option<QueueReady> {
        let mut inner = self.lock();
        let place = inner.ready.iter().position(|ready| ready.vm == vm)?;
        inner.ready.remove(place)
    }
}
