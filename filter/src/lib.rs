//! The entry points of the filter: the callbacks of the Proxy-Wasm ABI that traffic splitting needs, and no others.
//!
//! Envoy calls every exported callback of a request, and each call costs time. The SDK exports all of them whenever it
//! is linked, so the names here begin with `filter:`. The linker in `filter/link` removes this prefix and the SDK's
//! exports.

#[cfg(not(target_family = "wasm"))]
compile_error!("the filter is WebAssembly; run: ./build.sh build");

mod abi;
mod host;
mod logger;
mod vm;

use proxy_wasm::types::Action;

unsafe extern "C" {
    // Created by the linker. Runs the constructors of the C library.
    safe fn __wasm_call_ctors();
}

/// Called once, before all other callbacks. Only logging and WASI work at this time.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:_initialize")]
extern "C" fn initialize() {
    __wasm_call_ctors();
    logger::start();
}

/// Creates a root context (`parent_id` 0) or the context of a request.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_context_create")]
extern "C" fn on_context_create(context_id: u32, parent_id: u32) {
    vm::with(|vm| vm.create(context_id, parent_id));
}

/// Configures a root context. Returns false to refuse an invalid configuration, after its problems are logged.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_configure")]
extern "C" fn on_configure(context_id: u32, _configuration_size: usize) -> bool {
    vm::with(|vm| vm.configure(context_id)).unwrap_or_default()
}

/// Handles the complete headers of a request.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_request_headers")]
extern "C" fn on_request_headers(context_id: u32, _headers: usize, end_of_stream: u32) -> Action {
    vm::with(|vm| vm.request(context_id, end_of_stream != 0));
    Action::Continue
}

/// Deletes a context.
// SAFETY: no other symbol of this program has this name.
#[unsafe(export_name = "filter:proxy_on_delete")]
extern "C" fn on_delete(context_id: u32) {
    vm::with(|vm| vm.delete(context_id));
}
