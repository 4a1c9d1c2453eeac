//! A VM: an instance of a module, and calls of its callbacks. A trap ends the VM.

use super::callbacks::{Callbacks, SelectCallback};
use super::export::export;
use super::module::{ALLOCATORS, Module};
use crate::backtrace::{self, CallStack};
use crate::error::Error;
use crate::host_functions::table;
use crate::state::callback::{Callback, Trap};
use crate::state::connection::Connection;
use crate::state::context::{Context, Root};
use crate::state::deferred::Deferred;
use crate::state::host_config::FailurePolicy;
use crate::state::limit::MemoryLimiter;
use crate::state::stream::Stream;
use crate::state::trap_report::{exceeded_limit, log_trap};
use crate::state::vm_state::{Phase, State};
use wasmi::{Linker, Store, WasmParams, WasmResults};

/// A VM.
#[derive(Debug)]
pub(crate) struct Vm {
    store: Store<State>,
    /// The callbacks that the module exports.
    pub callbacks: Callbacks,
    /// Applies a deferred effect. The lifecycle, which knows streams and connections, provides the function.
    apply_deferred: fn(&mut Vm, Deferred),
    /// The trap that ended the VM.
    failed: Option<String>,
    last_context: u32,
}

// === impl Vm ===

impl Vm {
    /// Instantiates and initializes a module.
    pub(crate) fn start(module: &Module, state: State, apply_deferred: fn(&mut Vm, Deferred)) -> Result<Vm, Error> {
        let imports = module.wasm.imports();
        let missing = imports.filter(|import| !table::is_provided(module.abi, import.module(), import.name()));
        let missing: Vec<_> = missing.map(|import| format!("{}.{}", import.module(), import.name())).collect();
        if !missing.is_empty() {
            return Err(Error::UnknownImports { imports: missing });
        }
        let invalid = |why: wasmi::Error| Error::Invalid(why.to_string());
        let memory_limit = state.config.memory;
        let mut store = Store::new(module.wasm.engine(), state);
        store.data_mut().memory_limiter = MemoryLimiter::new(memory_limit, backtrace::MEMORY_SIZE);
        store.limiter(|state| &mut state.memory_limiter);
        refuel(&mut store);
        let mut linker = Linker::new(module.wasm.engine());
        table::link(&mut linker).map_err(invalid)?;
        let instance = linker.instantiate_and_start(&mut store, &module.wasm);
        let instance = instance.map_err(|why| match exceeded_limit(store.data_mut(), &why) {
            Some(limit) => Error::Limit { limit, logs: store.data_mut().take_logs() },
            None => invalid(why),
        })?;
        store.data_mut().calls = CallStack::of(&store, &instance);
        store.data_mut().memory = module.memory().and_then(|name| instance.get_memory(&store, name));
        for name in ALLOCATORS.into_iter().rev() {
            if let Some(function) = export(&store, &instance, name)? {
                store.data_mut().allocate = Some(Callback { name, function: Some(function) });
            }
        }
        let callbacks = Callbacks::of(&store, &instance, module.abi)?;
        // A reactor exports `_initialize` and may export `main`; a command exports `_start`.
        let initialize =
            Callback { name: "_initialize", function: export::<(), ()>(&store, &instance, "_initialize")? };
        let start = Callback { name: "_start", function: export::<(), ()>(&store, &instance, "_start")? };
        let main = Callback { name: "main", function: export::<(u32, u32), u32>(&store, &instance, "main")? };
        let main_void =
            Callback { name: "__main_void", function: export::<(), u32>(&store, &instance, "__main_void")? };
        let mut vm = Vm { store, callbacks, apply_deferred, failed: None, last_context: 0 };
        let mut begin = || {
            if initialize.function.is_none() {
                return vm.call_export(0, start, ()).map(|_| ());
            }
            vm.call_export(0, initialize, ())?;
            if main.function.is_some() {
                return vm.call_export(0, main, (0, 0)).map(|_| ());
            }
            vm.call_export(0, main_void, ()).map(|_| ())
        };
        if let Err(Trap { callback, why }) = begin() {
            let limit = vm.state().exceeded;
            return Err(Error::Trapped { callback, why, limit, logs: vm.state_mut().take_logs() });
        }
        vm.state_mut().phase = Phase::Serving;
        Ok(vm)
    }

