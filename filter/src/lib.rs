//! The entry points of the filter: the callbacks of the Proxy-Wasm ABI that traffic splitting needs, and no others.
//!
//! Envoy calls every exported callback of a request, and each call costs time.

#[cfg(not(target_family = "wasm"))]
compile_error!(
    "the filter is WebAssembly; run: ./build.sh build, or: \
     cargo build --release --target wasm32-wasip1 -p traffic-split-filter"
);

mod abi;
mod host;
mod logger;
mod vm;

unsafe extern "C" {
    // Runs constructors of the C library; made by the linker.
    safe fn __wasm_call_ctors();
}

/// Called once, before anything else. Only logging and WASI work yet.
// SAFETY: no other symbol of this program has this name.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    __wasm_call_ctors();
    logger::start();
}

/// A root context (`parent_id` 0) or a request's context begins.
// SAFETY: no other symbol of this program has this name.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context_id: u32, parent_id: u32) {
    vm::with(|vm| vm.create(context_id, parent_id));
}

/// A root context receives its configuration. Returns false to refuse it; the log then says why.
// SAFETY: no other symbol of this program has this name.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context_id: u32, _configuration_size: usize) -> bool {
    vm::with(|vm| vm.configure(context_id)).unwrap_or_default()
}

/// The headers of a request are complete.
// SAFETY: no other symbol of this program has this name.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context_id: u32, _headers: usize, end_of_stream: u32) -> u32 {
    vm::with(|vm| vm.request(context_id, end_of_stream != 0));
    abi::CONTINUE
}

/// A context ends.
// SAFETY: no other symbol of this program has this name.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context_id: u32) {
    vm::with(|vm| vm.delete(context_id));
}
