//! What the host knows of one VM, whichever family of host functions asks.

use crate::abi::StreamType;
use crate::backtrace::{CallStack, Functions};
use crate::connection::Connection;
use crate::headers::Headers;
use crate::host::grpc::GrpcCall;
use crate::host::http_call::HttpCall;
use crate::host::local_response::LocalResponse;
use crate::host::log::Log;
use crate::host::metric::Metrics;
use crate::limit::{Limit, MemoryLimiter};
use crate::message::Message;
use crate::module::Module;
use crate::request::Routed;
use crate::route::RouteTable;
use crate::shared::Shared;
use crate::vm::{Callback, Trap};
use crate::{AbiVersion, LogLevel};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use wasmi::Memory;

/// What each log message counts for beside its bytes: an empty message takes memory too.
const LOG_OVERHEAD: usize = 64;

/// What a guest is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It starts.
    Initializing,
    /// It gives the host memory for what a host function hands to it.
    Allocating,
    /// Anything else.
    Serving,
}

/// What is around a VM, and the same for each VM of a simulator.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    /// Values of properties, by their path's parts joined by NUL: the ABI's own encoding.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The VM's configuration.
    pub vm_configuration: Vec<u8>,
    /// The VM's id: VMs that share one share data and queues.
    pub vm_id: String,
    /// The level of Envoy's logger; what is less serious is left out.
    pub log_level: Option<LogLevel>,
    /// The clusters that callouts may name; `None` is any.
    pub clusters: Option<BTreeSet<String>>,
    /// What becomes of streams once the VM is dead.
    pub failure_policy: FailurePolicy,
    /// How much a callback may do before it is stopped, in units of the interpreter's.
    pub fuel: Option<u64>,
    /// How large the memory may grow, in bytes.
    pub memory: Option<usize>,
    /// How many bytes of log messages one event may add.
    pub log_bytes: Option<usize>,
    /// How many bytes the guest may pass to host functions in one event.
    pub host_bytes: Option<usize>,
    /// Where requests go; nowhere in particular unless it is set.
    pub routes: Option<Arc<RouteTable>>,
    /// Foreign functions by name.
    pub foreign: BTreeMap<String, ForeignFunction>,
}

/// What becomes of streams once the VM is dead: Envoy's `failure_policy`. A TCP connection is closed where an HTTP stream
/// gets 503.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// `FAIL_CLOSED`: 503 for ever.
    #[default]
    Closed,
    /// `FAIL_OPEN`: streams that begin then pass the filter by. Those that were there when the VM died fail.
    Open,
    /// `FAIL_RELOAD`: 503 until a stream begins a second after the VM began; that one gets a new VM.
    Reload,
}

/// What a test gives for a foreign function.
pub(crate) type ForeignFunction = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, crate::Status> + Send + Sync>;

/// The host's side of a VM.
pub(crate) struct State {
    pub surroundings: Arc<Surroundings>,
    pub shared: Shared,
    pub abi: AbiVersion,
    /// Tells this VM from all others that share something with it.
    pub vm: u64,
    /// The guest's memory and its allocator, as soon as there is an instance.
    pub memory: Option<Memory>,
    pub allocate: Option<Callback<u32, u32>>,
    /// Its functions, and which of them are being called.
    pub functions: Arc<Functions>,
    pub calls: Option<CallStack>,
    pub memory_limiter: MemoryLimiter,
    /// Bytes of log messages, and bytes passed to host functions, since the event began.
    pub logged_bytes: usize,
    pub host_bytes: AtomicUsize,
    /// The limit that ends the VM.
    pub exceeded: Option<Limit>,
    /// What the guest is about, and so which host functions work.
    pub phase: Phase,
    /// The trap of the allocator in this callback, which goes on, and is the VM's last.
    pub allocator_trap: Option<Trap>,
    /// The context whose callback runs.
    pub current: u32,
    /// The context that the guest acts for instead; 0 is none.
    pub effective: u32,
    /// The configuration that a root context is being given.
    pub plugin_configuration: Option<Arc<[u8]>>,
    /// The contexts that are alive.
    pub contexts: BTreeMap<u32, Context>,
    /// TCP connections that are closed: their contexts are gone, what came of them nobody has asked yet.
    pub closed: BTreeMap<u32, Box<Connection>>,
    /// What host functions asked for that happens once the callback is over, in order.
    pub after: VecDeque<After>,
    /// A local response was sent: whatever the callback returns, its stream goes no further.
    pub stop: bool,
    pub tokens: Tokens,
    pub faults: Vec<Fault>,
    pub metrics: Metrics,
    /// What was logged and not yet taken.
    pub logs: Vec<Log>,
    pub random: Rng,
    /// Nanoseconds since 1970.
    pub now: u64,
}

/// The last token of each kind of callout: their lowest bits are the kind, as in Envoy.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub http: u32,
    pub grpc_call: u32,
    pub grpc_stream: u32,
}

