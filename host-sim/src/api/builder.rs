//! Builds a simulator.

use super::simulator::{Simulator, fault};
use crate::abi::{LogLevel, Status, property_path};
use crate::error::Error;
use crate::lifecycle::runtime::Runtime;
use crate::routes::table::RouteTable;
use crate::state::host_config::{FailurePolicy, HostConfig};
use crate::state::shared::Shared;
use crate::state::time::nanoseconds;
use crate::vm::module::Module;
use fastrand::Rng;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The default time: the beginning of 2026 (UTC), in seconds since 1970.
const DEFAULT_TIME: Duration = Duration::from_secs(1_767_225_600);

/// Builds a [`Simulator`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    module: Module,
    config: HostConfig,
    shared: Shared,
    configuration: Vec<u8>,
    workers: usize,
    seed: u64,
    now: SystemTime,
}

// === impl Builder ===

impl Builder {
    /// Sets the plugin configuration, which `on_configure` reads. Empty by default.
    pub fn configuration(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.configuration = configuration.as_ref().to_vec();
        self
    }

    /// Sets the VM configuration, which `on_vm_start` reads. Empty by default.
    pub fn vm_configuration(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.config.vm_configuration = configuration.as_ref().to_vec();
        self
    }

    /// Sets a property. `value` is in Envoy's encoding: strings as UTF-8, integers as 8 bytes, little-endian.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.config.properties.insert(property_path(path), value.as_ref().to_vec());
        self
    }

    /// Sets a string in the node metadata: the property `xds.node.metadata.KEY`.
    pub fn node_metadata(self, key: &str, value: &str) -> Self {
        self.property(&["xds", "node", "metadata", key], value)
    }

    /// Sets the VM id. VMs with the same id share data and queues. Empty by default.
    pub fn vm_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.config.vm_id);
        self
    }

    /// Sets the shared data and queues, to share them with other simulators. By default, each simulator has its own.
    pub fn shared(mut self, shared: &Shared) -> Self {
        self.shared = shared.clone();
        self
    }

    /// Sets the number of workers, each with its own VM. At least 1; defaults to 1.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Sets what happens to streams after the VM has failed. Defaults to [`FailurePolicy::Closed`].
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.config.failure_policy = policy;
        self
    }

    /// Sets the clusters that callouts may name. By default, callouts may name any cluster.
    pub fn clusters(mut self, clusters: &[&str]) -> Self {
        self.config.clusters = Some(clusters.iter().map(|&cluster| cluster.to_owned()).collect());
        self
    }

    /// Sets the route table. [`Outcome::route`](crate::Outcome::route) then contains the route of a request. By default,
    /// requests are not routed.
    pub fn routes(mut self, routes: RouteTable) -> Self {
        self.config.routes = Some(Arc::new(routes));
        self
    }

    /// Adds a foreign function, which receives its arguments as bytes, and returns its results as bytes or a status.
    pub fn foreign_function(
        mut self,
        name: &str,
        function: impl Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync + 'static,
    ) -> Self {
        self.config.foreign_functions.insert(name.to_owned(), Arc::new(function));
        self
    }

    /// Sets the level of Envoy's logger. Messages below it are dropped. Defaults to `trace`.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.config.log_level = Some(level);
        self
    }

    /// Limits the fuel of each callback. A callback that exceeds the limit traps. An instruction takes about one unit; a
    /// function call takes a few more units, for backtraces. Unlimited by default.
    pub fn fuel(mut self, units: u64) -> Self {
        self.config.fuel = Some(units);
        self
    }

    /// Limits the total size of a VM's memories and tables, in bytes. Growth beyond the limit fails; if the filter then
    /// traps, the trap is reported as [`Limit::Memory`](crate::Limit::Memory). Defaults to 4 GiB per memory.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.config.memory = Some(bytes);
        self
    }

    /// Limits the log messages of the filter in one event, such as a part of a request, in bytes. The filter traps when it
    /// exceeds the limit. An empty message counts too. Unlimited by default.
    pub fn log_limit(mut self, bytes: usize) -> Self {
        self.config.log_bytes = Some(bytes);
        self
    }

    /// Limits the bytes that the filter passes to host functions (headers, bodies, shared data, log messages) in one event.
    /// The filter traps when it exceeds the limit. Unlimited by default.
    pub fn host_limit(mut self, bytes: usize) -> Self {
        self.config.host_bytes = Some(bytes);
        self
    }

    /// Adds an environment variable of the VM. Unlike in Envoy, variables keep their order.
    pub fn environment_variable(mut self, name: &str, value: &str) -> Self {
        self.config.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes a host function return a status without any effect, as [`Simulator::inject_fault`] does, but in each VM from
    /// its start: `_initialize`, the configuration, its validation, and VMs that replace a failed one.
    ///
    /// # Panics
    /// If no host function has this name, or the function returns nothing: the fault would never happen.
    #[track_caller]
    pub fn fault(mut self, function: &str, status: u32, times: Option<u32>) -> Self {
        self.config.faults.push(fault(0, function, status, times));
        self
    }

    /// Sets the seed of random bytes. Defaults to 0. When a test with a simulator panics, the seed is printed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the time. Defaults to the beginning of 2026 (UTC).
    pub fn time(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// Starts the filter as Envoy does: validates the configuration in a VM that serves no traffic, then starts a VM on
    /// each worker.
    ///
    /// # Errors
    /// [`Error::UnknownImports`], [`Error::Invalid`], [`Error::Refused`], [`Error::Trapped`] or [`Error::Limit`].
    pub fn start(self) -> Result<Simulator, Error> {
        let Builder { module, config, shared, configuration, workers, seed, now } = self;
        let now = nanoseconds(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        let random = Rng::with_seed(seed);
        let runtime = Runtime::start(module, config, shared, configuration, workers, random, now)?;
        Ok(Simulator { runtime, seed })
    }
}

// === impl Simulator ===

impl Simulator {
    /// Returns a builder of a simulator that runs a module.
    pub fn builder(module: &Module) -> Builder {
        Builder {
            module: module.clone(),
            config: HostConfig::default(),
            shared: Shared::default(),
            configuration: Vec::new(),
            workers: 1,
            seed: 0,
            now: UNIX_EPOCH + DEFAULT_TIME,
        }
    }
}
