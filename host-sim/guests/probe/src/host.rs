//! Declarations of the host functions. Pointers are numbers, so that a probe can pass any address.

macro_rules! imports {
    ($($module:literal { $(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)* })*) => {$(
        #[link(wasm_import_module = $module)]
        unsafe extern "C" {
            // Hosts write only to cells and allocations of this guest, which it reads with volatile reads, or to no memory.
            $(pub safe fn $name($($arg: $type),*) $(-> $result)?;)*
        }
    )*};
}

imports! {
    "env" {
        fn proxy_log(level: u32, message: u32, size: u32) -> u32;
        fn proxy_get_log_level(level: u32) -> u32;
        fn proxy_get_current_time_nanoseconds(time: u32) -> u32;
        fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        fn proxy_get_status(code: u32, message: u32, size: u32) -> u32;
        fn proxy_get_property(path: u32, path_size: u32, value: u32, size: u32) -> u32;
        fn proxy_set_property(path: u32, path_size: u32, value: u32, size: u32) -> u32;
        fn proxy_get_header_map_value(map: u32, name: u32, name_size: u32, value: u32, size: u32) -> u32;
        fn proxy_add_header_map_value(map: u32, name: u32, name_size: u32, value: u32, size: u32) -> u32;
        fn proxy_replace_header_map_value(map: u32, name: u32, name_size: u32, value: u32, size: u32) -> u32;
        fn proxy_remove_header_map_value(map: u32, name: u32, name_size: u32) -> u32;
        fn proxy_get_header_map_pairs(map: u32, pairs: u32, size: u32) -> u32;
        fn proxy_set_header_map_pairs(map: u32, pairs: u32, size: u32) -> u32;
        fn proxy_get_header_map_size(map: u32, size: u32) -> u32;
        fn proxy_get_buffer_bytes(buffer: u32, start: u32, length: u32, bytes: u32, size: u32) -> u32;
        fn proxy_get_buffer_status(buffer: u32, length: u32, flags: u32) -> u32;
        fn proxy_set_buffer_bytes(buffer: u32, start: u32, length: u32, bytes: u32, size: u32) -> u32;
        fn proxy_continue_stream(stream: u32) -> u32;
        fn proxy_close_stream(stream: u32) -> u32;
        fn proxy_send_local_response(
            code: u32,
            details: u32,
            details_size: u32,
            body: u32,
            body_size: u32,
            headers: u32,
            headers_size: u32,
            grpc_status: u32
        ) -> u32;
        fn proxy_http_call(
            cluster: u32,
            cluster_size: u32,
            headers: u32,
            headers_size: u32,
            body: u32,
            body_size: u32,
            trailers: u32,
            trailers_size: u32,
            timeout: u32,
            token: u32
        ) -> u32;
        fn proxy_grpc_call(
            service: u32,
            service_size: u32,
            name: u32,
            name_size: u32,
            method: u32,
            method_size: u32,
            metadata: u32,
            metadata_size: u32,
            message: u32,
            message_size: u32,
            timeout: u32,
            token: u32
        ) -> u32;
        fn proxy_grpc_stream(
            service: u32,
            service_size: u32,
            name: u32,
            name_size: u32,
            method: u32,
            method_size: u32,
            metadata: u32,
            metadata_size: u32,
            token: u32
        ) -> u32;
        fn proxy_grpc_send(token: u32, message: u32, size: u32, end_of_stream: u32) -> u32;
        fn proxy_grpc_close(token: u32) -> u32;
        fn proxy_grpc_cancel(token: u32) -> u32;
        fn proxy_define_metric(kind: u32, name: u32, size: u32, metric: u32) -> u32;
        fn proxy_increment_metric(metric: u32, by: i64) -> u32;
        fn proxy_record_metric(metric: u32, value: u64) -> u32;
        fn proxy_get_metric(metric: u32, value: u32) -> u32;
        fn proxy_get_shared_data(key: u32, key_size: u32, value: u32, size: u32, cas: u32) -> u32;
        fn proxy_set_shared_data(key: u32, key_size: u32, value: u32, size: u32, cas: u32) -> u32;
        fn proxy_register_shared_queue(name: u32, size: u32, token: u32) -> u32;
        fn proxy_resolve_shared_queue(vm: u32, vm_size: u32, name: u32, size: u32, token: u32) -> u32;
        fn proxy_enqueue_shared_queue(token: u32, value: u32, size: u32) -> u32;
        fn proxy_dequeue_shared_queue(token: u32, value: u32, size: u32) -> u32;
        fn proxy_set_effective_context(context: u32) -> u32;
        fn proxy_done() -> u32;
        fn proxy_call_foreign_function(
            name: u32,
            name_size: u32,
            argument: u32,
            argument_size: u32,
            result: u32,
            result_size: u32
        ) -> u32;
    }
    "wasi_unstable" {
        fn sched_yield() -> u32;
    }
}

