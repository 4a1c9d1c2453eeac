//! The life of a plugin: start, configuration, its replacement, time, callouts, and the end of a VM, each as in Envoy.

use crate::connection;
use crate::error::Error;
use crate::headers::Headers;
use crate::host;
use crate::host::context::nanoseconds;
use crate::host::grpc::GrpcCall;
use crate::host::http_call::HttpCall;
use crate::host::log::Log;
use crate::host::metric::{Metric, Metrics, Registry};
use crate::host::property;
use crate::limit::Limit;
use crate::message::Response;
use crate::module::Module;
use crate::pipeline::{self, size};
use crate::request::{RequestBuilder, Routed, StreamId};
use crate::route::RouteTable;
use crate::shared::Shared;
use crate::state::{Context, FailurePolicy, Fault, Root, State, Surroundings, Tick};
use crate::vm::{Trap, Vm};
use crate::{AbiVersion, LogLevel, Status};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An Envoy that has one filter with one configuration.
///
/// Time stands still unless the test [moves](Simulator::advance) it, and random bytes follow from a seed, so that a run
/// can be repeated.
#[derive(Debug)]
pub struct Simulator {
    module: Module,
    surroundings: Arc<Surroundings>,
    shared: Shared,
    metrics: Registry,
    /// The configuration that serves.
    configuration: Arc<[u8]>,
    seed: u64,
    random: Rng,
    now: u64,
    pub(crate) workers: Vec<Worker>,
    logs: Vec<Log>,
    /// What was logged since each open stream or connection began, until it ends.
    open: BTreeMap<StreamId, Vec<Log>>,
}

/// A worker thread of Envoy's.
#[derive(Debug)]
pub(crate) struct Worker {
    pub vm: Vm,
    /// The root context whose configuration serves.
    pub root: u32,
    /// VMs that died while there were streams on them.
    dead: Vec<Vm>,
    /// When the VM began, in nanoseconds since 1970.
    began: u64,
}

/// What a [`Simulator`] starts with.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    module: Module,
    surroundings: Surroundings,
    shared: Shared,
    configuration: Vec<u8>,
    workers: usize,
    seed: u64,
    now: SystemTime,
}

// === impl Builder ===

impl Builder {
    /// The plugin's configuration: what `on_configure` reads. Empty unless set.
    pub fn configuration(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.configuration = configuration.as_ref().to_vec();
        self
    }

    /// The VM's configuration: what `on_vm_start` reads. Empty unless set.
    pub fn vm_configuration(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.surroundings.vm_configuration = configuration.as_ref().to_vec();
        self
    }

