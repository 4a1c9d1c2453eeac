//! The guest during a host function: its memory, the host's state, and the functions that are allowed.

use crate::abi::{Status, encode_size};
use crate::state::callback::Callback;
use crate::state::trap_report::log_trap;
use crate::state::vm_state::{Phase, State};
use wasmi::{AsContext, AsContextMut, Caller, Memory};

/// The result of a host function: status 0, or the reason for another one.
pub(crate) type Answer = Result<(), Stop>;

/// The reason why a host function did not succeed.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The function returns this status.
    Status(u32),
    /// An address is outside the guest's memory. The status depends on the family of the function.
    OutOfBounds,
}

/// The guest during a host function.
pub(crate) struct Guest<'a>(Caller<'a, State>);

/// Host functions that Envoy allows while the guest allocates. The time functions are among them because some garbage
/// collectors sleep.
const ALLOWED_WHILE_ALLOCATING: [&str; 4] = ["proxy_log", "fd_write", "clock_time_get", "poll_oneoff"];

/// Whether a host function is allowed during `_initialize`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Always,
    AfterInitialize,
}

// === impl Guest ===

impl<'a> Guest<'a> {
    pub(super) fn new(caller: Caller<'a, State>) -> Guest<'a> {
        Guest(caller)
    }

    pub(crate) fn state(&self) -> &State {
        self.0.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.0.data_mut()
    }

    /// Checks that a host function is allowed in the guest's phase.
    ///
    /// # Errors
    /// A trap, as in Envoy, which calls this a restricted callback.
    pub(super) fn check_allowed(&self, name: &str, allowed: Allowed) -> Result<(), wasmi::Error> {
        let phase = match self.state().phase {
            Phase::Initializing if allowed == Allowed::AfterInitialize => "_initialize",
            Phase::Allocating if !ALLOWED_WHILE_ALLOCATING.contains(&name) => "an allocation",
            Phase::Initializing | Phase::Allocating | Phase::Serving => return Ok(()),
        };
        Err(wasmi::Error::new(format!("restricted_callback: {name} is not allowed during {phase}")))
    }

    /// Returns bytes of the guest's memory.
    pub(crate) fn read(&self, at: u32, size: u32) -> Result<&[u8], Stop> {
        let (at, size) = (at as usize, size as usize);
        self.state().count_host_bytes(size);
        self.memory()?.data(self.0.as_context()).get(at..at + size).ok_or(Stop::OutOfBounds)
    }

    /// Writes bytes into the guest's memory.
    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Answer {
        let memory = self.memory()?;
        memory.write(self.0.as_context_mut(), at as usize, bytes).map_err(|_| Stop::OutOfBounds)
    }

    /// Writes a 4-byte number into the guest's memory.
    pub(crate) fn write_u32(&mut self, at: u32, number: usize) -> Answer {
        self.write(at, &encode_size(number).to_le_bytes())
    }

    /// Copies bytes into memory of the guest's allocator, and writes their address and size to the given addresses. The
    /// address of no bytes is 0.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u32, size_at: u32) -> Answer {
        let address = if bytes.is_empty() { 0 } else { self.allocate(bytes)? };
        self.write(address_at, &address.to_le_bytes())?;
        self.write_u32(size_at, bytes.len())
    }

    /// Copies bytes into memory of the guest's allocator. Returns their address.
    ///
    /// # Errors
    /// [`Stop::OutOfBounds`] if the allocator fails. If it traps, the callback continues and the VM ends after it, as in
    /// Envoy.
    pub(crate) fn allocate(&mut self, bytes: &[u8]) -> Result<u32, Stop> {
        let size = u32::try_from(bytes.len()).map_err(|_| Stop::OutOfBounds)?;
        let state = self.state_mut();
        let Some(Callback { name, function: Some(allocate) }) = state.allocate else { return Err(Stop::OutOfBounds) };
        let (phase, calls) = (std::mem::replace(&mut state.phase, Phase::Allocating), state.calls);
        let height = calls.map(|calls| calls.height(&self.0)).unwrap_or_default();
        let allocated = allocate.call(&mut self.0, size).map_err(|why| log_trap(&mut self.0, name, &why));
        if let Some(calls) = calls {
            calls.set_height(&mut self.0, height);
        }
        self.state_mut().phase = phase;
        let address = match allocated {
            Ok(0) => return Err(Stop::OutOfBounds),
            Ok(address) => address,
            Err(trap) => {
                self.state_mut().allocator_trap.get_or_insert(trap);
                return Err(Stop::OutOfBounds);
            }
        };
        self.write(address, bytes)?;
        Ok(address)
    }

    fn memory(&self) -> Result<Memory, Stop> {
        self.state().memory.ok_or(Stop::OutOfBounds)
    }
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Stop::Status(status as u32)
    }
}
