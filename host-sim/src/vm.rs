//! One instance of a module, and the callbacks that a host makes. A trap in any of them is its end.

use crate::abi::{AbiVersion, LogLevel};
use crate::backtrace::{self, CallStack};
use crate::error::Error;
use crate::host;
use crate::limit::{Limit, MemoryLimiter};
use crate::module::{ALLOCATORS, Module};
use crate::state::{Context, Phase, State};
use std::sync::Arc;
use wasmi::{AsContextMut, Instance, Linker, Store, TrapCode, TypedFunc, WasmParams, WasmResults};

/// A VM.
#[derive(Debug)]
pub(crate) struct Vm {
    store: Store<State>,
    /// The callbacks that the module exports.
    pub callbacks: Callbacks,
    /// Why it is dead, if it is.
    dead: Option<String>,
    last_context: u32,
}

/// A callback: its name, and what exports it if anything does.
#[derive(Debug)]
pub(crate) struct Callback<Params, Results> {
    pub name: &'static str,
    pub function: Option<TypedFunc<Params, Results>>,
}

/// What a module may export for a host to call. All take the id of the context first; those of one number take no more.
#[derive(Debug)]
pub(crate) struct Callbacks {
    pub context_create: Callback<(u32, u32), ()>,
    pub vm_start: Callback<(u32, u32), u32>,
    pub configure: Callback<(u32, u32), u32>,
    pub tick: Callback<u32, ()>,
    pub request_headers: Callback<(u32, u32, u32), u32>,
    pub request_body: Callback<(u32, u32, u32), u32>,
    pub request_trailers: Callback<(u32, u32), u32>,
    pub response_headers: Callback<(u32, u32, u32), u32>,
    pub response_body: Callback<(u32, u32, u32), u32>,
    pub response_trailers: Callback<(u32, u32), u32>,
    /// Those of ABI 0.1.0, which aren't told of the stream's end.
    pub request_headers_0_1: Callback<(u32, u32), u32>,
    pub response_headers_0_1: Callback<(u32, u32), u32>,
    pub new_connection: Callback<u32, u32>,
    pub downstream_data: Callback<(u32, u32, u32), u32>,
    pub upstream_data: Callback<(u32, u32, u32), u32>,
    pub downstream_connection_close: Callback<(u32, u32), ()>,
    pub upstream_connection_close: Callback<(u32, u32), ()>,
    pub http_call_response: Callback<(u32, u32, u32, u32, u32), ()>,
    pub grpc_receive_initial_metadata: Callback<(u32, u32, u32), ()>,
    pub grpc_receive: Callback<(u32, u32, u32), ()>,
    pub grpc_receive_trailing_metadata: Callback<(u32, u32, u32), ()>,
    pub grpc_close: Callback<(u32, u32, u32), ()>,
    pub queue_ready: Callback<(u32, u32), ()>,
    pub log: Callback<u32, ()>,
    pub done: Callback<u32, u32>,
    pub delete: Callback<u32, ()>,
}

/// A trap: in which callback, and why.
#[derive(Clone, Debug)]
pub(crate) struct Trap {
    pub callback: &'static str,
    pub why: String,
}

// === impl Vm ===

