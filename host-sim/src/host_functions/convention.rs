//! Calling conventions of host functions: when a function is allowed, and how its Rust result becomes the ABI's result.

use super::guest::{Allowed, Answer, Guest, Stop};
use super::wasi;
use crate::abi::Status;

/// A Proxy-Wasm function that is allowed during `_initialize`.
pub(super) fn early(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    call_with_status(guest, name, Allowed::Always, Status::InvalidMemoryAccess as u32, call)
}

/// A Proxy-Wasm function that is not allowed during `_initialize`.
pub(super) fn later(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    call_with_status(guest, name, Allowed::AfterInitialize, Status::InvalidMemoryAccess as u32, call)
}

/// A WASI function that is allowed during `_initialize`.
pub(super) fn wasi_early(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    call_with_status(guest, name, Allowed::Always, wasi::FAULT, call)
}

/// A WASI function that is not allowed during `_initialize`.
pub(super) fn wasi_later(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    call_with_status(guest, name, Allowed::AfterInitialize, wasi::FAULT, call)
}

/// A function that returns a number instead of a status, and is not allowed during `_initialize`. An injected fault
/// replaces the number.
pub(super) fn later_number(
    mut guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> u32,
) -> Result<u32, wasmi::Error> {
    guest.check_allowed(name, Allowed::AfterInitialize)?;
    Ok(guest.state_mut().faults.next(name).unwrap_or_else(|| call(&mut guest)))
}

/// A function without a result that is not allowed during `_initialize`.
pub(super) fn later_without_result(
    mut guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>),
) -> Result<(), wasmi::Error> {
    guest.check_allowed(name, Allowed::AfterInitialize)?;
    call(&mut guest);
    Ok(())
}

/// A function without a result that is allowed during `_initialize`.
pub(super) fn early_without_result(
    mut guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>),
) -> Result<(), wasmi::Error> {
    guest.check_allowed(name, Allowed::Always)?;
    call(&mut guest);
    Ok(())
}

/// Calls a function, unless a fault is injected for it. Returns its status, or a trap if the guest exceeded a limit.
fn call_with_status(
    mut guest: Guest<'_>,
    name: &'static str,
    allowed: Allowed,
    out_of_bounds: u32,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    guest.check_allowed(name, allowed)?;
    let status = match guest.state_mut().faults.next(name) {
        Some(status) => status,
        None => match call(&mut guest) {
            Ok(()) => Status::Ok as u32,
            Err(Stop::Status(status)) => status,
            Err(Stop::OutOfBounds) => out_of_bounds,
        },
    };
    match guest.state_mut().exceeded() {
        Some(limit) => Err(wasmi::Error::new(limit.to_string())),
        None => Ok(status),
    }
}
