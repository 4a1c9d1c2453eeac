//! An Envoy with one filter: its workers, their VMs, and the events that reach them.

use super::{connection, deferred, plugin, root};
use crate::error::Error;
use crate::http::message::Response;
use crate::state::context::{Context, Root};
use crate::state::fault::Faults;
use crate::state::host_config::{FailurePolicy, HostConfig};
use crate::state::log::Log;
use crate::state::metric::{MetricRegistry, Metrics};
use crate::state::shared::Shared;
use crate::state::stream::{RoutedRequest, Stream};
use crate::state::time::nanoseconds;
use crate::state::vm_state::State;
use crate::vm::instance::Vm;
use crate::vm::module::Module;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of `on_queue_ready` callbacks per event and VM: a guest that enqueues an item in each of them would
/// never end.
const MAX_QUEUE_CALLBACKS: usize = 10_000;

/// The minimum age of a failed VM before [`FailurePolicy::Reload`] replaces it.
const RELOAD_BACKOFF: Duration = Duration::from_secs(1);

/// An Envoy with one filter.
#[derive(Debug)]
pub(crate) struct Runtime {
    module: Module,
    config: Arc<HostConfig>,
    shared: Shared,
    pub metrics: MetricRegistry,
    /// The faults of VMs that start from now on.
    pub faults: Faults,
    /// The configuration in effect.
    configuration: Arc<[u8]>,
    random: Rng,
    pub now: u64,
    pub workers: Vec<Worker>,
    pub logs: Vec<Log>,
    /// The log messages since each open stream or connection began.
    open: BTreeMap<StreamId, Vec<Log>>,
}

/// A worker thread of Envoy.
#[derive(Debug)]
pub(crate) struct Worker {
    pub vm: Vm,
    /// The root context whose configuration is in effect.
    root: u32,
    /// Failed VMs that still have streams.
    failed: Vec<Vm>,
    /// The start of the VM, in nanoseconds since 1970.
    started_at: u64,
}

/// The id of an open stream. It is valid until [`OpenStream::finish`](crate::OpenStream::finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    worker: usize,
    vm: u64,
    pub(crate) context: u32,
}

// === impl Runtime ===

impl Runtime {
    /// Starts an Envoy: validates the configuration in a separate VM, then starts a VM on each worker.
    pub(crate) fn start(
        module: Module,
        config: HostConfig,
        shared: Shared,
        configuration: Vec<u8>,
        workers: usize,
        random: Rng,
        now: u64,
    ) -> Result<Runtime, Error> {
        let faults = Faults::of(config.faults.clone());
        let mut runtime = Runtime {
            module,
            config: Arc::new(config),
            shared,
            metrics: MetricRegistry::default(),
            faults,
            configuration: Arc::from(configuration),
            random,
            now,
            workers: Vec::new(),
            logs: Vec::new(),
            open: BTreeMap::new(),
        };
        runtime.validate(&Arc::clone(&runtime.configuration))?;
        for _ in 0..workers {
            let worker = runtime.new_worker()?;
            runtime.workers.push(worker);
        }
        runtime.take_logs();
        Ok(runtime)
    }

    /// Replaces the plugin configuration. See [`Simulator::reconfigure`](crate::Simulator::reconfigure).
    pub(crate) fn reconfigure(&mut self, configuration: Arc<[u8]>) -> Result<(), Error> {
        if let Some(why) = self.workers.iter().find_map(|worker| worker.vm.failed()) {
            return Err(Error::VmFailed { why: why.to_owned() });
        }
        let validated = self.validate(&configuration);
        if let Err(why) = &validated {
            self.logs.extend_from_slice(why.logs());
        }
        validated?;
        let mut result = Ok(());
        for worker in &mut self.workers {
            match plugin::start(&mut worker.vm, &configuration) {
                Ok(root) => {
                    let old = std::mem::replace(&mut worker.root, root);
                    root::retire(&mut worker.vm, old);
                }
                Err(why) => result = Err(why),
            }
        }
        if result.is_ok() {
            self.configuration = configuration;
        }
        self.finish_event();
        result
    }

    /// Replaces every VM. See [`Simulator::reload`](crate::Simulator::reload).
    pub(crate) fn reload(&mut self) -> Result<(), Error> {
        for index in 0..self.workers.len() {
            let new = self.new_worker()?;
            self.replace_worker(index, new);
        }
        self.finish_event();
        Ok(())
    }

    /// Begins a stream or connection on a worker.
    pub(crate) fn begin(&mut self, worker: usize, begin: impl FnOnce(&mut Vm, u32) -> u32) -> StreamId {
        let worker = worker.min(self.workers.len() - 1);
        self.reload_if_due(worker);
        let Worker { vm, root, .. } = &mut self.workers[worker];
        let context = begin(vm, *root);
        let id = StreamId { worker, vm: vm.state().vm, context };
        self.open.insert(id, Vec::new());
        self.finish_event();
        id
    }

    /// Runs an event of a stream or connection.
    pub(crate) fn event(&mut self, id: StreamId, event: impl FnOnce(&mut Vm, u32)) {
        if let Some(vm) = self.vm_mut(id) {
            event(vm, id.context);
        }
        self.finish_event();
    }

    /// Ends a stream or connection. Returns the value of `end` and the log messages since it began.
    pub(crate) fn end<T: Default>(&mut self, id: StreamId, end: impl FnOnce(&mut Vm, u32) -> T) -> (T, Vec<Log>) {
        let ended = self.vm_mut(id).map(|vm| end(vm, id.context)).unwrap_or_default();
        self.finish_event();
        let logs = self.open.remove(&id).unwrap_or_default();
        if let Some(worker) = self.workers.get_mut(id.worker) {
            worker.failed.retain(Vm::has_streams);
        }
        (ended, logs)
    }

