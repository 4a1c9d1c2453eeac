//! Plain state of the host: what host functions read and write. Nothing here calls a guest.

pub(crate) mod callback;
pub(crate) mod callout;
pub(crate) mod connection;
pub(crate) mod context;
pub(crate) mod deferred;
pub(crate) mod fault;
pub(crate) mod host_config;
pub(crate) mod limit;
pub(crate) mod local_response;
pub(crate) mod log;
pub(crate) mod metric;
pub(crate) mod properties;
pub(crate) mod shared;
pub(crate) mod stream;
pub(crate) mod time;
pub(crate) mod trap_report;
pub(crate) mod vm_state;
