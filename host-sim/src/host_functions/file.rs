//! WASI's files and sockets. Only standard output and error exist: operations without an effect succeed on them, and all
//! others fail with Envoy's status.

use super::guest::{Answer, Guest, Stop};
use super::wasi;

const NOT_A_DIRECTORY: u32 = 20;
const NOT_IMPLEMENTED: u32 = 52;
const NOT_SUPPORTED: u32 = 58;

/// Succeeds for any descriptor: the call is only a hint.
pub(super) fn fd_advise(_guest: &mut Guest<'_>, _fd: u32, _offset: u64, _length: u64, _advice: u32) -> Answer {
    Ok(())
}

pub(super) fn fd_allocate(_guest: &mut Guest<'_>, fd: u32, _offset: u64, _length: u64) -> Answer {
    wasi::check_output(fd)
}

pub(super) fn fd_datasync(_guest: &mut Guest<'_>, fd: u32) -> Answer {
    wasi::check_output(fd)
}

pub(super) fn fd_fdstat_set_rights(_guest: &mut Guest<'_>, fd: u32, _base: u64, _inheriting: u64) -> Answer {
    wasi::check_output(fd)
}

pub(super) fn fd_filestat_set_size(_guest: &mut Guest<'_>, fd: u32, _size: u64) -> Answer {
    wasi::check_output(fd)
}

pub(super) fn fd_filestat_set_times(_guest: &mut Guest<'_>, fd: u32, _read: u64, _written: u64, _flags: u32) -> Answer {
    wasi::check_output(fd)
}

pub(super) fn fd_sync(_guest: &mut Guest<'_>, fd: u32) -> Answer {
    wasi::check_output(fd)
}

pub(super) fn fd_pread(
    _guest: &mut Guest<'_>,
    _fd: u32,
    _vectors: u32,
    _count: u32,
    _offset: u64,
    _read_at: u32,
) -> Answer {
    Err(Stop::Status(NOT_IMPLEMENTED))
}

/// Writes as `fd_write`, at any offset.
pub(super) fn fd_pwrite(
    guest: &mut Guest<'_>,
    fd: u32,
    vectors: u32,
    count: u32,
    _offset: u64,
    written_at: u32,
) -> Answer {
    wasi::fd_write(guest, fd, vectors, count, written_at)
}

/// Fails: there are no directories.
pub(super) fn fd_readdir(
    guest: &mut Guest<'_>,
    _fd: u32,
    _bytes: u32,
    _size: u32,
    _cookie: u64,
    read_at: u32,
) -> Answer {
    guest.write_u32(read_at, 0)?;
    Err(Stop::Status(NOT_A_DIRECTORY))
}

pub(super) fn fd_renumber(_guest: &mut Guest<'_>, fd: u32, to: u32) -> Answer {
    wasi::check_output(fd)?;
    wasi::check_output(to)?;
    Err(Stop::Status(NOT_SUPPORTED))
}

/// Returns 0.
pub(super) fn fd_tell(guest: &mut Guest<'_>, fd: u32, position_at: u32) -> Answer {
    wasi::check_output(fd)?;
    guest.write(position_at, &[0; 8])
}

pub(super) fn path_create_directory(_guest: &mut Guest<'_>, _fd: u32, _path: u32, _size: u32) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

#[allow(clippy::too_many_arguments)] // WASI defines the parameters.
pub(super) fn path_filestat_set_times(
    _guest: &mut Guest<'_>,
    _fd: u32,
    _lookup: u32,
    _path: u32,
    _size: u32,
    _read: u64,
    _written: u64,
    _flags: u32,
) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

/// Envoy's function lacks the size of the new path: a module that imports WASI's own function does not load.
#[allow(clippy::too_many_arguments)] // WASI defines the parameters.
pub(super) fn path_link(
    _guest: &mut Guest<'_>,
    _from_fd: u32,
    _lookup: u32,
    _from: u32,
    _from_size: u32,
    _to_fd: u32,
    _to: u32,
) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

pub(super) fn path_readlink(
    guest: &mut Guest<'_>,
    _fd: u32,
    _path: u32,
    _size: u32,
    _bytes: u32,
    _bytes_size: u32,
    read_at: u32,
) -> Answer {
    guest.write_u32(read_at, 0)?;
    Err(Stop::Status(NOT_SUPPORTED))
}

pub(super) fn path_remove_directory(_guest: &mut Guest<'_>, _fd: u32, _path: u32, _size: u32) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

pub(super) fn path_rename(
    _guest: &mut Guest<'_>,
    _from_fd: u32,
    _from: u32,
    _from_size: u32,
    _to_fd: u32,
    _to: u32,
    _to_size: u32,
) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

/// Envoy's function lacks the size of the new path: a module that imports WASI's own function does not load.
pub(super) fn path_symlink(_guest: &mut Guest<'_>, _from: u32, _from_size: u32, _fd: u32, _to: u32) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

pub(super) fn path_unlink_file(_guest: &mut Guest<'_>, _fd: u32, _path: u32, _size: u32) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}

/// Writes 8 bytes, as Envoy does. WASI defines 4.
pub(super) fn sock_accept(guest: &mut Guest<'_>, _fd: u32, _flags: u32, accepted_at: u32) -> Answer {
    guest.write(accepted_at, &[0; 8])?;
    Err(Stop::Status(NOT_SUPPORTED))
}

pub(super) fn sock_recv(
    guest: &mut Guest<'_>,
    _fd: u32,
    _vectors: u32,
    _count: u32,
    _flags: u32,
    size_at: u32,
    flags_at: u32,
) -> Answer {
    guest.write_u32(size_at, 0)?;
    guest.write(flags_at, &[0; 2])?;
    Err(Stop::Status(NOT_SUPPORTED))
}

pub(super) fn sock_send(
    guest: &mut Guest<'_>,
    _fd: u32,
    _vectors: u32,
    _count: u32,
    _flags: u32,
    size_at: u32,
) -> Answer {
    guest.write_u32(size_at, 0)?;
    Err(Stop::Status(NOT_SUPPORTED))
}

pub(super) fn sock_shutdown(_guest: &mut Guest<'_>, _fd: u32, _how: u32) -> Answer {
    Err(Stop::Status(NOT_SUPPORTED))
}