    /// Calls a callback in a context, handles its result with `then`, and applies the effects that host functions
    /// deferred, in this order. The result is `None` if the module does not export the callback, and a trap if the
    /// callback traps or the VM has failed.
    ///
    /// This is the only place where deferred effects are applied.
    pub(crate) fn call<Params: WasmParams, Results: WasmResults, T>(
        &mut self,
        context: u32,
        callback: SelectCallback<Params, Results>,
        params: Params,
        then: impl FnOnce(&mut Vm, Result<Option<Results>, Trap>) -> T,
    ) -> T {
        let callback = callback(&self.callbacks);
        let result = self.call_export(context, callback, params);
        let value = then(self, result);
        while let Some(deferred) = self.state_mut().deferred.pop_front() {
            (self.apply_deferred)(self, deferred);
        }
        value
    }

    /// Calls an exported function in a context.
    fn call_export<Params: WasmParams, Results: WasmResults>(
        &mut self,
        context: u32,
        callback: Callback<Params, Results>,
        params: Params,
    ) -> Result<Option<Results>, Trap> {
        let Callback { name, function } = callback;
        if let Some(why) = &self.failed {
            return Err(Trap { callback: name, why: why.clone() });
        }
        let Some(function) = function else { return Ok(None) };
        let state = self.state_mut();
        (state.current, state.effective, state.local_response_sent) = (context, 0, false);
        state.memory_limiter.reset();
        refuel(&mut self.store);
        if let Some(calls) = self.state().calls {
            calls.set_height(&mut self.store, 0);
        }
        let called = function.call(&mut self.store, params).map_err(|why| log_trap(&mut self.store, name, &why));
        let result = self.state_mut().allocator_trap.take().map_or(called, Err);
        if let Err(trap) = &result {
            self.failed = Some(trap.why.clone());
        }
        result.map(Some)
    }

    /// Returns the id of a new context.
    pub(crate) fn next_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }

    /// Returns the trap that ended the VM, if one did.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Returns whether new streams and connections bypass the filter: the VM has failed and the policy is
    /// [`FailurePolicy::Open`].
    pub(crate) fn is_bypassed(&self) -> bool {
        self.failed.is_some() && self.state().config.failure_policy == FailurePolicy::Open
    }

    /// Returns whether streams or connections are open, or outcomes of connections have not been read.
    pub(crate) fn has_streams(&self) -> bool {
        self.state().contexts.values().any(|context| context.root().is_some()) || !self.state().closed.is_empty()
    }

    /// Returns the size of the guest's memory in bytes.
    pub(crate) fn memory_size(&self) -> usize {
        self.state().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    pub(crate) fn state(&self) -> &State {
        self.store.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    pub(crate) fn root_mut(&mut self, id: u32) -> Option<&mut Root> {
        self.context_mut(id)?.as_root_mut()
    }

    pub(crate) fn stream_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.context_mut(id)?.as_stream_mut()
    }

    pub(crate) fn connection_mut(&mut self, id: u32) -> Option<&mut Connection> {
        self.context_mut(id)?.as_connection_mut()
    }

    fn context_mut(&mut self, id: u32) -> Option<&mut Context> {
        self.state_mut().contexts.get_mut(&id)
    }
}

/// Resets the fuel to the limit of one callback.
fn refuel(store: &mut Store<State>) {
    let fuel = store.data().config.fuel.unwrap_or(u64::MAX);
    store.set_fuel(fuel).expect("the engine consumes fuel");
}
