//! The start of a plugin: a root context and its configuration.

use super::root;
use crate::abi::encode_size;
use crate::error::Error;
use crate::state::callback::Trap;
use crate::state::context::Context;
use crate::vm::instance::Vm;
use std::sync::Arc;

/// Creates a root context and configures it. Returns its id.
///
/// # Errors
/// [`Error::Refused`] and [`Error::Trapped`].
pub(super) fn start(vm: &mut Vm, configuration: &Arc<[u8]>) -> Result<u32, Error> {
    let root = vm.next_context();
    vm.state_mut().contexts.insert(root, Context::Root(Box::default()));
    match configure(vm, root, configuration) {
        Ok(None) => Ok(root),
        Ok(Some(callback)) => {
            root::retire(vm, root);
            Err(Error::Refused { callback, logs: vm.state().logs.clone() })
        }
        Err(Trap { callback, why }) => {
            Err(Error::Trapped { callback, why, limit: vm.state().exceeded, logs: vm.state().logs.clone() })
        }
    }
}

/// Calls the callbacks of the start. Returns the one that refused the configuration, if one did. A callback that the
/// module does not export accepts it.
fn configure(vm: &mut Vm, root: u32, configuration: &Arc<[u8]>) -> Result<Option<&'static str>, Trap> {
    let vm_configuration_size = encode_size(vm.state().config.vm_configuration.len());
    // The plugin configuration is readable in two callbacks; `on_vm_start` reads the VM configuration.
    vm.state_mut().plugin_configuration = Some(Arc::clone(configuration));
    vm.call(root, |callbacks| callbacks.context_create, (root, 0), hide_configuration)?;
    if vm.call(root, |callbacks| callbacks.vm_start, (root, vm_configuration_size), |_, result| result)? == Some(0) {
        return Ok(Some(vm.callbacks.vm_start.name));
    }
    vm.state_mut().plugin_configuration = Some(Arc::clone(configuration));
    let configured =
        vm.call(root, |callbacks| callbacks.configure, (root, encode_size(configuration.len())), hide_configuration)?;
    Ok((configured == Some(0)).then_some(vm.callbacks.configure.name))
}

/// Makes the plugin configuration unreadable. Returns the result of the callback.
fn hide_configuration<T>(vm: &mut Vm, result: Result<T, Trap>) -> Result<T, Trap> {
    vm.state_mut().plugin_configuration = None;
    result
}