    /// Routes a stream as Envoy's router does after the filter has forwarded the request. The received headers select the
    /// route, or the current ones if the filter cleared the route cache. Changes the upstream's response as the route
    /// does, or replaces it by Envoy's own.
    pub(crate) fn route(&mut self, id: StreamId, response: &mut Response) {
        let Some(routes) = self.config.routes.clone() else { return };
        let random = self.random.u64(..);
        let Some(stream) = self.vm_mut(id).and_then(|vm| vm.stream_mut(id.context)) else { return };
        let headers = if stream.route_cache_cleared { &stream.request.forwarded.headers } else { &stream.received };
        let Some(selected) = routes.select(headers, random) else {
            *response = Response::status_only(404);
            return;
        };
        let headers = &mut stream.request.forwarded.headers;
        let (mut cluster, mut mirrors) = (None, Vec::new());
        match selected.local_response() {
            Some(local) => *response = Response::status_only(local.status).body(local.body),
            None => {
                cluster = selected.cluster().map(<[u8]>::to_vec);
                selected.finalize_request(headers);
                mirrors = selected.mirrors(headers, random);
            }
        }
        selected.finalize_response(headers, &mut response.headers);
        let (virtual_host, route) = (selected.virtual_host().to_owned(), selected.route().name().to_owned());
        stream.routed = Some(RoutedRequest { virtual_host, route, cluster, mirrors });
    }

    /// Returns an open stream.
    pub(crate) fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.vm(id)?.state().contexts.get(&id.context)?.as_stream()
    }

    /// Returns the VM of a stream or connection.
    pub(crate) fn vm(&self, id: StreamId) -> Option<&Vm> {
        let worker = self.workers.get(id.worker)?;
        std::iter::once(&worker.vm).chain(&worker.failed).find(|vm| vm.state().vm == id.vm)
    }

    fn vm_mut(&mut self, id: StreamId) -> Option<&mut Vm> {
        let worker = self.workers.get_mut(id.worker)?;
        std::iter::once(&mut worker.vm).chain(&mut worker.failed).find(|vm| vm.state().vm == id.vm)
    }

    /// Returns the root contexts of all workers.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Root> {
        self.workers.iter().flat_map(|worker| worker.vm.state().contexts.values()).filter_map(Context::as_root)
    }

    /// Forgets the log messages so far.
    pub(crate) fn forget_logs(&mut self) {
        self.logs.clear();
    }

    /// Finishes an event: notifies root contexts of their queues, removes closed connections, and takes the logs.
    pub(crate) fn finish_event(&mut self) {
        for worker in &mut self.workers {
            let vm = worker.vm.state().vm;
            for _ in 0..MAX_QUEUE_CALLBACKS {
                let Some(ready) = self.shared.take_ready(vm) else { break };
                if worker.vm.root_mut(ready.root).is_some() {
                    let params = (ready.root, ready.token);
                    _ = worker.vm.call(ready.root, |callbacks| callbacks.queue_ready, params, |_, result| result);
                }
            }
            worker.failed.iter_mut().chain([&mut worker.vm]).for_each(connection::remove_closed);
        }
        self.take_logs();
    }

    /// Replaces a failed VM if the policy is [`FailurePolicy::Reload`] and the back-off has passed.
    fn reload_if_due(&mut self, index: usize) {
        let Some(worker) = self.workers.get(index) else { return };
        let is_due = self.now.saturating_sub(worker.started_at) >= nanoseconds(RELOAD_BACKOFF);
        if worker.vm.failed().is_none() || self.config.failure_policy != FailurePolicy::Reload || !is_due {
            return;
        }
        // If the new VM does not start, the next stream tries again.
        if let Ok(new) = self.new_worker() {
            self.replace_worker(index, new);
        }
    }

    /// Replaces a worker's VM. The old one is kept as long as it has streams.
    fn replace_worker(&mut self, index: usize, new: Worker) {
        let Some(worker) = self.workers.get_mut(index) else { return };
        let mut old = std::mem::replace(worker, new);
        worker.failed.append(&mut old.failed);
        if old.vm.has_streams() {
            worker.failed.push(old.vm);
        }
    }

    fn new_worker(&mut self) -> Result<Worker, Error> {
        let mut vm = self.new_vm(self.metrics.clone())?;
        let root = plugin::start(&mut vm, &self.configuration)?;
        Ok(Worker { vm, root, failed: Vec::new(), started_at: self.now })
    }

    /// Tries a configuration in a VM that serves no traffic.
    fn validate(&mut self, configuration: &Arc<[u8]>) -> Result<(), Error> {
        plugin::start(&mut self.new_vm(MetricRegistry::default())?, configuration).map(|_| ())
    }

    fn new_vm(&mut self, metrics: MetricRegistry) -> Result<Vm, Error> {
        let (config, shared) = (Arc::clone(&self.config), self.shared.clone());
        let (abi, functions) = (self.module.abi, Arc::clone(&self.module.functions));
        let (metrics, random) = (Metrics::new(metrics), self.random.fork());
        let mut state = State::new(config, shared, abi, functions, metrics, random, self.now);
        state.faults = self.faults.clone();
        Vm::start(&self.module, state, deferred::apply)
    }

    /// Moves new log messages to the list of all messages and to those of open streams.
    fn take_logs(&mut self) {
        let vms = self.workers.iter_mut().flat_map(|worker| worker.failed.iter_mut().chain([&mut worker.vm]));
        let new: Vec<_> = vms.flat_map(|vm| vm.state_mut().take_logs()).collect();
        self.open.values_mut().for_each(|logs| logs.extend_from_slice(&new));
        self.logs.extend(new);
    }
}
