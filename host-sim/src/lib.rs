//! A Proxy-Wasm host that answers as Envoy answers: unit tests for the compiled `.wasm` of an HTTP or a TCP filter,
//! without Envoy.
//!
//! A test says what is there (a configuration, node metadata, a request, a connection) and asserts what came out
//! (headers, bytes, logs, metrics, a local response). It never lists the host calls it expects.
//!
//! ```
//! use host_sim::{Module, Simulator};
//! # let wasm = wat::parse_str(r#"(module
//! #   (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
//! #   (memory (export "memory") 1) (data (i32.const 0) "x-greetinghello")
//! #   (func (export "proxy_abi_version_0_2_1")) (func (export "_initialize"))
//! #   (func (export "malloc") (param i32) (result i32) (i32.const 1024))
//! #   (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
//! #     (drop (call $replace (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 10) (i32.const 5)))
//! #     (i32.const 0)))"#)?;
//! // `Module::from_file("target/wasm32-wasip1/release/filter.wasm")` in a test of your own.
//! let module = Module::from_bytes(wasm)?;
//! let mut sim = Simulator::builder(&module).configuration("{}").start()?;
//!
//! let outcome = sim.request().get("http://httpbin.httpbin:14001/json").send();
//!
//! assert_eq!(outcome.request_header("x-greeting"), Some(&b"hello"[..]));
//! assert!(outcome.route_cache_cleared);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A TCP filter gets a connection, step by step: what the client sends goes downstream to upstream, what the upstream
//! answers comes back.
//!
//! ```
//! use host_sim::{ClosedBy, Module, Simulator};
//! # let wasm = wat::parse_str(r#"(module
//! #   (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
//! #   (memory (export "memory") 1) (data (i32.const 0) "PING")
//! #   (func (export "proxy_abi_version_0_2_1")) (func (export "_initialize"))
//! #   (func (export "malloc") (param i32) (result i32) (i32.const 1024))
//! #   (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
//! #     (drop (call $set (i32.const 2) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))
//! #     (i32.const 0)))"#)?;
//! // One that writes in capitals.
//! let module = Module::from_bytes(wasm)?;
//! let mut sim = Simulator::builder(&module).start()?;
//!
//! let id = sim.connection().source_address(([10, 0, 0, 7], 4711).into()).open();
//! let connection = sim.open_connection(id).downstream_data("ping", false);
//! assert_eq!(connection.to_upstream(), b"PING");
//!
//! let outcome = connection.upstream_data("pong", false).downstream_data("", true).upstream_data("", true).finish();
//! assert_eq!((&outcome.to_downstream[..], outcome.closed_by), (&b"pong"[..], ClosedBy::Upstream));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is served
//!
//! HTTP filters, and TCP filters before a TCP proxy, of ABI 0.1.0, 0.2.0 and 0.2.1: all host functions of the table
//! [below](self#host-functions), and WASI as Envoy has it. A module that imports another one is refused by an
//! [error](Error::Unserved) that names it.
//!
//! # Host functions
//!
//! | function | answers, other than 0 Ok |
//! |---|---|
//! | `proxy_log` | 2 unknown level; 6 memory |
//! | `proxy_get_log_level` (since 0.2.1) | 6 memory |
//! | `proxy_get_current_time_nanoseconds` | 6 memory |
//! | `proxy_set_tick_period_milliseconds` | |
//! | `proxy_get_configuration` (0.1.0) | 6 memory |
//! | `proxy_get_status` | 6 memory |
//! | `proxy_set_effective_context` | 2 unknown context |
//! | `proxy_done` | 1 its `on_done` didn't answer false |
//! | `proxy_get_property` | 1 not there; 3 the empty path; 6 memory |
//! | `proxy_set_property` | 1 outside of a stream or connection; 6 memory. What is set has a name without parts, and is read by it where Envoy has nothing of that name |
//! | `proxy_continue_stream`, `proxy_close_stream` (since 0.2.0) | 2 unknown direction; 12 to continue upstream |
//! | `proxy_continue_request`, `proxy_continue_response`, `proxy_clear_route_cache` (0.1.0) | |
//! | `proxy_get_header_map_value` | 1 no such header; 2 no such map now; 6 memory. In 0.1.0 an empty value instead of 1 |
//! | `proxy_get_header_map_pairs` | 2 unknown map; 6 memory. A map that isn't there now is an empty one |
//! | `proxy_get_header_map_size` | 2 no such map to write now; 6 memory |
//! | `proxy_set_header_map_pairs`, `proxy_add_header_map_value`, `proxy_replace_header_map_value`, `proxy_remove_header_map_value` | 2 no such map to write now; 6 memory |
//! | `proxy_get_buffer_bytes` | 1 no such configuration or callout's body now; 2 unknown buffer; 6 memory. A start past the end, or a body that isn't there, is Ok, and no bytes |
//! | `proxy_get_buffer_status` | 1 no such configuration or callout's body now; 2 unknown buffer; 6 memory |
//! | `proxy_set_buffer_bytes` | 1 no such configuration or callout's body now; 2 unknown or read-only buffer, a body that isn't there, or a part that is neither the start nor the end; 6 memory |
//! | `proxy_define_metric` | 2 unknown type; 6 memory. A name that is there already gets another id |
//! | `proxy_increment_metric` | 1 unknown id; 2 a histogram's id, known or not, or a counter by less than 1 |
//! | `proxy_record_metric` | 1 unknown id |
//! | `proxy_get_metric` | 1 unknown id; 2 a histogram's id, known or not; 6 memory |
//! | `proxy_send_local_response` | 6 memory |
//! | `proxy_get_shared_data` | 1 not there; 6 memory |
//! | `proxy_set_shared_data` | 6 memory; 8 somebody else wrote since |
//! | `proxy_register_shared_queue` | 6 memory |
//! | `proxy_resolve_shared_queue` | 1 nobody registered it; 6 memory |
//! | `proxy_enqueue_shared_queue` | 1 unknown queue; 6 memory |
//! | `proxy_dequeue_shared_queue` | 1 unknown queue; 6 memory; 7 empty |
//! | `proxy_http_call` | 2 unknown cluster, a pseudo-header that is missing, or a negative timeout; 6 memory |
//! | `proxy_grpc_call`, `proxy_grpc_stream` | 4 unknown cluster; 6 memory |
//! | `proxy_grpc_send` | 1 unknown stream; 2 no stream's token; 6 memory |
//! | `proxy_grpc_close`, `proxy_grpc_cancel` | 1 unknown call or stream; 2 neither's token |
//! | `pthread_equal` | 1 equal |
//! | `emscripten_notify_memory_growth` | nothing |
//! | `proxy_call_foreign_function` | 1 unknown function; 6 memory; what the function answers |
//!
//! WASI's own statuses are: `fd_write` and `fd_fdstat_get` 8 other than standard output and error, `clock_time_get` and
//! `clock_res_get` 58 other than real and monotonic time, `random_get` 28 for more than 64 KiB, and 21 memory. Standard
//! output is logged as info, standard error as error. There are no files; what may be asked of standard output and error, or needn't
//! be heeded, is Ok. `proc_exit` returns, and what compilers put behind it is a trap.
//!
//! During `_initialize`, only `proxy_log` and WASI work, and of WASI not `fd_close`, `fd_read`, `fd_seek`, `path_open`,
//! `proc_exit` and `sched_yield`: a call of anything else is a trap, and the VM doesn't start.
//! While the guest's allocator gives memory for what a host function hands over, only `proxy_log`, `fd_write`,
//! `clock_time_get` and `poll_oneoff` work. A trap there makes the function answer 6, and is the VM's end
//! once the callback is over.
//!
#![doc = include_str!("../DIFFERENCES.md")]

mod abi;
mod backtrace;
mod connection;
mod error;
mod headers;
mod host;
mod inspect;
mod limit;
mod message;
mod module;
mod pipeline;
mod request;
mod route;
mod shared;
mod simulator;
mod state;
mod vm;

pub use abi::{AbiVersion, LogLevel, Status};
pub use connection::{ClosedBy, ConnectionBuilder, ConnectionId, ConnectionOutcome, OpenConnection};
pub use error::Error;
pub use headers::Headers;
pub use host::grpc::GrpcCall;
pub use host::http_call::HttpCall;
pub use host::local_response::LocalResponse;
pub use host::log::Log;
pub use host::metric::{Metric, Value};
pub use inspect::{Inspection, Memory};
pub use limit::Limit;
pub use message::{Message, Response};
pub use module::Module;
pub use request::{OpenStream, Outcome, RequestBuilder, Routed, StreamId};
pub use route::{
    AppendAction, HeaderMatch, InvalidRoutes, Mirror, Mirrored, Picked, Route, RouteResponse, RouteTable,
    RouteTableBuilder, VirtualHost,
};
pub use shared::Shared;
pub use simulator::{Builder, Simulator};
pub use state::FailurePolicy;
