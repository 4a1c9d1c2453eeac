//! Host functions, one file per family, and the table of all of them.
//!
//! Each function checks its arguments, then memory, then the state, as Envoy does.

mod buffer;
mod clock;
mod context;
mod convention;
mod emscripten;
mod file;
mod foreign;
mod grpc;
mod guest;
mod header_map;
mod http_call;
mod local_response;
mod log;
mod metric;
mod property;
mod shared_data;
mod shared_queue;
mod stream;
pub(crate) mod table;
mod wasi;
