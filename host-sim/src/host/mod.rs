//! The host functions, one file per family. Each answers as Envoy does: arguments first, then memory, then what is
//! there.

pub(crate) mod buffer;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod emscripten;
pub(crate) mod file;
pub(crate) mod foreign;
pub(crate) mod grpc;
pub(crate) mod header_map;
pub(crate) mod http_call;
pub(crate) mod local_response;
pub(crate) mod log;
pub(crate) mod metric;
pub(crate) mod property;
pub(crate) mod shared_data;
pub(crate) mod shared_queue;
pub(crate) mod stream;
pub(crate) mod wasi;

use crate::abi::{AbiVersion, Status};
use crate::state::{Phase, State};
use crate::vm::{self, Callback};
use wasmi::{AsContext, AsContextMut, Caller, Linker, Memory};

/// What a host function comes to: 0, or why not.
pub(crate) type Answer = Result<(), Stop>;

/// Why a host function didn't do it.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The guest is told so.
    Status(u32),
    /// The guest named memory that it doesn't have, and is told so in the family's way.
    OutOfBounds,
}

/// The guest during a host function.
pub(crate) struct Guest<'a>(Caller<'a, State>);

/// Defines [`link`] and [`SERVED`] from the one list of host functions.
macro_rules! host_functions {
    ($( $module:literal as $convention:ident { $( $family:ident::$function:ident($( $name:ident: $type:ty ),*); )* } )*) => {
        /// Every host function: its module and name.
        pub(crate) const SERVED: &[(&str, &str)] = &[$( $( ($module, stringify!($function)), )* )*];

        /// Gives all host functions to a linker.
        pub(crate) fn link(linker: &mut Linker<State>) -> Result<(), wasmi::Error> {
            $( $(
                linker.func_wrap($module, stringify!($function), |caller: Caller<'_, State>, $( $name: $type ),*| {
                    $convention(Guest(caller), stringify!($function), |guest| $family::$function(guest, $( $name ),*))
                })?;
            )* )*
            // Older modules know WASI by its older name.
            linker.alias_module("wasi_snapshot_preview1", "wasi_unstable")?;
            Ok(())
        }
    };
}

