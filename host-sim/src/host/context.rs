//! Contexts: acting for another one, and their end. Time that comes to root contexts by itself.

use super::{Answer, Guest};
use crate::abi::Status;
use crate::state::{After, Context, Tick};
use std::time::Duration;

/// Until the callback is over, host functions act for this context; 0 is for the one whose callback it is.
pub(super) fn proxy_set_effective_context(guest: &mut Guest<'_>, context: u32) -> Answer {
    let state = guest.state_mut();
    if context != 0 && !state.contexts.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    state.effective = context;
    Ok(())
}

/// A root context whose `on_done` answered false is done now.
pub(super) fn proxy_done(guest: &mut Guest<'_>) -> Answer {
    let state = guest.state_mut();
    let id = state.context();
    match state.contexts.get_mut(&id) {
        Some(Context::Root(root)) if root.waits_for_done => {
            root.waits_for_done = false;
            state.after.push_back(After::Done(id));
            Ok(())
        }
        _ => Err(Status::NotFound.into()),
    }
}

/// From now on `on_tick` comes to the root context each time this many milliseconds have passed; 0 ends that.
pub(super) fn proxy_set_tick_period_milliseconds(guest: &mut Guest<'_>, milliseconds: u32) -> Answer {
    let state = guest.state_mut();
    let (now, period) = (state.now, Duration::from_millis(u64::from(milliseconds)));
    if let Some(root) = state.root_mut() {
        root.tick = (milliseconds > 0).then(|| Tick { period, next: now.saturating_add(nanoseconds(period)) });
    }
    Ok(())
}

/// How the last callout ended, while its callback runs.
pub(super) fn proxy_get_status(guest: &mut Guest<'_>, code_at: u32, message_at: u32, size_at: u32) -> Answer {
    let (code, message) = guest.state().root().map(|root| root.status.clone()).unwrap_or_default();
    guest.write(code_at, &code.to_le_bytes())?;
    guest.give(message.as_bytes(), message_at, size_at)
}

/// ABI 0.1.0's: the plugin's configuration while it is given one, else the VM's.
pub(super) fn proxy_get_configuration(guest: &mut Guest<'_>, configuration_at: u32, size_at: u32) -> Answer {
    let state = guest.state();
    let configuration = match &state.plugin_configuration {
        Some(configuration) => configuration.to_vec(),
        None => state.surroundings.vm_configuration.clone(),
    };
    guest.give(&configuration, configuration_at, size_at)
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
