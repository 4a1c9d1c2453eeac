//! A request through the filter, from its headers to the end of the stream.

use crate::abi::Action;
use crate::headers::Headers;
use crate::host::local_response::LocalResponse;
use crate::host::log::Log;
use crate::host::property;
use crate::simulator::{Simulator, size};
use crate::state::{Context, Stream};
use crate::vm::{Trap, Vm};
use std::collections::BTreeMap;

/// A request that isn't sent yet.
#[derive(Debug)]
#[must_use = "nothing happens before `send`"]
pub struct RequestBuilder<'a> {
    simulator: &'a mut Simulator,
    headers: Headers,
    body: Vec<u8>,
    properties: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What came of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The request's headers as the next filter gets them, with `:authority`, `:path`, `:method` and `:scheme`.
    pub request_headers: Headers,
    /// The request's body as the next filter gets it.
    pub request_body: Vec<u8>,
    /// Whether Envoy would look for the route again: some request header was written or removed.
    pub route_cache_cleared: bool,
    /// What the client was answered in place of the upstream's answer: by the filter, or 503 by Envoy as its VM is dead.
    pub local_response: Option<LocalResponse>,
    /// Whether the filter held the request back, and hadn't let go of it when the client left.
    pub paused: bool,
    /// The trap that this request met, or that had ended the VM before.
    pub trap: Option<String>,
    /// What was logged meanwhile.
    pub logs: Vec<Log>,
}

// === impl RequestBuilder ===

impl<'a> RequestBuilder<'a> {
    pub(crate) fn new(simulator: &'a mut Simulator) -> Self {
        let headers = Headers::default();
        RequestBuilder { simulator, headers, body: Vec::new(), properties: BTreeMap::new() }
            .method("GET", "http://localhost/")
    }

    /// A GET of this URL.
    pub fn get(self, url: &str) -> Self {
        self.method("GET", url)
    }

    /// A POST to this URL.
    pub fn post(self, url: &str) -> Self {
        self.method("POST", url)
    }

    /// A method and a URL. What stands before `://` is the scheme (`http` if nothing does), what follows up to the next
    /// slash the authority, the rest the path.
    pub fn method(mut self, method: &str, url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        self.headers.replace(b":authority", authority);
        self.headers.replace(b":path", path);
        self.headers.replace(b":method", method);
        self.headers.replace(b":scheme", scheme);
        self
    }

    /// The authority, as any bytes.
    pub fn authority(mut self, authority: impl AsRef<[u8]>) -> Self {
        self.headers.replace(b":authority", authority.as_ref());
        self
    }

    /// The path with its query, as any bytes.
    pub fn path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.headers.replace(b":path", path.as_ref());
        self
    }

    /// A header, as any bytes, beside those there are; its name gets lower case.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// The body; none unless set.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The port that the client connected to: the property `destination.port`.
    pub fn destination_port(self, port: u16) -> Self {
        self.property(&["destination", "port"], u64::from(port).to_le_bytes())
    }

    /// A property of this request, by its path and in Envoy's encoding.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.insert(property::path(path), value.as_ref().to_vec());
        self
    }

    /// Sends the request through the filter, and ends the stream.
    pub fn send(self) -> Outcome {
        let RequestBuilder { simulator, headers, body, properties } = self;
        let context = simulator.vm.next_context();
        let unseen = headers.clone();
        let stream = Stream { properties, ..Stream::default() };
        simulator.vm.state_mut().contexts.insert(context, Context::Stream(stream));
        let passed = pass(&mut simulator.vm, simulator.root, context, headers, body);
        let ended = end(&mut simulator.vm, context);
        let stream = match simulator.vm.state_mut().contexts.remove(&context) {
            Some(Context::Stream(stream)) => stream,
            // Whatever a guest does, a stream's context stays one.
            Some(Context::Root) | None => Stream::default(),
        };
        let logs = simulator.take_logs();
        let (request_body, paused, trap) = match passed {
            Ok((body, paused)) => (body, paused, ended.err()),
            Err(trap) => (Vec::new(), false, Some(trap)),
        };
        let failed = trap.is_some().then(LocalResponse::fail_closed);
        Outcome {
            request_headers: stream.request_headers.unwrap_or(unseen),
            request_body,
            route_cache_cleared: stream.route_cache_cleared,
            local_response: stream.local_response.or(failed),
            paused,
            trap: trap.map(|trap| format!("{}: {}", trap.callback, trap.why)),
            logs,
        }
    }
}

/// Headers and body through the filter: the body as it came out, and whether the filter holds the request back.
fn pass(vm: &mut Vm, root: u32, context: u32, headers: Headers, body: Vec<u8>) -> Result<(Vec<u8>, bool), Trap> {
    vm.call(context, |callbacks| callbacks.context_create, (context, root))?;
    let (count, ends) = (u32::try_from(headers.len()).unwrap_or(u32::MAX), body.is_empty());
    if let Some(stream) = stream(vm, context) {
        stream.request_headers = Some(headers);
    }
    let action = vm.call(context, |callbacks| callbacks.request_headers, (context, count, u32::from(ends)))?;
    let paused = action.is_some_and(|action| Action::from_abi(action) == Action::Pause);
    if ends || stream(vm, context).is_none_or(|stream| stream.local_response.is_some()) {
        return Ok((body, paused));
    }
    let body_size = size(&body);
    if let Some(stream) = stream(vm, context) {
        stream.request_body = Some(body);
    }
    // The whole body at once. Its end lets go of headers that were held back for it.
    let action = vm.call(context, |callbacks| callbacks.request_body, (context, body_size, 1))?;
    let paused = match action {
        Some(action) => Action::from_abi(action) == Action::Pause,
        None => paused,
    };
    let body = stream(vm, context).and_then(|stream| stream.request_body.take());
    Ok((body.unwrap_or_default(), paused))
}

/// The end of a stream, in Envoy's order.
fn end(vm: &mut Vm, context: u32) -> Result<(), Trap> {
    if vm.dead().is_none() {
        vm.call(context, |callbacks| callbacks.log, context)?;
        vm.call(context, |callbacks| callbacks.done, context)?;
        vm.call(context, |callbacks| callbacks.delete, context)?;
    }
    Ok(())
}

fn stream(vm: &mut Vm, context: u32) -> Option<&mut Stream> {
    match vm.state_mut().contexts.get_mut(&context)? {
        Context::Stream(stream) => Some(stream),
        Context::Root => None,
    }
}

// === impl Outcome ===

impl Outcome {
    /// The first value of a request header, by its name in any case.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.request_headers.get(name)
    }
}