host_functions! {
    "env" as early {
        log::proxy_log(level: u32, message: u32, size: u32);
    }
    "env" as later {
        log::proxy_get_log_level(level_at: u32);
        context::proxy_set_effective_context(context: u32);
        context::proxy_done();
        context::proxy_set_tick_period_milliseconds(milliseconds: u32);
        context::proxy_get_status(code_at: u32, message_at: u32, size_at: u32);
        context::proxy_get_configuration(configuration_at: u32, size_at: u32);
        stream::proxy_continue_stream(stream: u32);
        stream::proxy_close_stream(stream: u32);
        stream::proxy_continue_request();
        stream::proxy_continue_response();
        stream::proxy_clear_route_cache();
        foreign::proxy_call_foreign_function(
            name: u32, size: u32, arguments: u32, arguments_size: u32, results_at: u32, results_size_at: u32
        );
        shared_data::proxy_get_shared_data(key: u32, size: u32, value_at: u32, size_at: u32, cas_at: u32);
        shared_data::proxy_set_shared_data(key: u32, size: u32, value: u32, value_size: u32, cas: u32);
        shared_queue::proxy_register_shared_queue(name: u32, size: u32, token_at: u32);
        shared_queue::proxy_resolve_shared_queue(vm_id: u32, vm_id_size: u32, name: u32, size: u32, token_at: u32);
        shared_queue::proxy_enqueue_shared_queue(token: u32, item: u32, size: u32);
        shared_queue::proxy_dequeue_shared_queue(token: u32, item_at: u32, size_at: u32);
        http_call::proxy_http_call(
            cluster: u32, cluster_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32, trailers: u32,
            trailers_size: u32, timeout: u32, token_at: u32
        );
        grpc::proxy_grpc_call(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32,
            metadata: u32, metadata_size: u32, message: u32, message_size: u32, timeout: u32, token_at: u32
        );
        grpc::proxy_grpc_stream(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32,
            metadata: u32, metadata_size: u32, token_at: u32
        );
        grpc::proxy_grpc_send(token: u32, message: u32, size: u32, end: u32);
        grpc::proxy_grpc_close(token: u32);
        grpc::proxy_grpc_cancel(token: u32);
        property::proxy_set_property(path: u32, size: u32, value: u32, value_size: u32);
        clock::proxy_get_current_time_nanoseconds(time_at: u32);
        property::proxy_get_property(path: u32, size: u32, value_at: u32, size_at: u32);
        header_map::proxy_get_header_map_value(map: u32, name: u32, size: u32, value_at: u32, size_at: u32);
        header_map::proxy_get_header_map_pairs(map: u32, pairs_at: u32, size_at: u32);
        header_map::proxy_get_header_map_size(map: u32, size_at: u32);
        header_map::proxy_set_header_map_pairs(map: u32, pairs: u32, size: u32);
        header_map::proxy_add_header_map_value(map: u32, name: u32, size: u32, value: u32, value_size: u32);
        header_map::proxy_replace_header_map_value(map: u32, name: u32, size: u32, value: u32, value_size: u32);
        header_map::proxy_remove_header_map_value(map: u32, name: u32, size: u32);
        buffer::proxy_get_buffer_bytes(buffer: u32, start: u32, size: u32, bytes_at: u32, size_at: u32);
        buffer::proxy_get_buffer_status(buffer: u32, size_at: u32, flags_at: u32);
        buffer::proxy_set_buffer_bytes(buffer: u32, start: u32, size: u32, bytes: u32, bytes_size: u32);
        metric::proxy_define_metric(kind: u32, name: u32, size: u32, id_at: u32);
        metric::proxy_increment_metric(id: u32, offset: i64);
        metric::proxy_record_metric(id: u32, value: u64);
        metric::proxy_get_metric(id: u32, value_at: u32);
        local_response::proxy_send_local_response(
            status: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32, headers_size: u32,
            grpc_status: u32
        );
    }
    "wasi_snapshot_preview1" as wasi_errno {
        wasi::fd_write(fd: u32, vectors: u32, count: u32, written_at: u32);
        wasi::clock_res_get(clock: u32, resolution_at: u32);
        wasi::fd_fdstat_get(fd: u32, stat_at: u32);
        wasi::fd_fdstat_set_flags(fd: u32, flags: u32);
        wasi::fd_prestat_get(fd: u32, stat_at: u32);
        wasi::fd_prestat_dir_name(fd: u32, path: u32, size: u32);
        wasi::fd_filestat_get(fd: u32, stat_at: u32);
        wasi::path_filestat_get(fd: u32, flags: u32, path: u32, size: u32, stat_at: u32);
        wasi::poll_oneoff(input: u32, output: u32, count: u32, events_at: u32);
        wasi::clock_time_get(clock: u32, precision: u64, time_at: u32);
        wasi::random_get(bytes: u32, size: u32);
        wasi::environ_get(pointers: u32, bytes: u32);
        wasi::environ_sizes_get(count_at: u32, size_at: u32);
        wasi::args_get(pointers: u32, bytes: u32);
        wasi::args_sizes_get(count_at: u32, size_at: u32);
        file::fd_advise(fd: u32, offset: u64, length: u64, advice: u32);
        file::fd_allocate(fd: u32, offset: u64, length: u64);
        file::fd_datasync(fd: u32);
        file::fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        file::fd_filestat_set_size(fd: u32, size: u64);
        file::fd_filestat_set_times(fd: u32, read: u64, written: u64, flags: u32);
        file::fd_sync(fd: u32);
        file::fd_pread(fd: u32, vectors: u32, count: u32, offset: u64, read_at: u32);
        file::fd_pwrite(fd: u32, vectors: u32, count: u32, offset: u64, written_at: u32);
        file::fd_readdir(fd: u32, bytes: u32, size: u32, cookie: u64, read_at: u32);
        file::fd_renumber(fd: u32, to: u32);
        file::fd_tell(fd: u32, position_at: u32);
        file::path_create_directory(fd: u32, path: u32, size: u32);
        file::path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, size: u32, read: u64, written: u64, flags: u32
        );
        file::path_link(from_fd: u32, lookup: u32, from: u32, from_size: u32, to_fd: u32, to: u32);
        file::path_readlink(fd: u32, path: u32, size: u32, bytes: u32, bytes_size: u32, read_at: u32);
        file::path_remove_directory(fd: u32, path: u32, size: u32);
        file::path_rename(from_fd: u32, from: u32, from_size: u32, to_fd: u32, to: u32, to_size: u32);
        file::path_symlink(from: u32, from_size: u32, fd: u32, to: u32);
        file::path_unlink_file(fd: u32, path: u32, size: u32);
        file::sock_accept(fd: u32, flags: u32, accepted_at: u32);
        file::sock_recv(fd: u32, vectors: u32, count: u32, flags: u32, size_at: u32, flags_at: u32);
        file::sock_send(fd: u32, vectors: u32, count: u32, flags: u32, size_at: u32);
        file::sock_shutdown(fd: u32, how: u32);
    }
    "wasi_snapshot_preview1" as wasi_later {
        wasi::fd_read(fd: u32, vectors: u32, count: u32, read_at: u32);
        wasi::fd_seek(fd: u32, offset: i64, whence: u32, offset_at: u32);
        wasi::fd_close(fd: u32);
        wasi::path_open(
            fd: u32, lookup: u32, path: u32, size: u32, open: u32, rights: i64, inherited: i64, flags: u32, fd_at: u32
        );
        wasi::sched_yield();
    }
    "wasi_snapshot_preview1" as exit {
        wasi::proc_exit(code: u32);
    }
    "env" as number {
        emscripten::pthread_equal(left: u32, right: u32);
    }
    "env" as notice {
        emscripten::emscripten_notify_memory_growth(memory: u32);
    }
}