/// What happens once a callback is over.
#[derive(Debug)]
pub(crate) enum After {
    /// A stream goes on, or a connection.
    Continue(u32, StreamType),
    /// A stream is reset, or a connection closed.
    Close(u32),
    /// A stream is answered.
    Respond(u32, LocalResponse),
    /// A root context that waited is done.
    Done(u32),
}

/// A host function that is made to answer something else.
#[derive(Debug)]
pub(crate) struct Fault {
    pub function: String,
    pub status: u32,
    /// How often yet; `None` is always.
    pub left: Option<u32>,
}

/// A context of the guest's.
#[derive(Debug)]
pub(crate) enum Context {
    /// One configuration of a plugin.
    Root(Box<Root>),
    /// One HTTP request, and the response to it.
    Stream(Box<Stream>),
    /// One TCP connection.
    Connection(Box<Connection>),
}

/// The properties that one request or one connection has for itself.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    /// Those that the test gave it.
    pub given: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Those that the filter set.
    pub set: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A root context.
#[derive(Debug, Default)]
pub(crate) struct Root {
    /// How often its tick comes.
    pub tick: Option<Tick>,
    /// Its HTTP callouts that aren't answered.
    pub http_calls: BTreeMap<u32, HttpCall>,
    /// Its gRPC callouts that aren't closed.
    pub grpc_calls: BTreeMap<u32, GrpcCall>,
    /// The answer to an HTTP callout, during its callback.
    pub http_response: Option<Message>,
    /// What a gRPC callout received, during its callback.
    pub grpc_initial_metadata: Option<Headers>,
    pub grpc_message: Option<Vec<u8>>,
    pub grpc_trailing_metadata: Option<Headers>,
    /// How the last callout ended, during its callback.
    pub status: (u32, String),
    /// Another configuration serves now; it ends when its last stream has.
    pub retired: bool,
    /// Its `on_done` answered false: it ends when it says so.
    pub waits_for_done: bool,
}

/// The tick of a root context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub period: Duration,
    /// When the next comes, in nanoseconds since 1970.
    pub next: u64,
}

/// An HTTP stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The root context it belongs to.
    pub root: u32,
    pub request: Half,
    pub response: Half,
    pub properties: Properties,
    /// Whether Envoy would look for the route again.
    pub route_cache_cleared: bool,
    /// What the filter answered in place of the upstream, or Envoy for a filter whose VM is dead.
    pub local_response: Option<LocalResponse>,
    /// Whether what is being given to the filter is the last of its direction.
    pub end_of_stream: bool,
    /// `on_log` runs: what went through can be read, and nothing be written.
    pub logging: bool,
    /// The filter closed the stream.
    pub reset: bool,
    /// The VM died: no callback is made for it any more.
    pub failed: Option<String>,
    /// It began when the VM was dead already, and goes by.
    pub is_let_by: bool,
    /// Whether the client speaks gRPC.
    pub is_grpc: bool,
    /// The headers as they came: the route is found by them, unless the filter has it looked for again.
    pub received: Headers,
    /// Where it went, once that is known.
    pub routed: Option<Routed>,
}

/// One direction of an HTTP stream, as it goes through the filter.
#[derive(Debug, Default)]
pub(crate) struct Half {
    /// What the filter hasn't seen.
    pub todo: VecDeque<Part>,
    /// Its end has come, whether or not the filter has seen it.
    pub complete: bool,
    /// What the filter has now: it can be read, and written.
    pub headers: Option<Headers>,
    pub body: Option<Vec<u8>>,
    pub trailers: Option<Headers>,
    /// The body is what was collected, and will be once more.
    pub collecting: bool,
    /// Nothing more is given to the filter until it says so.
    pub stopped: bool,
    /// The filter said that it goes on: it has nothing of it any more, though the callback isn't over.
    pub gone: bool,
    /// How many bytes of the body have come.
    pub received: usize,
    /// What the filter let go.
    pub passed: Message,
    /// Whether the end has been let go too.
    pub ended: bool,
}

/// A part of a message.
#[derive(Debug)]
pub(crate) enum Part {
    Headers(Headers, bool),
    Body(Vec<u8>, bool),
    Trailers(Headers),
}

// === impl State ===

impl State {
    pub(crate) fn new(
        surroundings: Arc<Surroundings>,
        shared: Shared,
        module: &Module,
        metrics: Metrics,
        random: Rng,
        now: u64,
    ) -> State {
        let vm = shared.next_vm();
        State {
            surroundings,
            shared,
            abi: module.abi(),
            vm,
            memory: None,
            allocate: None,
            functions: Arc::clone(&module.functions),
            calls: None,
            memory_limiter: MemoryLimiter::default(),
            logged_bytes: 0,
            host_bytes: AtomicUsize::new(0),
            exceeded: None,
            phase: Phase::Initializing,
            allocator_trap: None,
            current: 0,
            effective: 0,
            plugin_configuration: None,
            contexts: BTreeMap::new(),
            closed: BTreeMap::new(),
            after: VecDeque::new(),
            stop: false,
            tokens: Tokens::default(),
            faults: Vec::new(),
            metrics,
            logs: Vec::new(),
            random,
            now,
        }
    }