    /// A property by its path, in the encoding that Envoy gives it: text as it is, integers as 8 bytes little-endian.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.surroundings.properties.insert(property::path(path), value.as_ref().to_vec());
        self
    }

    /// A string in the node's metadata: the property `xds.node.metadata.KEY`.
    pub fn node_metadata(self, key: &str, value: &str) -> Self {
        self.property(&["xds", "node", "metadata", key], value)
    }

    /// The VM's id, by which it shares data and queues. Empty unless set.
    pub fn vm_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.surroundings.vm_id);
        self
    }

    /// What is shared with other simulators; nothing unless set.
    pub fn shared(mut self, shared: &Shared) -> Self {
        self.shared = shared.clone();
        self
    }

    /// How many workers there are, each with a VM of its own; one unless set, and at least one.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// What becomes of streams once the VM is dead: [`FailurePolicy::Closed`] unless set.
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.surroundings.failure_policy = policy;
        self
    }

    /// The clusters that callouts may name; any unless set.
    pub fn clusters(mut self, clusters: &[&str]) -> Self {
        self.surroundings.clusters = Some(clusters.iter().map(|&cluster| cluster.to_owned()).collect());
        self
    }

    /// Where requests go, so that a test can tell: [`Outcome::route`](crate::Outcome::route). Nowhere unless set.
    pub fn routes(mut self, routes: RouteTable) -> Self {
        self.surroundings.routes = Some(Arc::new(routes));
        self
    }

    /// A foreign function by its name: from the arguments, as bytes, to the results, or why not.
    pub fn foreign_function(
        mut self,
        name: &str,
        function: impl Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync + 'static,
    ) -> Self {
        self.surroundings.foreign.insert(name.to_owned(), Arc::new(function));
        self
    }

    /// The level of Envoy's logger: what is less serious is left out. Nothing is unless set.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.surroundings.log_level = Some(level);
        self
    }

    /// How much one callback may do before it traps, in units of the interpreter's, about one an instruction, and some for
    /// each call, which a backtrace needs; endlessly much unless set.
    pub fn fuel(mut self, units: u64) -> Self {
        self.surroundings.fuel = Some(units);
        self
    }

    /// How large a VM's memories and tables may grow together, in bytes; 4 GiB a memory unless set. Growth beyond the limit
    /// fails, and a trap that follows is reported as [`Limit::Memory`].
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.surroundings.memory = Some(bytes);
        self
    }

    /// How many bytes of log messages the filter may write in one event, such as a part of a request, before it traps; an
    /// empty message counts too. Unlimited unless set.
    pub fn log_limit(mut self, bytes: usize) -> Self {
        self.surroundings.log_bytes = Some(bytes);
        self
    }

    /// How many bytes the filter may pass to host functions (headers, bodies, shared data, log messages) in one event
    /// before it traps. Unlimited unless set.
    pub fn host_limit(mut self, bytes: usize) -> Self {
        self.surroundings.host_bytes = Some(bytes);
        self
    }

    /// An environment variable of the VM. Unlike in Envoy, they keep their order.
    pub fn environment_variable(mut self, name: &str, value: &str) -> Self {
        self.surroundings.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What random bytes follow from; 0 unless set. When a test fails that has a simulator, its seed is printed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What time it is; the beginning of 2026 (UTC) unless set.
    pub fn time(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// Starts the filter as Envoy does: tries the configuration in a VM that serves nobody, then starts one on each
    /// worker.
    ///
    /// # Errors
    /// [`Error::Unserved`], [`Error::Invalid`], [`Error::Refused`], [`Error::Trapped`] or [`Error::Limit`].
    pub fn start(self) -> Result<Simulator, Error> {
        let Builder { module, surroundings, shared, configuration, workers, seed, now } = self;
        let now = nanoseconds(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        let mut simulator = Simulator {
            module,
            surroundings: Arc::new(surroundings),
            shared,
            metrics: Registry::default(),
            configuration: Arc::from(configuration),
            seed,
            random: Rng::with_seed(seed),
            now,
            workers: Vec::new(),
            logs: Vec::new(),
            open: BTreeMap::new(),
        };
        simulator.canary(&Arc::clone(&simulator.configuration))?;
        for _ in 0..workers {
            let worker = simulator.new_worker()?;
            simulator.workers.push(worker);
        }
        simulator.take_logs();
        Ok(simulator)
    }
}

// === impl Simulator ===

impl Simulator {
    /// A simulator of this module.
    pub fn builder(module: &Module) -> Builder {
        Builder {
            module: module.clone(),
            surroundings: Surroundings::default(),
            shared: Shared::default(),
            configuration: Vec::new(),
            workers: 1,
            seed: 0,
            now: UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        }
    }

    /// A request: `GET http://localhost/` unless said otherwise.
    pub fn request(&mut self) -> RequestBuilder<'_> {
        RequestBuilder::new(self)
    }

    /// Replaces the plugin's configuration as Envoy does: tries it in a VM that serves nobody; if it is good, gives it
    /// to a new root context in each VM that serves. The old root context ends when its last stream has.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Trapped`]: the old configuration serves on, and no VM that serves has seen the
    /// new one. [`Error::Dead`] after a trap.
    pub fn reconfigure(&mut self, configuration: impl AsRef<[u8]>) -> Result<(), Error> {
        if let Some(why) = self.workers.iter().find_map(|worker| worker.vm.dead()) {
            return Err(Error::Dead { why: why.to_owned() });
        }
        let configuration: Arc<[u8]> = Arc::from(configuration.as_ref());
        let tried = self.canary(&configuration);
        if let Err(why) = &tried {
            self.logs.extend_from_slice(why.logs());
        }
        tried?;
        let mut result = Ok(());
        for worker in &mut self.workers {
            match plug_in(&mut worker.vm, &configuration) {
                Ok(root) => {
                    let old = std::mem::replace(&mut worker.root, root);
                    if let Some(old) = pipeline::root(&mut worker.vm, old) {
                        old.retired = true;
                    }
                    pipeline::retire(&mut worker.vm, old);
                }
                Err(why) => result = Err(why),
            }
        }
        if result.is_ok() {
            self.configuration = configuration;
        }
        self.after();
        result
    }

    /// Starts a new VM in place of each dead one, with the configuration that served last, as Envoy does after a trap
    /// under [`FailurePolicy::Reload`].
    ///
    /// # Errors
    /// Those of [`Builder::start`].
    pub fn reload(&mut self) -> Result<(), Error> {
        for place in 0..self.workers.len() {
            let new = self.new_worker()?;
            let Some(worker) = self.workers.get_mut(place) else { break };
            let mut old = std::mem::replace(worker, new);
            worker.dead.append(&mut old.dead);
            if old.vm.has_streams() {
                worker.dead.push(old.vm);
            }
        }
        self.after();
        Ok(())
    }

    /// Lets time pass: ticks come, and callouts that nobody answered time out, each when its time is there.
    pub fn advance(&mut self, time: Duration) {
        let until = self.now.saturating_add(nanoseconds(time));
        while let Some((at, event)) = self.next_event(until) {
            self.set_now(at);
            match event {
                Event::Tick(worker, root) => self.tick(worker, root),
                Event::Timeout(token) => {
                    // As Envoy answers for an upstream that doesn't.
                    let text = "upstream request timeout";
                    let response = Response::status_only(504)
                        .header("content-length", text.len().to_string())
                        .header("content-type", "text/plain");
                    self.answer_http_call(token, response.body(text));
                }
            }
        }
        self.set_now(until);
    }

    /// The HTTP callouts that nobody has answered yet, oldest first.
    #[must_use]
    pub fn http_calls(&self) -> Vec<HttpCall> {
        let mut calls: Vec<_> = self.roots().flat_map(|root| root.http_calls.values().cloned()).collect();
        calls.sort_by_key(|call| (call.made, call.token));
        calls
    }

    /// Answers an HTTP callout. False if there is none of this token.
    pub fn answer_http_call(&mut self, token: u32, response: Response) -> bool {
        let (headers, body, trailers) = (response.headers.len(), response.body.len(), response.trailers.len());
        self.call_back(token, Some(response), None, [headers, body, trailers])
    }

    /// Ends an HTTP callout without an answer: its connection broke. False if there is none of this token.
    pub fn fail_http_call(&mut self, token: u32) -> bool {
        self.call_back(token, None, Some((Status::BrokenConnection as u32, "reset".to_owned())), [0; 3])
    }

    /// The gRPC calls and streams that aren't closed, oldest of each kind first.
    #[must_use]
    pub fn grpc_calls(&self) -> Vec<GrpcCall> {
        self.roots().flat_map(|root| root.grpc_calls.values().cloned()).collect()
    }

    /// Gives the filter the initial metadata of a gRPC stream. False if there is none of this token.
    pub fn grpc_initial_metadata(&mut self, token: u32, metadata: Headers) -> bool {
        let count = count(metadata.len());
        self.grpc(
            token,
            |root| root.grpc_initial_metadata = Some(metadata),
            |vm, root| {
                vm.call(root, |callbacks| callbacks.grpc_receive_initial_metadata, (root, token, count)).map(|_| ())
            },
        )
    }

    /// Gives the filter a message of a gRPC call or stream; a call is over with it. False if there is none of this
    /// token.
    pub fn grpc_message(&mut self, token: u32, message: impl AsRef<[u8]>) -> bool {
        let message = message.as_ref().to_vec();
        let length = size(&message);
        let is_call = self.grpc_calls().iter().any(|call| call.token == token && !call.is_stream);
        let found = self.grpc(
            token,
            |root| root.grpc_message = Some(message),
            |vm, root| vm.call(root, |callbacks| callbacks.grpc_receive, (root, token, length)).map(|_| ()),
        );
        if is_call {
            self.forget_grpc(token);
        }
        found
    }

    /// Gives the filter the trailing metadata of a gRPC stream. False if there is none of this token.
    pub fn grpc_trailing_metadata(&mut self, token: u32, metadata: Headers) -> bool {
        let count = count(metadata.len());
        self.grpc(
            token,
            |root| root.grpc_trailing_metadata = Some(metadata),
            |vm, root| {
                vm.call(root, |callbacks| callbacks.grpc_receive_trailing_metadata, (root, token, count)).map(|_| ())
            },
        )
    }

    /// Closes a gRPC call or stream from the other side, with a gRPC status. False if there is none of this token.
    pub fn grpc_close(&mut self, token: u32, status: u32, message: &str) -> bool {
        let ended = (status, message.to_owned());
        let found = self.grpc(
            token,
            |root| root.status = ended,
            |vm, root| vm.call(root, |callbacks| callbacks.grpc_close, (root, token, status)).map(|_| ()),
        );
        self.forget_grpc(token);
        found
    }

    /// Makes a host function, such as `proxy_get_property`, answer a status instead of doing anything: so many times, or
    /// always. For WASI's functions the status is theirs.
    ///
    /// # Panics
    /// If there is no such host function: a test would pass for nothing.
    #[track_caller]
    pub fn fail(&mut self, function: &str, status: u32, times: Option<u32>) {
        let is_served =
            |abi| ["env", "wasi_snapshot_preview1"].iter().any(|module| host::serves(abi, module, function));
        let is_there = [AbiVersion::V0_1_0, AbiVersion::V0_2_1].into_iter().any(is_served);
        assert!(is_there, "there is no host function {function:?} to be made to fail");
        for worker in &mut self.workers {
            let fault = Fault { function: function.to_owned(), status, left: times };
            worker.vm.state_mut().faults.push(fault);
        }
    }

    /// Ends what [`fail`](Self::fail) began, for all functions.
    pub fn mend(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.vm.state_mut().faults.clear());
    }

    /// Tells root contexts of what other simulators put into their queues. What this one's own VMs put there they have
    /// been told already, but for a filter that goes on and on as it is told: then each event brings it 10,000 more.
    pub fn deliver(&mut self) {
        self.after();
    }

    /// Whether a VM died by a trap.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.workers.iter().any(|worker| worker.vm.dead().is_some())
    }

    /// Returns the limit that ended a VM, if one did.
    #[must_use]
    pub fn exceeded_limit(&self) -> Option<Limit> {
        self.workers.iter().find_map(|worker| worker.vm.state().exceeded)
    }

    /// Everything that was logged, oldest first. Of a configuration that is tried before it is used, only what was
    /// logged when it failed.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// Forgets what was logged so far; [outcomes](crate::Outcome) keep theirs. A run that never ends would else fill the
    /// memory with it.
    pub fn forget_logs(&mut self) {
        self.logs.clear();
    }

    /// A metric by its name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<Metric> {
        self.metrics().into_iter().find(|(other, _)| *other == name).map(|(_, metric)| metric)
    }

    /// All metrics, by name within each type.
    #[must_use]
    pub fn metrics(&self) -> Vec<(String, Metric)> {
        self.metrics.all()
    }

    /// How many root contexts the VMs have together: one each, unless an old one isn't done.
    #[must_use]
    pub fn root_contexts(&self) -> usize {
        self.roots().count()
    }

    /// The size of the VMs' memories in bytes. It never shrinks, so that what it grows by in many rounds of the same is
    /// a leak.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.workers.iter().map(|worker| worker.vm.memory_size()).sum()
    }

    /// Begins a stream or a connection.
    pub(crate) fn begin(&mut self, worker: usize, begin: impl FnOnce(&mut Vm, u32) -> u32) -> StreamId {
        let worker = worker.min(self.workers.len() - 1);
        self.revive(worker);
        let Worker { vm, root, .. } = &mut self.workers[worker];
        let context = begin(vm, *root);
        let id = StreamId { worker, vm: vm.state().vm, context };
        self.open.insert(id, Vec::new());
        self.after();
        id
    }

    /// Lets something happen to a stream or a connection.
    pub(crate) fn happen(&mut self, id: StreamId, event: impl FnOnce(&mut Vm, u32)) {
        if let Some(vm) = self.vm_mut(id) {
            event(vm, id.context);
        }
        self.after();
    }

    /// Finds a stream's route as Envoy's router does, once the filter has let the request go: by the headers as they came,
    /// or as they are now if the filter has it looked for again.
    pub(crate) fn route(&mut self, id: StreamId, response: &mut Response) {
        let Some(routes) = self.surroundings.routes.clone() else { return };
        let random = self.random.u64(..);
        let Some(vm) = self.vm_mut(id) else { return };
        let Some(stream) = pipeline::stream(vm, id.context) else { return };
        let now = if stream.route_cache_cleared { &stream.request.passed.headers } else { &stream.received };
        let Some(picked) = routes.pick(now, random) else {
            *response = Response::status_only(404);
            return;
        };
        let headers = &mut stream.request.passed.headers;
        let (mut cluster, mut mirrors) = (None, Vec::new());
        match picked.local_response() {
            Some(local) => *response = Response::status_only(local.status).body(local.body),
            None => {
                cluster = picked.cluster().map(<[u8]>::to_vec);
                picked.finalize_request(headers);
                mirrors = picked.mirrors(headers, random);
            }
        }
        picked.finalize_response(headers, &mut response.headers);
        let (virtual_host, route) = (picked.virtual_host().to_owned(), picked.route().name().to_owned());
        stream.routed = Some(Routed { virtual_host, route, cluster, mirrors });
    }

    /// Ends a stream or a connection: what it was, and what was logged since it began.
    pub(crate) fn finish<T: Default>(&mut self, id: StreamId, end: impl FnOnce(&mut Vm, u32) -> T) -> (T, Vec<Log>) {
        let ended = self.vm_mut(id).map(|vm| end(vm, id.context)).unwrap_or_default();
        self.after();
        let logs = self.open.remove(&id).unwrap_or_default();
        if let Some(worker) = self.workers.get_mut(id.worker) {
            worker.dead.retain(Vm::has_streams);
        }
        (ended, logs)
    }

    /// The VM of a stream or a connection.
    pub(crate) fn vm(&self, id: StreamId) -> Option<&Vm> {
        let worker = self.workers.get(id.worker)?;
        std::iter::once(&worker.vm).chain(&worker.dead).find(|vm| vm.state().vm == id.vm)
    }

    fn vm_mut(&mut self, id: StreamId) -> Option<&mut Vm> {
        let worker = self.workers.get_mut(id.worker)?;
        std::iter::once(&mut worker.vm).chain(&mut worker.dead).find(|vm| vm.state().vm == id.vm)
    }

    fn roots(&self) -> impl Iterator<Item = &Root> {
        self.workers.iter().flat_map(|worker| worker.vm.state().contexts.values()).filter_map(|context| match context {
            Context::Root(root) => Some(&**root),
            Context::Stream(_) | Context::Connection(_) => None,
        })
    }

    /// A dead VM is replaced where the policy says so and it is a second old.
    fn revive(&mut self, place: usize) {
        let Some(worker) = self.workers.get(place) else { return };
        let is_due = self.now.saturating_sub(worker.began) >= nanoseconds(Duration::from_secs(1));
        if worker.vm.dead().is_none() || self.surroundings.failure_policy != FailurePolicy::Reload || !is_due {
            return;
        }
        // One that doesn't start leaves things as they are: the next request tries again.
        if let Ok(mut new) = self.new_worker() {
            let worker = &mut self.workers[place];
            new.dead = std::mem::take(&mut worker.dead);
            let old = std::mem::replace(worker, new);
            if old.vm.has_streams() {
                worker.dead.push(old.vm);
            }
        }
    }

    fn new_worker(&mut self) -> Result<Worker, Error> {
        let state = self.new_state(self.metrics.clone());
        let mut vm = Vm::start(&self.module, state)?;
        let root = plug_in(&mut vm, &self.configuration)?;
        Ok(Worker { vm, root, dead: Vec::new(), began: self.now })
    }

    /// Tries a configuration in a VM of its own, which is thrown away.
    fn canary(&mut self, configuration: &Arc<[u8]>) -> Result<(), Error> {
        let state = self.new_state(Registry::default());
        plug_in(&mut Vm::start(&self.module, state)?, configuration).map(|_| ())
    }

    fn new_state(&mut self, metrics: Registry) -> State {
        let (surroundings, shared) = (Arc::clone(&self.surroundings), self.shared.clone());
        State::new(surroundings, shared, &self.module, Metrics::new(metrics), self.random.fork(), self.now)
    }

    /// What follows from what just happened: root contexts are told of their queues, connections that are closed are
    /// forgotten.
    fn after(&mut self) {
        for worker in &mut self.workers {
            let vm = worker.vm.state().vm;
            for _ in 0..MOST_READY {
                let Some(ready) = self.shared.take_ready(vm) else { break };
                let (root, token) = (ready.root, ready.token);
                if pipeline::root(&mut worker.vm, root).is_some() {
                    _ = worker.vm.call(root, |callbacks| callbacks.queue_ready, (root, token));
                    pipeline::settle(&mut worker.vm);
                }
            }
            worker.dead.iter_mut().chain([&mut worker.vm]).for_each(connection::sweep);
        }
        self.take_logs();
    }

    /// Takes what was logged since it was last taken into the list of all logs, and into those of open streams.
    fn take_logs(&mut self) {
        let vms = self.workers.iter_mut().flat_map(|worker| worker.dead.iter_mut().chain([&mut worker.vm]));
        let new: Vec<_> = vms.flat_map(|vm| vm.state_mut().take_logs()).collect();
        self.open.values_mut().for_each(|logs| logs.extend_from_slice(&new));
        self.logs.extend(new);
    }

    fn set_now(&mut self, now: u64) {
        self.now = now;
        self.workers.iter_mut().for_each(|worker| worker.vm.state_mut().now = now);
    }

    /// What happens next, until then.
    fn next_event(&self, until: u64) -> Option<(u64, Event)> {
        let mut next: Option<(u64, Event)> = None;
        let mut consider = |at: u64, event: Event| {
            if at <= until && next.as_ref().is_none_or(|(other, _)| at < *other) {
                next = Some((at, event));
            }
        };
        for (place, worker) in self.workers.iter().enumerate().filter(|(_, worker)| worker.vm.dead().is_none()) {
            for (&id, context) in &worker.vm.state().contexts {
                let Context::Root(root) = context else { continue };
                if let Some(tick) = root.tick {
                    consider(tick.next, Event::Tick(place, id));
                }
                for call in root.http_calls.values() {
                    if let Some(timeout) = call.timeout {
                        consider(call.made.saturating_add(nanoseconds(timeout)), Event::Timeout(call.token));
                    }
                }
            }
        }
        next
    }

    fn tick(&mut self, place: usize, id: u32) {
        let Some(worker) = self.workers.get_mut(place) else { return };
        if let Some(root) = pipeline::root(&mut worker.vm, id) {
            // At the end of time there is no next one.
            root.tick = root
                .tick
                .and_then(|Tick { period, next }| Some(Tick { period, next: next.checked_add(nanoseconds(period))? }));
        }
        _ = worker.vm.call(id, |callbacks| callbacks.tick, id);
        pipeline::settle(&mut worker.vm);
        self.after();
    }

    /// Calls the root context back whose HTTP callout has this token.
    fn call_back(
        &mut self,
        token: u32,
        response: Option<Response>,
        status: Option<(u32, String)>,
        sizes: [usize; 3],
    ) -> bool {
        let has = |context: &Context| matches!(context, Context::Root(root) if root.http_calls.contains_key(&token));
        let Some((place, id)) = self.find_root(has) else { return false };
        let vm = &mut self.workers[place].vm;
        if let Some(root) = pipeline::root(vm, id) {
            root.http_calls.remove(&token);
            root.http_response = response;
            // Else that of the last callout which has one stays.
            if let Some(status) = status {
                root.status = status;
            }
        }
        let [headers, body, trailers] = sizes.map(count);
        _ = vm.call(id, |callbacks| callbacks.http_call_response, (id, token, headers, body, trailers));
        if let Some(root) = pipeline::root(vm, id) {
            root.http_response = None;
            root.status.1.clear();
        }
        pipeline::settle(vm);
        self.after();
        true
    }

    /// Calls the root context back that has the gRPC callout of this token.
    fn grpc(
        &mut self,
        token: u32,
        give: impl FnOnce(&mut Root),
        call: impl FnOnce(&mut Vm, u32) -> Result<(), Trap>,
    ) -> bool {
        let has = |context: &Context| matches!(context, Context::Root(root) if root.grpc_calls.contains_key(&token));
        let Some((place, id)) = self.find_root(has) else { return false };
        let vm = &mut self.workers[place].vm;
        if let Some(root) = pipeline::root(vm, id) {
            give(root);
        }
        _ = call(vm, id);
        if let Some(root) = pipeline::root(vm, id) {
            (root.grpc_initial_metadata, root.grpc_message, root.grpc_trailing_metadata) = (None, None, None);
            root.status.1.clear();
        }
        pipeline::settle(vm);
        self.after();
        true
    }

    fn forget_grpc(&mut self, token: u32) {
        for worker in &mut self.workers {
            for context in worker.vm.state_mut().contexts.values_mut() {
                if let Context::Root(root) = context {
                    root.grpc_calls.remove(&token);
                }
            }
        }
    }

    fn find_root(&self, is: impl Fn(&Context) -> bool) -> Option<(usize, u32)> {
        self.workers.iter().enumerate().find_map(|(place, worker)| {
            let (id, _) = worker.vm.state().contexts.iter().find(|(_, context)| is(context))?;
            Some((place, *id))
        })
    }
}

