//! A Proxy-Wasm host that behaves as Envoy: unit tests for the compiled `.wasm` of an HTTP or TCP filter, without Envoy.
//!
//! A test provides the input (a configuration, node metadata, a request, a connection) and asserts the outcome (headers,
//! bytes, logs, metrics, a local response). It lists no expected host calls.
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
//! // In your own test: `Module::from_file("target/wasm32-wasip1/release/filter.wasm")`.
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
//! A test of a TCP filter drives a connection step by step: `downstream_data` sends data from the client,
//! `upstream_data` sends data from the upstream.
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
//! // A filter that converts data to upper case.
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
//! # Supported modules
//!
//! HTTP filters, and TCP filters before a TCP proxy, of ABI 0.1.0, 0.2.0 and 0.2.1. The host provides all functions that
//! Envoy provides, including WASI: [`abi_functions`] lists them. A module that imports another function is
//! [rejected](Error::UnknownImports).
//!
//! Only `proxy_log` and WASI are allowed during `_initialize`, and of WASI neither `fd_close`, `fd_read`, `fd_seek`,
//! `path_open`, `proc_exit` nor `sched_yield`: any other call traps, and the VM does not start. While the guest's allocator
//! runs for a host function, only `proxy_log`, `fd_write`, `clock_time_get` and `poll_oneoff` are allowed: any other call
//! traps, the host function returns 6, and the VM ends after the callback.
//!
#![doc = include_str!("../DIFFERENCES.md")]

// Layers, from the public API down. A module imports only from lower layers; `tests/layers.rs` checks it.
mod abi;
mod api;
mod backtrace;
mod error;
mod host_functions;
mod http;
mod inspect;
mod lifecycle;
mod routes;
mod state;
mod vm;

pub use abi::{AbiVersion, LogLevel, Status};
pub use api::builder::Builder;
pub use api::connection::{ConnectionBuilder, ConnectionId, ConnectionOutcome, OpenConnection};
pub use api::request::{OpenStream, Outcome, RequestBuilder};
pub use api::simulator::Simulator;
pub use error::Error;
pub use host_functions::table::documentation as abi_functions;
pub use http::headers::Headers;
pub use http::message::{Message, Response};
pub use inspect::{Inspection, Memory};
pub use lifecycle::runtime::StreamId;
pub use routes::header_match::HeaderMatch;
pub use routes::header_operations::AppendAction;
pub use routes::mirror::{Mirror, MirroredRequest};
pub use routes::route::Route;
pub use routes::selected_route::{RouteResponse, SelectedRoute};
pub use routes::table::{InvalidRoutes, RouteTable, RouteTableBuilder};
pub use routes::virtual_host::VirtualHost;
pub use state::callout::{GrpcCall, HttpCall};
pub use state::connection::ClosedBy;
pub use state::host_config::FailurePolicy;
pub use state::limit::Limit;
pub use state::local_response::LocalResponse;
pub use state::log::Log;
pub use state::metric::{Metric, Value};
pub use state::shared::Shared;
pub use state::stream::RoutedRequest;
pub use vm::module::Module;