/// The WASI functions. The standard library declares them separately.
pub mod wasi {
    imports! {
        "wasi_snapshot_preview1" {
            fn args_get(args: u32, bytes: u32) -> u32;
            fn args_sizes_get(count: u32, size: u32) -> u32;
            fn clock_res_get(clock: u32, resolution: u32) -> u32;
            fn clock_time_get(clock: u32, precision: u64, time: u32) -> u32;
            fn environ_get(variables: u32, bytes: u32) -> u32;
            fn environ_sizes_get(count: u32, size: u32) -> u32;
            fn fd_advise(fd: u32, offset: u64, length: u64, advice: u32) -> u32;
            fn fd_allocate(fd: u32, offset: u64, length: u64) -> u32;
            fn fd_close(fd: u32) -> u32;
            fn fd_datasync(fd: u32) -> u32;
            fn fd_fdstat_get(fd: u32, stat: u32) -> u32;
            fn fd_fdstat_set_flags(fd: u32, flags: u32) -> u32;
            fn fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) -> u32;
            fn fd_filestat_get(fd: u32, stat: u32) -> u32;
            fn fd_filestat_set_size(fd: u32, size: u64) -> u32;
            fn fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32) -> u32;
            fn fd_pread(fd: u32, vectors: u32, count: u32, offset: u64, read: u32) -> u32;
            fn fd_prestat_dir_name(fd: u32, path: u32, size: u32) -> u32;
            fn fd_prestat_get(fd: u32, stat: u32) -> u32;
            fn fd_pwrite(fd: u32, vectors: u32, count: u32, offset: u64, written: u32) -> u32;
            fn fd_read(fd: u32, vectors: u32, count: u32, read: u32) -> u32;
            fn fd_readdir(fd: u32, bytes: u32, size: u32, cookie: u64, read: u32) -> u32;
            fn fd_renumber(fd: u32, to: u32) -> u32;
            fn fd_seek(fd: u32, offset: i64, whence: u32, position: u32) -> u32;
            fn fd_sync(fd: u32) -> u32;
            fn fd_tell(fd: u32, position: u32) -> u32;
            fn fd_write(fd: u32, vectors: u32, count: u32, written: u32) -> u32;
            fn path_create_directory(fd: u32, path: u32, size: u32) -> u32;
            fn path_filestat_get(fd: u32, flags: u32, path: u32, size: u32, stat: u32) -> u32;
            fn path_filestat_set_times(
                fd: u32,
                flags: u32,
                path: u32,
                size: u32,
                accessed: u64,
                modified: u64,
                set: u32
            ) -> u32;
            fn path_link(from_fd: u32, flags: u32, from: u32, from_size: u32, to_fd: u32, to: u32) -> u32;
            fn path_open(
                fd: u32,
                flags: u32,
                path: u32,
                size: u32,
                open: u32,
                base: i64,
                inheriting: i64,
                fd_flags: u32,
                opened: u32
            ) -> u32;
            fn path_readlink(fd: u32, path: u32, size: u32, bytes: u32, bytes_size: u32, read: u32) -> u32;
            fn path_remove_directory(fd: u32, path: u32, size: u32) -> u32;
            fn path_rename(from_fd: u32, from: u32, from_size: u32, to_fd: u32, to: u32, to_size: u32) -> u32;
            fn path_symlink(from: u32, from_size: u32, fd: u32, to: u32) -> u32;
            fn path_unlink_file(fd: u32, path: u32, size: u32) -> u32;
            fn poll_oneoff(subscriptions: u32, events: u32, count: u32, happened: u32) -> u32;
            fn proc_exit(code: u32);
            fn random_get(bytes: u32, size: u32) -> u32;
            fn sched_yield() -> u32;
            fn sock_accept(fd: u32, flags: u32, accepted: u32) -> u32;
            fn sock_recv(fd: u32, vectors: u32, count: u32, flags: u32, size: u32, out: u32) -> u32;
            fn sock_send(fd: u32, vectors: u32, count: u32, flags: u32, size: u32) -> u32;
            fn sock_shutdown(fd: u32, how: u32) -> u32;
        }
    }
}
