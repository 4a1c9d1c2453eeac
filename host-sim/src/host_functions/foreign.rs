//! Foreign functions: those that the test provides, and Envoy's `clear_route_cache`.

use super::guest::{Answer, Guest};
use crate::abi::Status;
use std::sync::Arc;

/// Calls a foreign function by name. The addresses for its results may be 0.
pub(super) fn proxy_call_foreign_function(
    guest: &mut Guest<'_>,
    name: u32,
    size: u32,
    arguments: u32,
    arguments_size: u32,
    results_at: u32,
    results_size_at: u32,
) -> Answer {
    let name = String::from_utf8_lossy(guest.read(name, size)?).into_owned();
    let arguments = guest.read(arguments, arguments_size)?.to_vec();
    let given = guest.state().config.foreign_functions.get(&name).map(Arc::clone);
    let called = match given {
        Some(function) => function(&arguments),
        None if name == "clear_route_cache" => {
            if let Some(stream) = guest.state_mut().stream_mut() {
                stream.route_cache_cleared = true;
            }
            Ok(Vec::new())
        }
        None => return Err(Status::NotFound.into()),
    };
    let results = called.as_deref().unwrap_or_default();
    if results_at != 0 {
        let address = if results.is_empty() { 0 } else { guest.allocate(results)? };
        guest.write(results_at, &address.to_le_bytes())?;
    }
    if results_size_at != 0 {
        guest.write_u32(results_size_at, results.len())?;
    }
    called.map(|_| ()).map_err(Into::into)
}
