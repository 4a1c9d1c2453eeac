//! Typed access to exported functions.

use crate::error::Error;
use crate::state::vm_state::State;
use wasmi::{Instance, Store, TypedFunc, WasmParams, WasmResults};

/// Returns an exported function, or `None` if the module does not export it.
///
/// # Errors
/// [`Error::Invalid`] if the function has another signature.
pub(super) fn export<Params: WasmParams, Results: WasmResults>(
    store: &Store<State>,
    instance: &Instance,
    name: &'static str,
) -> Result<Option<TypedFunc<Params, Results>>, Error> {
    let Some(function) = instance.get_func(store, name) else { return Ok(None) };
    let function = function.typed(store).map_err(|_| {
        Error::Invalid(format!("{name}: the ABI does not define the signature {:?}", function.ty(store)))
    })?;
    Ok(Some(function))
}
