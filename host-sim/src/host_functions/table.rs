//! The table of host functions. It generates the linker, the signatures that [`Inspection`](crate::Inspection) checks, and
//! the documentation.

use super::convention::{
    early, early_without_result, later, later_number, later_without_result, wasi_early, wasi_later,
};
use super::guest::Guest;
use super::{
    buffer, clock, context, emscripten, file, foreign, grpc, header_map, http_call, local_response, log, metric,
    property, shared_data, shared_queue, stream, wasi,
};
use crate::abi::signature::{AbiType, AbiTypes, Signature};
use crate::abi::{ALL, AbiVersion, ONLY_0_1_0, SINCE_0_2_0, SINCE_0_2_1};
use crate::state::vm_state::State;
use wasmi::{Caller, Linker};

/// The module name of WASI.
const WASI: &str = "wasi_snapshot_preview1";
/// An older name of the same functions.
const WASI_UNSTABLE: &str = "wasi_unstable";

/// A host function that Envoy and this host provide.
pub(crate) struct HostFunction {
    pub module: &'static str,
    pub name: &'static str,
    /// The ABI versions with which Envoy provides the function.
    pub abis: &'static [AbiVersion],
    pub signature: Signature,
}

/// Generates [`FUNCTIONS`], [`link`] and [`documentation`] from the table. An entry is
/// `family::name(parameters) in ABI versions, "statuses other than 0"`; a block names the module, the calling convention
/// and the result type.
macro_rules! host_functions {
    ($( $module:literal as $convention:ident -> $result:ty {
        $( $family:ident::$function:ident($( $param:ident: $type:ty ),*) in $abis:ident, $answers:literal; )*
    } )*) => {
        /// Every host function.
        pub(crate) const FUNCTIONS: &[HostFunction] = &[$( $( HostFunction {
            module: $module,
            name: stringify!($function),
            abis: $abis,
            signature: Signature { params: &[$( <$type as AbiType>::TYPE ),*], results: <$result as AbiTypes>::TYPES },
        }, )* )*];

        /// Defines all host functions in a linker.
        pub(crate) fn link(linker: &mut Linker<State>) -> Result<(), wasmi::Error> {
            $( $(
                linker.func_wrap(
                    $module,
                    stringify!($function),
                    |caller: Caller<'_, State>, $( $param: $type ),*| -> Result<$result, wasmi::Error> {
                        let guest = Guest::new(caller);
                        $convention(guest, stringify!($function), |guest| $family::$function(guest, $( $param ),*))
                    },
                )?;
            )* )*
            linker.alias_module(WASI, WASI_UNSTABLE)?;
            Ok(())
        }

        /// The host functions, and the statuses that each returns other than 0 (Ok). "memory" stands for an address
        /// outside the guest's memory, or an allocator that failed. `ONLY_0_1_0`, `SINCE_0_2_0` and `SINCE_0_2_1` name
        /// the ABI versions that have the function.
        ///
        /// | module | function | ABI | returns other than 0 |
        /// |---|---|---|---|
        $( $( #[doc = concat!(
            "| `", $module, "` | `", stringify!($function), "` | ", stringify!($abis), " | ", $answers, " |"
        )] )* )*
        pub mod documentation {}
    };
}

