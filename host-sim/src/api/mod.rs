//! The public API: builders, the simulator, open streams and connections, and their outcomes.

pub(crate) mod builder;
pub(crate) mod connection;
pub(crate) mod request;
pub(crate) mod simulator;