/// Whether Envoy gives a module of this ABI a host function of this module and name.
pub(crate) fn serves(abi: AbiVersion, module: &str, name: &str) -> bool {
    let module = if module == "wasi_unstable" { "wasi_snapshot_preview1" } else { module };
    let is_of_abi = match name {
        "proxy_get_configuration"
        | "proxy_continue_request"
        | "proxy_continue_response"
        | "proxy_clear_route_cache" => abi == AbiVersion::V0_1_0,
        "proxy_continue_stream" | "proxy_close_stream" => abi >= AbiVersion::V0_2_0,
        "proxy_get_log_level" => abi >= AbiVersion::V0_2_1,
        _ => true,
    };
    is_of_abi && SERVED.contains(&(module, name))
}

/// What works while the guest allocates, in Envoy: time, as the garbage collectors of some languages sleep then.
const WHILE_ALLOCATING: [&str; 4] = ["proxy_log", "fd_write", "clock_time_get", "poll_oneoff"];

/// Which functions work while the guest initializes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Works {
    Early,
    Later,
}

/// What a function answers: what it is made to, or else what it comes to.
fn answered(
    mut guest: Guest<'_>,
    name: &'static str,
    works: Works,
    out_of_bounds: u32,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    guest.check_allowed(name, works)?;
    let answer = match guest.state_mut().fault(name) {
        Some(status) => status,
        None => status(call(&mut guest), out_of_bounds),
    };
    match guest.state_mut().exceeded() {
        Some(limit) => Err(wasmi::Error::new(limit.to_string())),
        None => Ok(answer),
    }
}

/// Proxy-Wasm functions that work during `_initialize` too.
fn early(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    answered(guest, name, Works::Early, Status::InvalidMemoryAccess as u32, call)
}

/// Proxy-Wasm functions that don't work during `_initialize`.
fn later(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    answered(guest, name, Works::Later, Status::InvalidMemoryAccess as u32, call)
}

/// WASI's functions.
fn wasi_errno(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    answered(guest, name, Works::Early, wasi::FAULT, call)
}

