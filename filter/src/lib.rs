//! The Proxy-Wasm entry points of the filter.
//!
//! The SDK's own entry points dispatch through trait objects, whose tables keep every host call
//! there is in the module and whose callbacks Envoy then calls for every request. These are the
//! four that a split needs. The SDK exports its own under the same names whenever it is linked,
//! so these have the prefix `filter:`, which `filter/link` takes off while it keeps the SDK's out;
//! the SDK still makes the host calls ([`host`]).

mod host;
mod vm;

use proxy_wasm::types::{Action, LogLevel};

unsafe extern "C" {
    // Runs constructors of the C library; made by the linker.
    safe fn __wasm_call_ctors();
}

/// Called once, before anything else. Only logging and WASI work yet.
// SAFETY: no other symbol of this program has this name; the SDK would define it by a macro that
// isn't used here.
#[unsafe(export_name = "filter:_initialize")]
extern "C" fn initialize() {
    __wasm_call_ctors();
    proxy_wasm::set_log_level(LogLevel::Info);
}

/// A root context (`parent_id` 0) or a request's context begins.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_context_create")]
extern "C" fn on_context_create(context_id: u32, parent_id: u32) {
    vm::with(|vm| vm.create(context_id, parent_id));
}

/// A root context gets its configuration. False, with what is wrong in the log, refuses it.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_configure")]
extern "C" fn on_configure(context_id: u32, _configuration_size: usize) -> bool {
    vm::with(|vm| vm.configure(context_id)).unwrap_or_default()
}

/// A request's headers are there.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_request_headers")]
extern "C" fn on_request_headers(context_id: u32, _headers: usize, end_of_stream: u32) -> Action {
    vm::with(|vm| vm.request(context_id, end_of_stream != 0));
    Action::Continue
}

/// A context ends.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_delete")]
extern "C" fn on_delete(context_id: u32) {
    vm::with(|vm| vm.delete(context_id));
}
