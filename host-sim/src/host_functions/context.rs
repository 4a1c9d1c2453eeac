//! Contexts: the effective context, the end of root contexts, ticks, and the status of callouts.

use super::guest::{Answer, Guest};
use crate::abi::Status;
use crate::state::context::{Context, Tick};
use crate::state::deferred::Deferred;
use crate::state::time::nanoseconds;
use std::time::Duration;

/// Makes host functions act on another context until the callback returns. 0 restores the callback's own context.
pub(super) fn proxy_set_effective_context(guest: &mut Guest<'_>, context: u32) -> Answer {
    let state = guest.state_mut();
    if context != 0 && !state.contexts.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    state.effective = context;
    Ok(())
}

/// Ends a root context whose `on_done` returned false.
pub(super) fn proxy_done(guest: &mut Guest<'_>) -> Answer {
    let state = guest.state_mut();
    let id = state.context_id();
    match state.contexts.get_mut(&id) {
        Some(Context::Root(root)) if root.waits_for_done => {
            root.waits_for_done = false;
            state.deferred.push_back(Deferred::Delete(id));
            Ok(())
        }
        _ => Err(Status::NotFound.into()),
    }
}

/// Sets the period of the root context's tick. 0 stops the tick.
pub(super) fn proxy_set_tick_period_milliseconds(guest: &mut Guest<'_>, milliseconds: u32) -> Answer {
    let state = guest.state_mut();
    let (now, period) = (state.now, Duration::from_millis(u64::from(milliseconds)));
    if let Some(root) = state.root_mut() {
        root.tick = (milliseconds > 0).then(|| Tick { period, next: now.saturating_add(nanoseconds(period)) });
    }
    Ok(())
}

/// Returns the status and message with which the last callout ended.
pub(super) fn proxy_get_status(guest: &mut Guest<'_>, code_at: u32, message_at: u32, size_at: u32) -> Answer {
    let (code, message) = guest.state().root().map(|root| root.status.clone()).unwrap_or_default();
    guest.write(code_at, &code.to_le_bytes())?;
    guest.give(message.as_bytes(), message_at, size_at)
}

/// Returns the plugin configuration in the callbacks that may read it, else the VM configuration (ABI 0.1.0).
pub(super) fn proxy_get_configuration(guest: &mut Guest<'_>, configuration_at: u32, size_at: u32) -> Answer {
    let state = guest.state();
    let configuration = match &state.plugin_configuration {
        Some(configuration) => configuration.to_vec(),
        None => state.config.vm_configuration.clone(),
    };
    guest.give(&configuration, configuration_at, size_at)
}
