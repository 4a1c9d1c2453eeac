//! What VMs share: data and queues, by `vm_id`.

use crate::abi::Status;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Data and queues that VMs with one `vm_id` share, as all VMs of one Envoy do. Simulators that are given the same one
/// share it; a clone is the same one.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    vms: u64,
    /// By `vm_id` and key: the value, and the number of the change that wrote it.
    data: BTreeMap<(String, Vec<u8>), (Vec<u8>, u32)>,
    changes: u32,
    /// Tokens by `vm_id` and name.
    tokens: BTreeMap<(String, Vec<u8>), u32>,
    queues: BTreeMap<u32, Queue>,
    /// Queues that something was put into and whose owner hasn't been told, in order.
    ready: VecDeque<Ready>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whoever registered it last: the VM and its root context.
    vm: u64,
    root: u32,
    items: VecDeque<Vec<u8>>,
}

/// That a root context of a VM has something in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub vm: u64,
    pub root: u32,
    pub token: u32,
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nobody panics while it is held; and if somebody did, what is in it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new VM.
    pub(crate) fn next_vm(&self) -> u64 {
        let mut inner = self.lock();
        inner.vms += 1;
        inner.vms
    }

    pub(crate) fn get(&self, vm_id: &str, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.lock().data.get(&(vm_id.to_owned(), key.to_vec())).cloned()
    }

    /// Writes unless somebody has written since `cas` was read; 0 writes in any case, and so does any other where
    /// there is nothing yet.
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

    /// The token of a queue, which is made if it isn't there. Whoever registers it last is told of what is in it.
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
        let ready = Ready { vm: queue.vm, root: queue.root, token };
        inner.ready.push_back(ready);
        Ok(())
    }

    pub(crate) fn dequeue(&self, token: u32) -> Result<Vec<u8>, Status> {
        let mut inner = self.lock();
        inner.queues.get_mut(&token).ok_or(Status::NotFound)?.items.pop_front().ok_or(Status::Empty)
    }

    /// What this VM is to be told next.
    pub(crate) fn take_ready(&self, vm: u64) -> Option<Ready> {
        let mut inner = self.lock();
        let place = inner.ready.iter().position(|ready| ready.vm == vm)?;
        inner.ready.remove(place)
    }
}