/// A test that fails says how to repeat it.
impl Drop for Simulator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            eprintln!(
                "host-sim: random bytes followed from seed {seed}; `.seed({seed})` before `.start()` repeats them"
            );
        }
    }
}

/// How often a VM is told of its queues at once: one that puts something into them each time would be told for ever.
const MOST_READY: usize = 10_000;

/// What comes by itself as time passes.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Of a worker's root context.
    Tick(usize, u32),
    /// Of an HTTP callout.
    Timeout(u32),
}

/// Makes a root context and gives it a configuration.
fn plug_in(vm: &mut Vm, configuration: &Arc<[u8]>) -> Result<u32, Error> {
    let root = vm.next_context();
    let vm_size = size(&vm.state().surroundings.vm_configuration);
    vm.state_mut().contexts.insert(root, Context::Root(Box::default()));
    let mut start = || {
        // It can be read in two callbacks, and at no other time: `on_vm_start` is for the VM's.
        vm.state_mut().plugin_configuration = Some(Arc::clone(configuration));
        vm.call(root, |callbacks| callbacks.context_create, (root, 0))?;
        vm.state_mut().plugin_configuration = None;
        // A module that doesn't export a callback is content.
        if vm.call(root, |callbacks| callbacks.vm_start, (root, vm_size))? == Some(0) {
            return Ok(Some(vm.callbacks.vm_start.name));
        }
        vm.state_mut().plugin_configuration = Some(Arc::clone(configuration));
        if vm.call(root, |callbacks| callbacks.configure, (root, size(configuration)))? == Some(0) {
            return Ok(Some(vm.callbacks.configure.name));
        }
        Ok(None)
    };
    let started: Result<Option<&'static str>, Trap> = start();
    vm.state_mut().plugin_configuration = None;
    pipeline::settle(vm);
    match started {
        Ok(None) => Ok(root),
        Ok(Some(callback)) => {
            if let Some(refused) = pipeline::root(vm, root) {
                refused.retired = true;
            }
            pipeline::retire(vm, root);
            Err(Error::Refused { callback, logs: vm.state().logs.clone() })
        }
        Err(Trap { callback, why }) => {
            Err(Error::Trapped { callback, why, limit: vm.state().exceeded, logs: vm.state().logs.clone() })
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