impl Vm {
    /// Instantiates the module, and initializes it.
    pub(crate) fn start(module: &Module, state: State) -> Result<Vm, Error> {
        let imports = module.wasm.imports();
        let unserved = imports.filter(|import| !host::serves(module.abi, import.module(), import.name()));
        let unserved: Vec<_> = unserved.map(|import| format!("{}.{}", import.module(), import.name())).collect();
        if !unserved.is_empty() {
            return Err(Error::Unserved { imports: unserved });
        }
        let invalid = |why: wasmi::Error| Error::Invalid(why.to_string());
        let memory_limit = state.surroundings.memory;
        let mut store = Store::new(module.wasm.engine(), state);
        store.data_mut().memory_limiter = MemoryLimiter::new(memory_limit, backtrace::MEMORY_SIZE);
        store.limiter(|state| &mut state.memory_limiter);
        refuel(&mut store);
        let mut linker = Linker::new(module.wasm.engine());
        host::link(&mut linker).map_err(invalid)?;
        let instance = linker.instantiate_and_start(&mut store, &module.wasm);
        let instance = instance.map_err(|why| match exceeded(store.data_mut(), &why) {
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
        // A reactor has the one, and may have a `main` too; a command has the other.
        let initialize =
            Callback { name: "_initialize", function: export::<(), ()>(&store, &instance, "_initialize")? };
        let start = Callback { name: "_start", function: export::<(), ()>(&store, &instance, "_start")? };
        let main = Callback { name: "main", function: export::<(u32, u32), u32>(&store, &instance, "main")? };
        let main_void =
            Callback { name: "__main_void", function: export::<(), u32>(&store, &instance, "__main_void")? };
        let mut vm = Vm { store, callbacks, dead: None, last_context: 0 };
        let mut begin = || {
            if initialize.function.is_none() {
                return vm.call(0, |_| start, ()).map(|_| ());
            }
            vm.call(0, |_| initialize, ())?;
            if main.function.is_some() {
                return vm.call(0, |_| main, (0, 0)).map(|_| ());
            }
            vm.call(0, |_| main_void, ()).map(|_| ())
        };
        if let Err(Trap { callback, why }) = begin() {
            let limit = vm.state().exceeded;
            return Err(Error::Trapped { callback, why, limit, logs: vm.state_mut().take_logs() });
        }
        vm.state_mut().phase = Phase::Serving;
        Ok(vm)
    }

    /// Makes a callback in a context; `None` if the module doesn't export it.
    ///
    /// # Errors
    /// If it traps, or the VM is dead already.
    pub(crate) fn call<Params: WasmParams, Results: WasmResults>(
        &mut self,
        context: u32,
        callback: impl FnOnce(&Callbacks) -> Callback<Params, Results>,
        params: Params,
    ) -> Result<Option<Results>, Trap> {
        let Callback { name, function } = callback(&self.callbacks);
        if let Some(why) = &self.dead {
            return Err(Trap { callback: name, why: why.clone() });
        }
        let Some(function) = function else { return Ok(None) };
        let state = self.state_mut();
        (state.current, state.effective, state.stop) = (context, 0, false);
        state.memory_limiter.reset();
        refuel(&mut self.store);
        if let Some(calls) = self.state().calls {
            calls.set_height(&mut self.store, 0);
        }
        let called = function.call(&mut self.store, params).map_err(|why| trap(&mut self.store, name, &why));
        let ended = self.state_mut().allocator_trap.take().map_or(called, Err);
        if let Err(trap) = &ended {
            self.dead = Some(trap.why.clone());
        }
        ended.map(Some)
    }

    /// The id for a new context.
    pub(crate) fn next_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }

    /// Why the VM is dead, if it is.
    pub(crate) fn dead(&self) -> Option<&str> {
        self.dead.as_deref()
    }

    /// Whether any stream or connection is alive on it, or what came of one waits to be asked.
    pub(crate) fn has_streams(&self) -> bool {
        let is_root = |context: &Context| matches!(context, Context::Root(_));
        !self.state().contexts.values().all(is_root) || !self.state().closed.is_empty()
    }

    /// The size of the memory in bytes.
    pub(crate) fn memory_size(&self) -> usize {
        self.state().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    pub(crate) fn state(&self) -> &State {
        self.store.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }
}

// === impl Callbacks ===

impl Callbacks {
    fn of(store: &Store<State>, instance: &Instance, abi: AbiVersion) -> Result<Callbacks, Error> {
        fn callback<Params: WasmParams, Results: WasmResults>(
            store: &Store<State>,
            instance: &Instance,
            name: &'static str,
        ) -> Result<Callback<Params, Results>, Error> {
            Ok(Callback { name, function: export(store, instance, name)? })
        }
        // Which of the two kinds there is, the ABI says.
        let old = |name| if abi == AbiVersion::V0_1_0 { name } else { "" };
        let new = |name| if abi == AbiVersion::V0_1_0 { "" } else { name };
        Ok(Callbacks {
            context_create: callback(store, instance, "proxy_on_context_create")?,
            vm_start: callback(store, instance, "proxy_on_vm_start")?,
            configure: callback(store, instance, "proxy_on_configure")?,
            tick: callback(store, instance, "proxy_on_tick")?,
            request_headers: callback(store, instance, new("proxy_on_request_headers"))?,
            request_body: callback(store, instance, "proxy_on_request_body")?,
            request_trailers: callback(store, instance, "proxy_on_request_trailers")?,
            response_headers: callback(store, instance, new("proxy_on_response_headers"))?,
            response_body: callback(store, instance, "proxy_on_response_body")?,
            response_trailers: callback(store, instance, "proxy_on_response_trailers")?,
            request_headers_0_1: callback(store, instance, old("proxy_on_request_headers"))?,
            response_headers_0_1: callback(store, instance, old("proxy_on_response_headers"))?,
            new_connection: callback(store, instance, "proxy_on_new_connection")?,
            downstream_data: callback(store, instance, "proxy_on_downstream_data")?,
            upstream_data: callback(store, instance, "proxy_on_upstream_data")?,
            downstream_connection_close: callback(store, instance, "proxy_on_downstream_connection_close")?,
            upstream_connection_close: callback(store, instance, "proxy_on_upstream_connection_close")?,
            http_call_response: callback(store, instance, "proxy_on_http_call_response")?,
            grpc_receive_initial_metadata: callback(store, instance, "proxy_on_grpc_receive_initial_metadata")?,
            grpc_receive: callback(store, instance, "proxy_on_grpc_receive")?,
            grpc_receive_trailing_metadata: callback(store, instance, "proxy_on_grpc_receive_trailing_metadata")?,
            grpc_close: callback(store, instance, "proxy_on_grpc_close")?,
            queue_ready: callback(store, instance, "proxy_on_queue_ready")?,
            log: callback(store, instance, "proxy_on_log")?,
            done: callback(store, instance, "proxy_on_done")?,
            delete: callback(store, instance, "proxy_on_delete")?,
        })
    }
}

/// A trap while the host called a function, which it logs as Envoy does.
pub(crate) fn trap(mut store: impl AsContextMut<Data = State>, callback: &'static str, why: &wasmi::Error) -> Trap {
    let mut store = store.as_context_mut();
    let why = exceeded(store.data_mut(), why).map_or_else(|| backtrace::message(why), |limit| limit.to_string());
    let (functions, calls) = (Arc::clone(&store.data().functions), store.data().calls);
    let backtrace = calls.map(|calls| functions.backtrace(&store, calls)).unwrap_or_default();
    let message = format!("Function: {callback} failed: {why}{backtrace}");
    store.data_mut().log(LogLevel::Error, message);
    Trap { callback, why }
}

/// Returns the limit that caused a trap, if one did, and keeps it as what ended the VM.
fn exceeded(state: &mut State, why: &wasmi::Error) -> Option<Limit> {
    let cause = match (why.as_trap_code(), state.surroundings.fuel, state.surroundings.memory) {
        (Some(TrapCode::OutOfFuel), Some(fuel), _) => Some(Limit::Fuel(fuel)),
        (_, _, Some(bytes)) if state.memory_limiter.is_exceeded() => Some(Limit::Memory(bytes)),
        _ => None,
    };
    state.exceeded = state.exceeded().or(cause);
    state.exceeded
}

/// Each callback has as much to do as the last one had.
fn refuel(store: &mut Store<State>) {
    let fuel = store.data().surroundings.fuel.unwrap_or(u64::MAX);
    store.set_fuel(fuel).expect("the engine is one with fuel");
}

// === impl Callback ===

impl<Params, Results> Copy for Callback<Params, Results> {}
impl<Params, Results> Clone for Callback<Params, Results> {
    fn clone(&self) -> Self {
        *self
    }
}

/// An exported function; `None` if there is none of that name.
fn export<Params: WasmParams, Results: WasmResults>(
    store: &Store<State>,
    instance: &Instance,
    name: &'static str,
) -> Result<Option<TypedFunc<Params, Results>>, Error> {
    let Some(function) = instance.get_func(store, name) else { return Ok(None) };
    let function = function
        .typed(store)
        .map_err(|_| Error::Invalid(format!("its {name} is {:?}, not what the ABI says", function.ty(store))))?;
    Ok(Some(function))
}
