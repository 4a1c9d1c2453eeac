//! WASI functions that Envoy provides, other than those of files and sockets.

use super::guest::{Answer, Guest, Stop};
use crate::abi::LogLevel;

const BAD_FILE: u32 = 8;
pub(super) const FAULT: u32 = 21;
const INVALID: u32 = 28;
const NO_ENTRY: u32 = 44;
const NOT_IMPLEMENTED: u32 = 52;
const NOT_SUPPORTED: u32 = 58;
/// Envoy's limit of `random_get`, in bytes.
const MAX_RANDOM: u32 = 64 << 10;

/// Checks that a descriptor is standard output or error.
pub(super) fn check_output(fd: u32) -> Answer {
    if matches!(fd, 1 | 2) { Ok(()) } else { Err(Stop::Status(BAD_FILE)) }
}

/// Logs standard output as info and standard error as error.
pub(super) fn fd_write(guest: &mut Guest<'_>, fd: u32, vectors: u32, count: u32, written_at: u32) -> Answer {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Err(Stop::Status(BAD_FILE)),
    };
    let size = count.checked_mul(8).ok_or(Stop::OutOfBounds)?;
    // The address of no vectors is not checked.
    let vectors = if size == 0 { &[] } else { guest.read(vectors, size)? };
    let mut written = Vec::new();
    for vector in vectors.chunks_exact(8) {
        let number = |at: usize| u32::from_le_bytes([vector[at], vector[at + 1], vector[at + 2], vector[at + 3]]);
        if number(4) > 0 {
            written.extend_from_slice(guest.read(number(0), number(4))?);
        }
    }
    if !written.is_empty() {
        let line = written.strip_suffix(b"\n").unwrap_or(&written);
        guest.state_mut().log_guest(level, line);
    }
    guest.write_u32(written_at, written.len())
}

/// Returns the simulator's time for both the real and the monotonic clock.
pub(super) fn clock_time_get(guest: &mut Guest<'_>, clock: u32, _precision: u64, time_at: u32) -> Answer {
    if clock > 1 {
        return Err(Stop::Status(NOT_SUPPORTED));
    }
    let now = guest.state().now;
    guest.write(time_at, &now.to_le_bytes())
}

/// Returns a resolution of 1 ns.
pub(super) fn clock_res_get(guest: &mut Guest<'_>, clock: u32, resolution_at: u32) -> Answer {
    if clock > 1 {
        return Err(Stop::Status(NOT_SUPPORTED));
    }
    guest.write(resolution_at, &1_u64.to_le_bytes())
}

/// Returns random bytes. The simulator's seed determines them.
pub(super) fn random_get(guest: &mut Guest<'_>, bytes: u32, size: u32) -> Answer {
    if size > MAX_RANDOM {
        return Err(Stop::Status(INVALID));
    }
    // The address of no bytes is not checked.
    if size == 0 {
        return Ok(());
    }
    let mut random = vec![0; size as usize];
    guest.state_mut().random.fill(&mut random);
    guest.write(bytes, &random)
}

pub(super) fn environ_get(guest: &mut Guest<'_>, mut pointers: u32, mut bytes: u32) -> Answer {
    let config = guest.state().config.clone();
    for (name, value) in &config.environment {
        let variable = format!("{name}={value}\0");
        guest.write(pointers, &bytes.to_le_bytes())?;
        guest.write(bytes, variable.as_bytes())?;
        // The writes succeeded, so both addresses are within 4 GiB: they wrap at most to 0.
        pointers = pointers.wrapping_add(4);
        bytes = bytes.wrapping_add(variable.len() as u32);
    }
    Ok(())
}

pub(super) fn environ_sizes_get(guest: &mut Guest<'_>, count_at: u32, size_at: u32) -> Answer {
    let environment = &guest.state().config.environment;
    let (count, size) = (environment.len(), environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
    guest.write_u32(count_at, count)?;
    guest.write_u32(size_at, size)
}

/// Succeeds: there are no arguments.
pub(super) fn args_get(_guest: &mut Guest<'_>, _pointers: u32, _bytes: u32) -> Answer {
    Ok(())
}

/// Returns zero arguments.
pub(super) fn args_sizes_get(guest: &mut Guest<'_>, count_at: u32, size_at: u32) -> Answer {
    guest.write_u32(count_at, 0)?;
    guest.write_u32(size_at, 0)
}

/// Reports standard output and error as writable.
pub(super) fn fd_fdstat_get(guest: &mut Guest<'_>, fd: u32, stat_at: u32) -> Answer {
    check_output(fd)?;
    let mut stat = [0; 24];
    // The right to write is bit 6 of the rights.
    stat[8] = 64;
    // Envoy ignores an address outside of memory.
    _ = guest.write(stat_at, &stat);
    Ok(())
}

/// Fails: files cannot be read.
pub(super) fn fd_read(_guest: &mut Guest<'_>, _fd: u32, _vectors: u32, _count: u32, _read_at: u32) -> Answer {
    Err(Stop::Status(NOT_IMPLEMENTED))
}

/// Succeeds without an effect.
pub(super) fn fd_seek(_guest: &mut Guest<'_>, _fd: u32, _offset: i64, _whence: u32, _offset_at: u32) -> Answer {
    Ok(())
}

/// Succeeds without an effect.
pub(super) fn fd_close(_guest: &mut Guest<'_>, _fd: u32) -> Answer {
    Ok(())
}

pub(super) fn fd_fdstat_set_flags(_guest: &mut Guest<'_>, _fd: u32, _flags: u32) -> Answer {
    Err(Stop::Status(NOT_IMPLEMENTED))
}

pub(super) fn fd_prestat_get(_guest: &mut Guest<'_>, _fd: u32, _stat_at: u32) -> Answer {
    Err(Stop::Status(BAD_FILE))
}

pub(super) fn fd_prestat_dir_name(_guest: &mut Guest<'_>, _fd: u32, _path: u32, _size: u32) -> Answer {
    Err(Stop::Status(NOT_IMPLEMENTED))
}

pub(super) fn fd_filestat_get(_guest: &mut Guest<'_>, _fd: u32, _stat_at: u32) -> Answer {
    Err(Stop::Status(BAD_FILE))
}

/// Fails: there are no files.
#[allow(clippy::too_many_arguments)] // WASI defines the parameters.
pub(super) fn path_open(
    _guest: &mut Guest<'_>,
    _fd: u32,
    _lookup: u32,
    _path: u32,
    _size: u32,
    _open: u32,
    _rights: i64,
    _inherited: i64,
    _flags: u32,
    _fd_at: u32,
) -> Answer {
    Err(Stop::Status(NO_ENTRY))
}

pub(super) fn path_filestat_get(
    _guest: &mut Guest<'_>,
    _fd: u32,
    _flags: u32,
    _path: u32,
    _size: u32,
    _stat_at: u32,
) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

/// Returns no events.
pub(super) fn poll_oneoff(guest: &mut Guest<'_>, _in: u32, _out: u32, _count: u32, events_at: u32) -> Answer {
    guest.write_u32(events_at, 0)
}

/// Succeeds without an effect: there are no threads.
pub(super) fn sched_yield(_guest: &mut Guest<'_>) -> Answer {
    Ok(())
}

/// Returns to the guest, where compilers put a trap after the call.
pub(super) fn proc_exit(_guest: &mut Guest<'_>, _code: u32) {}