host_functions! {
    "env" as early -> u32 {
        log::proxy_log(level: u32, message: u32, size: u32) in ALL, "2 unknown level; 6 memory";
    }
    "env" as later -> u32 {
        log::proxy_get_log_level(level_at: u32) in SINCE_0_2_1, "6 memory";
        context::proxy_set_effective_context(context: u32) in ALL, "2 unknown context";
        context::proxy_done() in ALL, "1 `on_done` has not returned false";
        context::proxy_set_tick_period_milliseconds(milliseconds: u32) in ALL, "";
        context::proxy_get_status(code_at: u32, message_at: u32, size_at: u32) in ALL, "6 memory";
        context::proxy_get_configuration(configuration_at: u32, size_at: u32) in ONLY_0_1_0, "6 memory";
        stream::proxy_continue_stream(stream: u32) in SINCE_0_2_0, "2 unknown stream type; 12 upstream";
        stream::proxy_close_stream(stream: u32) in SINCE_0_2_0, "2 unknown stream type";
        stream::proxy_continue_request() in ONLY_0_1_0, "";
        stream::proxy_continue_response() in ONLY_0_1_0, "";
        stream::proxy_clear_route_cache() in ONLY_0_1_0, "";
        foreign::proxy_call_foreign_function(
            name: u32, size: u32, arguments: u32, arguments_size: u32, results_at: u32, results_size_at: u32
        ) in ALL, "1 unknown function; 6 memory; the status of the function";
        shared_data::proxy_get_shared_data(key: u32, size: u32, value_at: u32, size_at: u32, cas_at: u32) in ALL, "1 unknown key; 6 memory";
        shared_data::proxy_set_shared_data(key: u32, size: u32, value: u32, value_size: u32, cas: u32) in ALL, "6 memory; 8 the compare-and-swap number is out of date";
        shared_queue::proxy_register_shared_queue(name: u32, size: u32, token_at: u32) in ALL, "6 memory";
        shared_queue::proxy_resolve_shared_queue(vm_id: u32, vm_id_size: u32, name: u32, size: u32, token_at: u32) in ALL, "1 not registered; 6 memory";
        shared_queue::proxy_enqueue_shared_queue(token: u32, item: u32, size: u32) in ALL, "1 unknown queue; 6 memory";
        shared_queue::proxy_dequeue_shared_queue(token: u32, item_at: u32, size_at: u32) in ALL, "1 unknown queue; 6 memory; 7 empty queue";
        http_call::proxy_http_call(
            cluster: u32, cluster_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32, trailers: u32,
            trailers_size: u32, timeout: u32, token_at: u32
        ) in ALL, "2 unknown cluster, missing pseudo-header, or negative timeout; 6 memory";
        grpc::proxy_grpc_call(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32,
            metadata: u32, metadata_size: u32, message: u32, message_size: u32, timeout: u32, token_at: u32
        ) in ALL, "4 unknown cluster; 6 memory";
        grpc::proxy_grpc_stream(
            upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32, method_size: u32,
            metadata: u32, metadata_size: u32, token_at: u32
        ) in ALL, "4 unknown cluster; 6 memory";
        grpc::proxy_grpc_send(token: u32, message: u32, size: u32, end: u32) in ALL, "1 unknown stream; 2 not a token of a stream; 6 memory";
        grpc::proxy_grpc_close(token: u32) in ALL, "1 unknown call or stream; 2 not a token of either";
        grpc::proxy_grpc_cancel(token: u32) in ALL, "1 unknown call or stream; 2 not a token of either";
        property::proxy_set_property(path: u32, size: u32, value: u32, value_size: u32) in ALL, "1 no stream or connection; 6 memory. The property has a name without parts. Envoy's own properties of the same name take precedence";
        clock::proxy_get_current_time_nanoseconds(time_at: u32) in ALL, "6 memory";
        property::proxy_get_property(path: u32, size: u32, value_at: u32, size_at: u32) in ALL, "1 unknown property; 3 empty path; 6 memory";
        header_map::proxy_get_header_map_value(map: u32, name: u32, size: u32, value_at: u32, size_at: u32) in ALL, "1 no such header; 2 unknown map, or not available now; 6 memory. ABI 0.1.0 returns an empty value instead of 1";
        header_map::proxy_get_header_map_pairs(map: u32, pairs_at: u32, size_at: u32) in ALL, "2 unknown map; 6 memory. A map that is not available is empty";
        header_map::proxy_get_header_map_size(map: u32, size_at: u32) in ALL, "2 unknown map, or not writable now; 6 memory";
        header_map::proxy_set_header_map_pairs(map: u32, pairs: u32, size: u32) in ALL, "2 unknown map, or not writable now; 6 memory";
        header_map::proxy_add_header_map_value(map: u32, name: u32, size: u32, value: u32, value_size: u32) in ALL, "2 unknown map, or not writable now; 6 memory";
        header_map::proxy_replace_header_map_value(map: u32, name: u32, size: u32, value: u32, value_size: u32) in ALL, "2 unknown map, or not writable now; 6 memory";
        header_map::proxy_remove_header_map_value(map: u32, name: u32, size: u32) in ALL, "2 unknown map, or not writable now; 6 memory";
        buffer::proxy_get_buffer_bytes(buffer: u32, start: u32, size: u32, bytes_at: u32, size_at: u32) in ALL, "1 configuration or callout body not available now; 2 unknown buffer; 6 memory. A start past the end, or an unavailable body, returns Ok and no bytes";
        buffer::proxy_get_buffer_status(buffer: u32, size_at: u32, flags_at: u32) in ALL, "1 configuration or callout body not available now; 2 unknown buffer; 6 memory";
        buffer::proxy_set_buffer_bytes(buffer: u32, start: u32, size: u32, bytes: u32, bytes_size: u32) in ALL, "1 configuration or callout body not available now; 2 unknown or read-only buffer, unavailable body, or a start in the middle; 6 memory";
        metric::proxy_define_metric(kind: u32, name: u32, size: u32, id_at: u32) in ALL, "2 unknown type; 6 memory. Defining a name again returns another id";
        metric::proxy_increment_metric(id: u32, offset: i64) in ALL, "1 unknown id; 2 id of a histogram, known or not, or a counter offset below 1";
        metric::proxy_record_metric(id: u32, value: u64) in ALL, "1 unknown id";
        metric::proxy_get_metric(id: u32, value_at: u32) in ALL, "1 unknown id; 2 id of a histogram, known or not; 6 memory";
        local_response::proxy_send_local_response(
            status: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32, headers_size: u32,
            grpc_status: u32
        ) in ALL, "6 memory";
    }
    "wasi_snapshot_preview1" as wasi_early -> u32 {
        wasi::fd_write(fd: u32, vectors: u32, count: u32, written_at: u32) in ALL, "8 neither standard output nor error; 21 memory. Standard output is logged as info, standard error as error";
        wasi::clock_res_get(clock: u32, resolution_at: u32) in ALL, "58 neither real nor monotonic time; 21 memory";
        wasi::fd_fdstat_get(fd: u32, stat_at: u32) in ALL, "8 neither standard output nor error";
        wasi::fd_fdstat_set_flags(fd: u32, flags: u32) in ALL, "52 always";
        wasi::fd_prestat_get(fd: u32, stat_at: u32) in ALL, "8 always";
        wasi::fd_prestat_dir_name(fd: u32, path: u32, size: u32) in ALL, "52 always";
        wasi::fd_filestat_get(fd: u32, stat_at: u32) in ALL, "8 always";
        wasi::path_filestat_get(fd: u32, flags: u32, path: u32, size: u32, stat_at: u32) in ALL, "58 always";
        wasi::poll_oneoff(input: u32, output: u32, count: u32, events_at: u32) in ALL, "21 memory. Returns no events";
        wasi::clock_time_get(clock: u32, precision: u64, time_at: u32) in ALL, "58 neither real nor monotonic time; 21 memory";
        wasi::random_get(bytes: u32, size: u32) in ALL, "28 more than 64 KiB; 21 memory";
        wasi::environ_get(pointers: u32, bytes: u32) in ALL, "21 memory";
        wasi::environ_sizes_get(count_at: u32, size_at: u32) in ALL, "21 memory";
        wasi::args_get(pointers: u32, bytes: u32) in ALL, "";
        wasi::args_sizes_get(count_at: u32, size_at: u32) in ALL, "21 memory. There are no arguments";
        file::fd_advise(fd: u32, offset: u64, length: u64, advice: u32) in ALL, "";
        file::fd_allocate(fd: u32, offset: u64, length: u64) in ALL, "8 neither standard output nor error";
        file::fd_datasync(fd: u32) in ALL, "8 neither standard output nor error";
        file::fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) in ALL, "8 neither standard output nor error";
        file::fd_filestat_set_size(fd: u32, size: u64) in ALL, "8 neither standard output nor error";
        file::fd_filestat_set_times(fd: u32, read: u64, written: u64, flags: u32) in ALL, "8 neither standard output nor error";
        file::fd_sync(fd: u32) in ALL, "8 neither standard output nor error";
        file::fd_pread(fd: u32, vectors: u32, count: u32, offset: u64, read_at: u32) in ALL, "52 always";
        file::fd_pwrite(fd: u32, vectors: u32, count: u32, offset: u64, written_at: u32) in ALL, "as `fd_write`";
        file::fd_readdir(fd: u32, bytes: u32, size: u32, cookie: u64, read_at: u32) in ALL, "20 always; 21 memory";
        file::fd_renumber(fd: u32, to: u32) in ALL, "58 always, or 8 neither standard output nor error";
        file::fd_tell(fd: u32, position_at: u32) in ALL, "8 neither standard output nor error; 21 memory";
        file::path_create_directory(fd: u32, path: u32, size: u32) in ALL, "58 always";
        file::path_filestat_set_times(
            fd: u32, lookup: u32, path: u32, size: u32, read: u64, written: u64, flags: u32
        ) in ALL, "58 always";
        file::path_link(from_fd: u32, lookup: u32, from: u32, from_size: u32, to_fd: u32, to: u32) in ALL, "58 always. Has no size of the new path, as in Envoy";
        file::path_readlink(fd: u32, path: u32, size: u32, bytes: u32, bytes_size: u32, read_at: u32) in ALL, "58 always; 21 memory";
        file::path_remove_directory(fd: u32, path: u32, size: u32) in ALL, "58 always";
        file::path_rename(from_fd: u32, from: u32, from_size: u32, to_fd: u32, to: u32, to_size: u32) in ALL, "58 always";
        file::path_symlink(from: u32, from_size: u32, fd: u32, to: u32) in ALL, "58 always. Has no size of the new path, as in Envoy";
        file::path_unlink_file(fd: u32, path: u32, size: u32) in ALL, "58 always";
        file::sock_accept(fd: u32, flags: u32, accepted_at: u32) in ALL, "58 always; 21 memory";
        file::sock_recv(fd: u32, vectors: u32, count: u32, flags: u32, size_at: u32, flags_at: u32) in ALL, "58 always";
        file::sock_send(fd: u32, vectors: u32, count: u32, flags: u32, size_at: u32) in ALL, "58 always";
        file::sock_shutdown(fd: u32, how: u32) in ALL, "58 always";
    }
    "wasi_snapshot_preview1" as wasi_later -> u32 {
        wasi::fd_read(fd: u32, vectors: u32, count: u32, read_at: u32) in ALL, "52 always";
        wasi::fd_seek(fd: u32, offset: i64, whence: u32, offset_at: u32) in ALL, "";
        wasi::fd_close(fd: u32) in ALL, "";
        wasi::path_open(
            fd: u32, lookup: u32, path: u32, size: u32, open: u32, rights: i64, inherited: i64, flags: u32, fd_at: u32
        ) in ALL, "44 always";
        wasi::sched_yield() in ALL, "";
    }
    "wasi_snapshot_preview1" as later_without_result -> () {
        wasi::proc_exit(code: u32) in ALL, "no result. Returns to the guest, where compilers put a trap";
    }
    "env" as later_number -> u32 {
        emscripten::pthread_equal(left: u32, right: u32) in ALL, "1 equal";
    }
    "env" as early_without_result -> () {
        emscripten::emscripten_notify_memory_growth(memory: u32) in ALL, "no result";
    }
}

/// Returns the host function that a module of any ABI version may import by this name, if there is one.
pub(crate) fn find(module: &str, name: &str) -> Option<&'static HostFunction> {
    let module = if module == WASI_UNSTABLE { WASI } else { module };
    FUNCTIONS.iter().find(|function| function.module == module && function.name == name)
}

/// Returns whether this host, like Envoy, provides a host function to a module of this ABI version.
pub(crate) fn is_provided(abi: AbiVersion, module: &str, name: &str) -> bool {
    find(module, name).is_some_and(|function| function.abis.contains(&abi))
}
