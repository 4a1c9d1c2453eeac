//! The host functions of Proxy-Wasm ABI 0.2.1 that the filter calls, as safe functions.
//!
//! The SDK's own functions panic on a status that they do not expect, and a panic stops the worker's VM. The functions
//! in this module handle every status without a trap. The SDK provides types, the allocator, and the ABI version marker.
//!
//! Source: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>

use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};
use std::{fmt, ptr};

/// A status other than `OK`, as a number: hosts may return numbers that the ABI does not define.
pub(crate) struct Status(u32);

// === impl Status ===

impl Status {
    /// Reports whether the value does not exist. After any other status, it may exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.0 == NOT_FOUND
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0)
    }
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const REQUEST_HEADERS: u32 = MapType::HttpRequestHeaders as u32;

/// The host functions, as the ABI declares them.
mod host {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            max_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
        pub(super) safe fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    }
}

/// Writes a line to the host's log. Ignores a failure.
pub(crate) fn log(level: LogLevel, message: &str) {
    // SAFETY: the pointer and the size are those of a string.
    unsafe { host::proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Returns the plugin configuration of the current root context.
pub(crate) fn plugin_configuration() -> Result<Vec<u8>, Status> {
    returned_bytes(|data, size| {
        // SAFETY: the host writes to both pointers, which are valid.
        unsafe { host::proxy_get_buffer_bytes(BufferType::PluginConfiguration as u32, 0, usize::MAX, data, size) }
    })
}

/// Returns the first value of a request header.
pub(crate) fn request_header(name: &str) -> Result<Vec<u8>, Status> {
    returned_bytes(|data, size| {
        // SAFETY: the name is a string; the host writes to both pointers, which are valid.
        unsafe { host::proxy_get_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), data, size) }
    })
}

/// Replaces all request headers of this name by one header.
pub(crate) fn replace_request_header(name: &str, value: &str) -> Result<(), Status> {
    // SAFETY: both pointers and sizes are those of strings.
    check(unsafe {
        host::proxy_replace_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes all request headers of this name.
pub(crate) fn remove_request_header(name: &str) -> Result<(), Status> {
    // SAFETY: the pointer and the size are those of a string.
    check(unsafe { host::proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) })
}

/// Returns a property. A NUL separates the parts of the path.
pub(crate) fn property(path: &str) -> Result<Vec<u8>, Status> {
    returned_bytes(|data, size| {
        // SAFETY: the path is a string; the host writes to both pointers, which are valid.
        unsafe { host::proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// Defines a counter and returns its id.
pub(crate) fn define_counter(name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the name is a string; the host writes to `id`.
    check(unsafe { host::proxy_define_metric(MetricType::Counter as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter. A host may refuse a negative offset.
pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<(), Status> {
    check(host::proxy_increment_metric(id, offset))
}

fn check(status: u32) -> Result<(), Status> {
    if status == OK { Ok(()) } else { Err(Status(status)) }
}

/// Calls a host function that returns bytes by two pointers, and returns the bytes.
fn returned_bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data = ptr::null_mut();
    let mut size = 0;
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        // Hosts allocate nothing for an empty value.
        return Ok(Vec::new());
    }
    // SAFETY: the host got `data` from the SDK's `proxy_on_memory_allocate`, for `size` bytes, and wrote all of them.
    // The SDK allocates a vector of exactly this capacity.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}
