//! What the host knows of one VM, whichever family of host functions asks.

use crate::headers::Headers;
use crate::host::local_response::LocalResponse;
use crate::host::log::Log;
use crate::host::metric::Metrics;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmi::{Memory, TypedFunc};

/// What is around a VM, and the same for each VM of a simulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Values of properties, by their path's parts joined by NUL: the ABI's own encoding.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The VM's configuration.
    pub vm_configuration: Vec<u8>,
}

/// The host's side of a VM.
#[derive(Debug)]
pub(crate) struct State {
    pub surroundings: Arc<Surroundings>,
    /// The guest's memory and its allocator, as soon as there is an instance.
    pub memory: Option<Memory>,
    pub allocate: Option<TypedFunc<u32, u32>>,
    /// Whether `_initialize` is over.
    pub initialized: bool,
    /// The context whose callback runs.
    pub current: u32,
    /// The configuration that a root context is being given.
    pub plugin_configuration: Option<Arc<[u8]>>,
    /// The contexts that are alive.
    pub contexts: BTreeMap<u32, Context>,
    pub metrics: Metrics,
    /// What was logged and not yet taken.
    pub logs: Vec<Log>,
    pub random: Rng,
    /// Nanoseconds since 1970.
    pub now: u64,
}

/// A context of the guest's.
#[derive(Debug)]
pub(crate) enum Context {
    /// One configuration of a plugin.
    Root,
    /// One request, and the response to it.
    Stream(Stream),
}

/// An HTTP stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// `None` until the headers are there.
    pub request_headers: Option<Headers>,
    /// `None` when no body is being given to the filter.
    pub request_body: Option<Vec<u8>>,
    /// Values of properties that this request alone has.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether Envoy would look for the route again.
    pub route_cache_cleared: bool,
    /// What the filter answered in place of the upstream.
    pub local_response: Option<LocalResponse>,
}

// === impl State ===

impl State {
    pub(crate) fn new(surroundings: Arc<Surroundings>, metrics: Metrics, random: Rng, now: u64) -> State {
        State {
            surroundings,
            memory: None,
            allocate: None,
            initialized: false,
            current: 0,
            plugin_configuration: None,
            contexts: BTreeMap::new(),
            metrics,
            logs: Vec::new(),
            random,
            now,
        }
    }

    /// The stream whose callback runs, if it is a stream's.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match self.contexts.get(&self.current)? {
            Context::Stream(stream) => Some(stream),
            Context::Root => None,
        }
    }

    /// [`stream`](State::stream), to change it.
    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self.contexts.get_mut(&self.current)? {
            Context::Stream(stream) => Some(stream),
            Context::Root => None,
        }
    }
}
