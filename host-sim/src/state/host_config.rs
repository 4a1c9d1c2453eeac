//! Host configuration, shared by all VMs of a simulator.

use super::fault::Fault;
use crate::abi::{LogLevel, Status};
use crate::routes::table::RouteTable;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Host configuration shared by all VMs of a simulator.
#[derive(Clone, Default)]
pub(crate) struct HostConfig {
    /// Values of properties by encoded path.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Environment variables of the VM.
    pub environment: Vec<(String, String)>,
    /// The VM configuration.
    pub vm_configuration: Vec<u8>,
    /// The VM id. VMs with the same id share data and queues.
    pub vm_id: String,
    /// The level of Envoy's logger. Messages below it are dropped.
    pub log_level: Option<LogLevel>,
    /// The clusters that callouts may name, or `None` for any.
    pub clusters: Option<BTreeSet<String>>,
    /// What happens to streams after the VM failed.
    pub failure_policy: FailurePolicy,
    /// The fuel limit of a callback, in units of the interpreter.
    pub fuel: Option<u64>,
    /// The limit of memories and tables, in bytes.
    pub memory: Option<usize>,
    /// The limit of log messages per event, in bytes.
    pub log_bytes: Option<usize>,
    /// The limit of bytes that the guest passes to host functions per event.
    pub host_bytes: Option<usize>,
    /// The route table, if requests are routed.
    pub routes: Option<Arc<RouteTable>>,
    /// The faults of each VM from its start.
    pub faults: Vec<Fault>,
    /// Foreign functions by name.
    pub foreign_functions: BTreeMap<String, ForeignFunction>,
}

/// What happens to streams after the VM failed: Envoy's `failure_policy`. Where an HTTP stream receives 503, a TCP
/// connection is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// `FAIL_CLOSED`: all later streams receive 503.
    #[default]
    Closed,
    /// `FAIL_OPEN`: later streams bypass the filter. Streams that were open when the VM failed receive 503.
    Open,
    /// `FAIL_RELOAD`: streams receive 503 until one begins at least 1 s after the VM started. That one gets a new VM.
    Reload,
}

/// A foreign function that the test provides.
pub(crate) type ForeignFunction = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync>;

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("properties", &self.properties)
            .field("environment", &self.environment)
            .field("vm_id", &self.vm_id)
            .finish_non_exhaustive()
    }
}