    /// The context that host functions act for: the one that the guest chose, while it is alive, or else the one whose
    /// callback runs.
    pub(crate) fn context(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains_key(&self.effective) { self.effective } else { self.current }
    }

    /// The root context of the context that host functions act for.
    pub(crate) fn root_id(&self) -> u32 {
        match self.contexts.get(&self.context()) {
            Some(Context::Stream(stream)) => stream.root,
            Some(Context::Connection(connection)) => connection.root,
            Some(Context::Root(_)) | None => self.context(),
        }
    }

    pub(crate) fn root(&self) -> Option<&Root> {
        match self.contexts.get(&self.root_id())? {
            Context::Root(root) => Some(root),
            Context::Stream(_) | Context::Connection(_) => None,
        }
    }

    pub(crate) fn root_mut(&mut self) -> Option<&mut Root> {
        match self.contexts.get_mut(&self.root_id())? {
            Context::Root(root) => Some(root),
            Context::Stream(_) | Context::Connection(_) => None,
        }
    }

    /// The stream that host functions act for, if it is one.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match self.contexts.get(&self.context())? {
            Context::Stream(stream) => Some(stream),
            Context::Root(_) | Context::Connection(_) => None,
        }
    }

    /// [`stream`](State::stream), to change it.
    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self.contexts.get_mut(&self.context())? {
            Context::Stream(stream) => Some(stream),
            Context::Root(_) | Context::Connection(_) => None,
        }
    }

    /// The TCP connection that host functions act for, if it is one.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match self.contexts.get(&self.context())? {
            Context::Connection(connection) => Some(connection),
            Context::Root(_) | Context::Stream(_) => None,
        }
    }

    /// [`connection`](State::connection), to change it.
    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match self.contexts.get_mut(&self.context())? {
            Context::Connection(connection) => Some(connection),
            Context::Root(_) | Context::Stream(_) => None,
        }
    }

    /// The properties of the stream or connection that host functions act for.
    pub(crate) fn properties(&self) -> Option<&Properties> {
        match self.contexts.get(&self.context())? {
            Context::Stream(stream) => Some(&stream.properties),
            Context::Connection(connection) => Some(&connection.properties),
            Context::Root(_) => None,
        }
    }

    /// [`properties`](State::properties), to change them.
    pub(crate) fn properties_mut(&mut self) -> Option<&mut Properties> {
        match self.contexts.get_mut(&self.context())? {
            Context::Stream(stream) => Some(&mut stream.properties),
            Context::Connection(connection) => Some(&mut connection.properties),
            Context::Root(_) => None,
        }
    }

    /// Logs a message of the host, unless the logger's level excludes it. The log limit shortens the message.
    pub(crate) fn log(&mut self, level: LogLevel, mut message: String) {
        if self.surroundings.log_level.is_none_or(|least| level >= least) {
            if let Some(limit) = self.surroundings.log_bytes {
                let end = (0..=limit.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
                message.truncate(end.unwrap_or_default());
            }
            self.logs.push(Log { level, context: self.context(), message });
        }
    }

    /// Logs a message of the guest, unless the logger's level excludes it.
    pub(crate) fn log_guest(&mut self, level: LogLevel, message: &[u8]) {
        if self.surroundings.log_level.is_some_and(|least| level < least) {
            return;
        }
        self.logged_bytes = self.logged_bytes.saturating_add(message.len()).saturating_add(LOG_OVERHEAD);
        match self.surroundings.log_bytes {
            Some(limit) if self.logged_bytes > limit => _ = self.exceeded.get_or_insert(Limit::Log(limit)),
            _ => self.log(level, String::from_utf8_lossy(message).into_owned()),
        }
    }

    /// Counts bytes that the guest passes to the host.
    pub(crate) fn count_host_bytes(&self, bytes: usize) {
        self.host_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the limit that the guest has exceeded, if any.
    pub(crate) fn exceeded(&mut self) -> Option<Limit> {
        if let Some(limit) = self.surroundings.host_bytes
            && *self.host_bytes.get_mut() > limit
        {
            self.exceeded.get_or_insert(Limit::Host(limit));
        }
        self.exceeded
    }

    /// Takes the messages logged in an event; the limits of an event start anew.
    pub(crate) fn take_logs(&mut self) -> Vec<Log> {
        self.logged_bytes = 0;
        *self.host_bytes.get_mut() = 0;
        std::mem::take(&mut self.logs)
    }

    /// What a host function is made to answer, if it is.
    pub(crate) fn fault(&mut self, function: &str) -> Option<u32> {
        let fault = self.faults.iter_mut().find(|fault| fault.function == function && fault.left != Some(0))?;
        if let Some(left) = &mut fault.left {
            *left -= 1;
        }
        Some(fault.status)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("current", &self.current)
            .field("contexts", &self.contexts)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("properties", &self.properties)
            .field("environment", &self.environment)
            .field("vm_id", &self.vm_id)
            .finish_non_exhaustive()
    }
}
