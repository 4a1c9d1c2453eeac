//! The lifecycle of plugins, streams and connections, in Envoy's order.

pub(crate) mod callouts;
pub(crate) mod connection;
mod deferred;
mod plugin;
mod root;
pub(crate) mod runtime;
pub(crate) mod stream;
mod time;
