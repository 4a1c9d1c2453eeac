//! The reasons of traps: which limit caused one, and the log message about it.

use super::callback::Trap;
use super::limit::Limit;
use super::vm_state::State;
use crate::abi::LogLevel;
use crate::backtrace;
use std::sync::Arc;
use wasmi::{AsContextMut, TrapCode};

/// Logs a trap as Envoy does, with a backtrace. Returns the trap.
pub(crate) fn log_trap(mut store: impl AsContextMut<Data = State>, callback: &'static str, why: &wasmi::Error) -> Trap {
    let mut store = store.as_context_mut();
    let why = exceeded_limit(store.data_mut(), why).map_or_else(|| backtrace::message(why), |limit| limit.to_string());
    let (functions, calls) = (Arc::clone(&store.data().functions), store.data().calls);
    let backtrace = calls.map(|calls| functions.backtrace(&store, calls)).unwrap_or_default();
    let message = format!("Function: {callback} failed: {why}{backtrace}");
    store.data_mut().log(LogLevel::Error, message);
    Trap { callback, why }
}

/// Returns the limit that caused an error, if one did, and records it as the reason why the VM ended.
pub(crate) fn exceeded_limit(state: &mut State, why: &wasmi::Error) -> Option<Limit> {
    let cause = match (why.as_trap_code(), state.config.fuel, state.config.memory) {
        (Some(TrapCode::OutOfFuel), Some(fuel), _) => Some(Limit::Fuel(fuel)),
        (_, _, Some(bytes)) if state.memory_limiter.is_exceeded() => Some(Limit::Memory(bytes)),
        _ => None,
    };
    state.exceeded = state.exceeded().or(cause);
    state.exceeded
}
