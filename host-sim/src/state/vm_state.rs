//! The host's state of one VM.

use super::callback::{Callback, Trap};
use super::callout::Tokens;
use super::connection::Connection;
use super::context::{Context, Root};
use super::deferred::Deferred;
use super::fault::Faults;
use super::host_config::HostConfig;
use super::limit::{Limit, MemoryLimiter};
use super::log::Log;
use super::metric::Metrics;
use super::properties::Properties;
use super::shared::Shared;
use super::stream::Stream;
use crate::abi::{AbiVersion, LogLevel};
use crate::backtrace::{CallStack, Functions};
use fastrand::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmi::Memory;

/// The bytes that a log message counts in addition to its text: an empty message takes memory too.
const LOG_OVERHEAD: usize = 64;

/// The guest's current phase. It decides which host functions are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The module's start function and `_initialize` or `_start`.
    Initializing,
    /// The guest's allocator, which a host function called.
    Allocating,
    /// Any other time.
    Serving,
}

/// The host's state of one VM.
pub(crate) struct State {
    pub config: Arc<HostConfig>,
    pub shared: Shared,
    pub abi: AbiVersion,
    /// The number of the VM, unique among the VMs that share [`State::shared`].
    pub vm: u64,
    /// The guest's memory and allocator, once instantiated.
    pub memory: Option<Memory>,
    pub allocate: Option<Callback<u32, u32>>,
    /// The module's functions, and the stack of active calls.
    pub functions: Arc<Functions>,
    pub calls: Option<CallStack>,
    pub memory_limiter: MemoryLimiter,
    /// The bytes of log messages, and the bytes passed to host functions, since the event began.
    pub logged_bytes: usize,
    pub host_bytes: AtomicUsize,
    /// The limit that ended the VM.
    pub exceeded: Option<Limit>,
    pub phase: Phase,
    /// The first trap of the allocator in the current callback. The callback completes, then the VM ends.
    pub allocator_trap: Option<Trap>,
    /// The context of the current callback.
    pub current: u32,
    /// The context set by `proxy_set_effective_context`; 0 if none.
    pub effective: u32,
    /// The plugin configuration, in the callbacks that may read it.
    pub plugin_configuration: Option<Arc<[u8]>>,
    pub contexts: BTreeMap<u32, Context>,
    /// Closed connections whose outcome the test has not read.
    pub closed: BTreeMap<u32, Box<Connection>>,
    /// The effects to apply after the current callback, in order.
    pub deferred: VecDeque<Deferred>,
    /// Whether the current callback sent a local response: its stream stops, whatever the callback returns.
    pub local_response_sent: bool,
    pub tokens: Tokens,
    pub faults: Faults,
    pub metrics: Metrics,
    /// The log messages since the last [`State::take_logs`].
    pub logs: Vec<Log>,
    pub random: Rng,
    /// The current time in nanoseconds since 1970.
    pub now: u64,
}

// === impl State ===

impl State {
    /// Returns the state of a VM that has not been instantiated.
    pub(crate) fn new(
        config: Arc<HostConfig>,
        shared: Shared,
        abi: AbiVersion,
        functions: Arc<Functions>,
        metrics: Metrics,
        random: Rng,
        now: u64,
    ) -> State {
        let vm = shared.next_vm();
        State {
            config,
            shared,
            abi,
            vm,
            memory: None,
            allocate: None,
            functions,
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
            deferred: VecDeque::new(),
            local_response_sent: false,
            tokens: Tokens::default(),
            faults: Faults::default(),
            metrics,
            logs: Vec::new(),
            random,
            now,
        }
    }

    /// Returns the context that host functions act on: the effective context if it exists, else the context of the
    /// current callback.
    pub(crate) fn context_id(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains_key(&self.effective) { self.effective } else { self.current }
    }

    /// Returns the root context of the context that host functions act on.
    pub(crate) fn root_id(&self) -> u32 {
        self.context().and_then(Context::root).unwrap_or_else(|| self.context_id())
    }

    pub(crate) fn root(&self) -> Option<&Root> {
        self.contexts.get(&self.root_id())?.as_root()
    }

    pub(crate) fn root_mut(&mut self) -> Option<&mut Root> {
        self.contexts.get_mut(&self.root_id())?.as_root_mut()
    }

    /// Returns the stream that host functions act on.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.context()?.as_stream()
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.context_mut()?.as_stream_mut()
    }

    /// Returns the TCP connection that host functions act on.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.context()?.as_connection()
    }

    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.context_mut()?.as_connection_mut()
    }

    /// Returns the properties of the stream or connection that host functions act on.
    pub(crate) fn properties(&self) -> Option<&Properties> {
        self.context()?.properties()
    }

    pub(crate) fn properties_mut(&mut self) -> Option<&mut Properties> {
        self.context_mut()?.properties_mut()
    }

    fn context(&self) -> Option<&Context> {
        self.contexts.get(&self.context_id())
    }

    fn context_mut(&mut self) -> Option<&mut Context> {
        self.contexts.get_mut(&self.context_id())
    }

    /// Logs a message of the host, unless it is below the log level. The log limit truncates the message.
    pub(crate) fn log(&mut self, level: LogLevel, mut message: String) {
        if self.config.log_level.is_none_or(|least| level >= least) {
            if let Some(limit) = self.config.log_bytes {
                let end = (0..=limit.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
                message.truncate(end.unwrap_or_default());
            }
            self.logs.push(Log { level, context: self.context_id(), message });
        }
    }

    /// Logs a message of the guest, unless it is below the log level.
    pub(crate) fn log_guest(&mut self, level: LogLevel, message: &[u8]) {
        if self.config.log_level.is_some_and(|least| level < least) {
            return;
        }
        self.logged_bytes = self.logged_bytes.saturating_add(message.len()).saturating_add(LOG_OVERHEAD);
        match self.config.log_bytes {
            Some(limit) if self.logged_bytes > limit => _ = self.exceeded.get_or_insert(Limit::Log(limit)),
            _ => self.log(level, String::from_utf8_lossy(message).into_owned()),
        }
    }

    /// Counts bytes that the guest passes to the host.
    pub(crate) fn count_host_bytes(&self, bytes: usize) {
        self.host_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the limit that the guest exceeded, if any.
    pub(crate) fn exceeded(&mut self) -> Option<Limit> {
        if let Some(limit) = self.config.host_bytes
            && *self.host_bytes.get_mut() > limit
        {
            self.exceeded.get_or_insert(Limit::Host(limit));
        }
        self.exceeded
    }

    /// Takes the log messages of an event, and resets the limits per event.
    pub(crate) fn take_logs(&mut self) -> Vec<Log> {
        self.logged_bytes = 0;
        *self.host_bytes.get_mut() = 0;
        std::mem::take(&mut self.logs)
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
