//! The filter in a real Envoy.

#[cfg(feature = "simulator")]
mod backtraces;
mod cases;
mod enabled_hosts;
mod grpc;
mod guide;
mod harness;
mod hostile;
mod metrics;
mod options;
mod render;
mod request_headers;
#[cfg(feature = "simulator")]
mod restricted;
#[cfg(feature = "simulator")]
mod routes;
mod safety;
mod timeouts;
mod transparency;
mod wiring;
