//! The filter in a real Envoy.

#[cfg(feature = "simulator")]
mod backtraces;
mod cases;
mod grpc;
mod guide;
mod harness;
mod metrics;
mod options;
mod render;
#[cfg(feature = "simulator")]
mod routes;
mod safety;
