//! The end of root contexts.

use crate::vm::instance::Vm;

/// Ends a root context if it is retired and its last stream has ended.
pub(super) fn end_if_unused(vm: &mut Vm, id: u32) {
    let is_unused = vm.state().contexts.values().all(|context| context.root() != Some(id));
    let may_end = vm.root_mut(id).is_some_and(|root| root.retired && !root.waits_for_done);
    if !is_unused || !may_end {
        return;
    }
    // A trap ends the VM; the next call reports it.
    vm.call(
        id,
        |callbacks| callbacks.done,
        id,
        |vm, done| match done {
            Ok(Some(0)) => {
                if let Some(root) = vm.root_mut(id) {
                    root.waits_for_done = true;
                }
            }
            Ok(_) => delete(vm, id),
            Err(_) => {}
        },
    );
}

/// Deletes a root context.
pub(super) fn delete(vm: &mut Vm, id: u32) {
    vm.call(id, |callbacks| callbacks.delete, id, |vm, _| vm.state_mut().contexts.remove(&id));
}

/// Retires a root context: it ends with its last stream.
pub(super) fn retire(vm: &mut Vm, id: u32) {
    if let Some(root) = vm.root_mut(id) {
        root.retired = true;
    }
    end_if_unused(vm, id);
}