/// WASI's functions that don't work during `_initialize`.
fn wasi_later(
    guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> Result<u32, wasmi::Error> {
    answered(guest, name, Works::Later, wasi::FAULT, call)
}

/// A function that answers with a number, not with a status.
fn number(
    mut guest: Guest<'_>,
    name: &'static str,
    call: impl FnOnce(&mut Guest<'_>) -> u32,
) -> Result<u32, wasmi::Error> {
    guest.check_allowed(name, Works::Later)?;
    Ok(call(&mut guest))
}

/// WASI's function that never returns, by WASI.
fn exit(mut guest: Guest<'_>, name: &'static str, call: impl FnOnce(&mut Guest<'_>)) -> Result<(), wasmi::Error> {
    guest.check_allowed(name, Works::Later)?;
    call(&mut guest);
    Ok(())
}

/// A function that tells the host something, during `_initialize` too.
fn notice(mut guest: Guest<'_>, name: &'static str, call: impl FnOnce(&mut Guest<'_>)) -> Result<(), wasmi::Error> {
    guest.check_allowed(name, Works::Early)?;
    call(&mut guest);
    Ok(())
}

fn status(answer: Answer, out_of_bounds: u32) -> u32 {
    match answer {
        Ok(()) => Status::Ok as u32,
        Err(Stop::Status(status)) => status,
        Err(Stop::OutOfBounds) => out_of_bounds,
    }
}

// === impl Guest ===

impl Guest<'_> {
    pub(crate) fn state(&self) -> &State {
        self.0.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.0.data_mut()
    }

    /// It is a trap to call what doesn't work now, as in Envoy, which calls that a restricted callback.
    fn check_allowed(&self, name: &str, works: Works) -> Result<(), wasmi::Error> {
        let phase = match self.state().phase {
            Phase::Initializing if works == Works::Later => "_initialize",
            Phase::Allocating if !WHILE_ALLOCATING.contains(&name) => "an allocation",
            Phase::Initializing | Phase::Allocating | Phase::Serving => return Ok(()),
        };
        Err(wasmi::Error::new(format!("restricted_callback: {name} doesn't work during {phase}")))
    }

    /// Bytes of the guest's memory.
    pub(crate) fn read(&self, at: u32, size: u32) -> Result<&[u8], Stop> {
        let (at, size) = (at as usize, size as usize);
        self.state().count_host_bytes(size);
        self.memory()?.data(self.0.as_context()).get(at..at + size).ok_or(Stop::OutOfBounds)
    }

    /// Writes into the guest's memory.
    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Answer {
        let memory = self.memory()?;
        memory.write(self.0.as_context_mut(), at as usize, bytes).map_err(|_| Stop::OutOfBounds)
    }

    /// Writes a number of 4 bytes into the guest's memory.
    pub(crate) fn write_u32(&mut self, at: u32, number: usize) -> Answer {
        self.write(at, &u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes())
    }

    /// Gives the guest bytes: copies them into memory of its own allocator, and writes their address and size where
    /// it wants them. No bytes are a null pointer.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u32, size_at: u32) -> Answer {
        let address = if bytes.is_empty() { 0 } else { self.place(bytes)? };
        self.write(address_at, &address.to_le_bytes())?;
        self.write_u32(size_at, bytes.len())
    }

    /// Copies bytes into memory of the guest's own allocator; their address. If that traps, the guest goes on without
    /// them, as in Envoy, and its VM is dead once the callback is over.
    pub(crate) fn place(&mut self, bytes: &[u8]) -> Result<u32, Stop> {
        let size = u32::try_from(bytes.len()).map_err(|_| Stop::OutOfBounds)?;
        let state = self.state_mut();
        let Some(Callback { name, function: Some(allocate) }) = state.allocate else { return Err(Stop::OutOfBounds) };
        let (phase, calls) = (std::mem::replace(&mut state.phase, Phase::Allocating), state.calls);
        let height = calls.map(|calls| calls.height(&self.0)).unwrap_or_default();
        let allocated = allocate.call(&mut self.0, size).map_err(|why| vm::trap(&mut self.0, name, &why));
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

#[cfg(test)]
mod tests {
    use super::SERVED;

    #[test]
    fn the_documentation_has_every_host_function_and_no_other() {
        let documentation = include_str!("../lib.rs");
        let table = documentation.lines().filter(|line| line.starts_with("//! | `"));
        let documented = table
            .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2))
            .map(str::to_owned);
        let mut documented: Vec<_> = documented.collect();
        documented.sort();
        let mut served: Vec<_> = SERVED.iter().filter(|(module, _)| *module == "env").map(|(_, name)| *name).collect();
        served.sort_unstable();
        assert_eq!(documented, served);
    }
}
