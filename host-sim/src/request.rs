//! A request through the filter, from its headers to the end of the stream: at once, or step by step.

use crate::abi::StreamType;
use crate::headers::Headers;
use crate::host::local_response::LocalResponse;
use crate::host::log::Log;
use crate::host::property;
use crate::message::{Message, Response};
use crate::pipeline;
use crate::route::Mirrored;
use crate::simulator::Simulator;
use crate::state::{Context, Part, Properties, Stream};

/// A request that isn't sent yet.
#[derive(Debug)]
#[must_use = "nothing happens before `send` or `open`"]
pub struct RequestBuilder<'a> {
    simulator: &'a mut Simulator,
    worker: usize,
    message: Message,
    response: Response,
    properties: Properties,
    unfinished: bool,
}

/// A stream that [`RequestBuilder::open`] began. It is alive until [`OpenStream::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub(crate) worker: usize,
    pub(crate) vm: u64,
    pub(crate) context: u32,
}

/// A stream in the middle of its way.
#[derive(Debug)]
pub struct OpenStream<'a> {
    simulator: &'a mut Simulator,
    id: StreamId,
}

/// What came of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The request's headers as the next filter gets them, with `:authority`, `:path`, `:method` and `:scheme`; what the
    /// filter held back as it had them.
    pub request_headers: Headers,
    /// The request's body as the next filter gets it.
    pub request_body: Vec<u8>,
    /// The request's trailers as the next filter gets them.
    pub request_trailers: Headers,
    /// What the client gets; without `:status` if it gets nothing.
    pub response: Response,
    /// Whether Envoy would look for the route again: some request header was written or removed.
    pub route_cache_cleared: bool,
    /// Where the request went, of a simulator with [`routes`](crate::Builder::routes); `None` if no route took it, or it
    /// never got there.
    pub route: Option<Routed>,
    /// What the client was answered in place of the upstream's answer: by the filter, or 503 by Envoy as its VM is dead.
    pub local_response: Option<LocalResponse>,
    /// Whether the filter held request or response back, and hadn't let go of it when the client left.
    pub paused: bool,
    /// Whether the filter closed the stream.
    pub reset: bool,
    /// The trap that this request met, or that had ended the VM before. When it was met, what Envoy says of it was logged,
    /// with a backtrace if the module has function names.
    pub trap: Option<String>,
    /// What was logged since the request began, or since the last outcome.
    pub logs: Vec<Log>,
}

/// Where Envoy sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Routed {
    /// The virtual host that its authority chose.
    pub virtual_host: String,
    /// The route that took it; may have no name.
    pub route: String,
    /// The cluster, as any bytes; `None` if Envoy answered itself.
    pub cluster: Option<Vec<u8>>,
    /// The clusters that got copies.
    pub mirrors: Vec<Mirrored>,
}

// === impl RequestBuilder ===

impl<'a> RequestBuilder<'a> {
    pub(crate) fn new(simulator: &'a mut Simulator) -> Self {
        let builder = RequestBuilder {
            simulator,
            worker: 0,
            message: Message::default(),
            response: Response::status_only(200),
            properties: Properties::default(),
            unfinished: false,
        };
        builder.method("GET", "http://localhost/")
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
        let headers = &mut self.message.headers;
        headers.replace(b":authority", authority);
        headers.replace(b":path", path);
        headers.replace(b":method", method);
        headers.replace(b":scheme", scheme);
        self
    }

    /// The authority, as any bytes.
    pub fn authority(mut self, authority: impl AsRef<[u8]>) -> Self {
        self.message.headers.replace(b":authority", authority.as_ref());
        self
    }

    /// The path with its query, as any bytes.
    pub fn path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.message.headers.replace(b":path", path.as_ref());
        self
    }

    /// A header, as any bytes, beside those there are; its name gets lower case.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.message.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// The body; none unless set.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.message.body = body.as_ref().to_vec();
        self
    }

    /// A trailer, as any bytes, beside those there are.
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.message.trailers.add(name.as_ref(), value.as_ref());
        self
    }

    /// What the upstream answers; 200 without anything else unless set.
    pub fn response(mut self, response: Response) -> Self {
        self.response = response;
        self
    }

    /// The port that the client connected to: the property `destination.port`.
    pub fn destination_port(self, port: u16) -> Self {
        self.property(&["destination", "port"], u64::from(port).to_le_bytes())
    }

    /// A property of this request, by its path and in Envoy's encoding.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.given.insert(property::path(path), value.as_ref().to_vec());
        self
    }

    /// The worker whose connection it comes on; the first unless set. One that isn't there is the last.
    pub fn worker(mut self, worker: usize) -> Self {
        self.worker = worker;
        self
    }

    /// More of the request follows what [`open`](Self::open) sends: [`OpenStream::body`], [`OpenStream::trailers`].
    pub fn unfinished(mut self) -> Self {
        self.unfinished = true;
        self
    }

    /// Sends the request through the filter and the response back, and ends the stream.
    pub fn send(self) -> Outcome {
        let response = self.response.clone();
        let (simulator, id) = self.begin();
        simulator.stream(id).respond(response).finish()
    }

    /// Sends the request through the filter as far as the filter lets it, and leaves the stream open. Nothing is
    /// answered before [`OpenStream::respond`].
    pub fn open(self) -> StreamId {
        self.begin().1
    }

    fn begin(self) -> (&'a mut Simulator, StreamId) {
        let RequestBuilder { simulator, worker, message, properties, unfinished, .. } = self;
        let is_grpc = message.headers.get("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
        let received = message.headers.clone();
        let mut parts = pipeline::parts(message);
        if unfinished {
            for part in &mut parts {
                if let Part::Headers(_, ends) | Part::Body(_, ends) = part {
                    *ends = false;
                }
            }
        }
        let stream = Stream { properties, is_grpc, received, ..Stream::default() };
        let id = simulator.begin(worker, |vm, root| {
            let id = pipeline::begin(vm, root, stream);
            pipeline::push(vm, id, StreamType::Request, parts);
            id
        });
        (simulator, id)
    }
}

// === impl OpenStream ===

impl<'a> OpenStream<'a> {
    pub(crate) fn new(simulator: &'a mut Simulator, id: StreamId) -> Self {
        OpenStream { simulator, id }
    }

    /// More of the request's body, and whether it is the last; of no effect behind the request's end.
    pub fn body(self, bytes: impl AsRef<[u8]>, ends: bool) -> Self {
        self.push(StreamType::Request, vec![Part::Body(bytes.as_ref().to_vec(), ends)])
    }

    /// The request's trailers, which end it.
    pub fn trailers(self, trailers: Headers) -> Self {
        self.push(StreamType::Request, vec![Part::Trailers(trailers)])
    }

    /// The upstream's answer; of no effect before the filter has let the whole request go, or after it has answered
    /// itself. Where there are routes, Envoy answers for the upstream if the request has none, or none with a cluster.
    pub fn respond(self, mut response: Response) -> Self {
        if !self.simulator.peek(self.id).is_some_and(awaits_response) {
            return self;
        }
        self.simulator.route(self.id, &mut response);
        self.push(StreamType::Response, pipeline::parts(response))
    }

    /// A part of the upstream's answer: headers, which may be followed by more. Of no effect when
    /// [`respond`](Self::respond) has none.
    pub fn respond_headers(self, headers: Headers, ends: bool) -> Self {
        if !self.simulator.peek(self.id).is_some_and(awaits_response) {
            return self;
        }
        let mut response = Response { headers, ..Response::default() };
        self.simulator.route(self.id, &mut response);
        self.push(StreamType::Response, vec![Part::Headers(response.headers, ends)])
    }

    /// A part of the upstream's body.
    pub fn respond_body(self, bytes: impl AsRef<[u8]>, ends: bool) -> Self {
        self.push(StreamType::Response, vec![Part::Body(bytes.as_ref().to_vec(), ends)])
    }

    /// Whether the filter holds the request or the response back.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.simulator.peek(self.id).is_some_and(is_paused)
    }

    /// Ends the stream: the client leaves, or has all it will get.
    pub fn finish(self) -> Outcome {
        let (stream, logs) = self.simulator.finish(self.id, pipeline::end);
        Outcome::of(stream, logs)
    }

    fn push(self, direction: StreamType, parts: Vec<Part>) -> Self {
        self.simulator.happen(self.id, |vm, id| pipeline::push(vm, id, direction, parts));
        self
    }
}

/// Whether the upstream may answer now.
fn awaits_response(stream: &Stream) -> bool {
    let begun = !stream.response.todo.is_empty() || stream.response.headers.is_some();
    let answered = stream.local_response.is_some() || !stream.response.passed.headers.is_empty();
    stream.request.ended && !begun && !answered && !stream.reset
}

fn is_paused(stream: &Stream) -> bool {
    let holds = |half: &crate::state::Half| half.stopped || half.collecting;
    stream.local_response.is_none() && holds(&stream.request) || holds(&stream.response)
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn of(stream: Stream, logs: Vec<Log>) -> Outcome {
        let paused = is_paused(&stream);
        let Stream { request, response, .. } = stream;
        Outcome {
            request_headers: request.headers.unwrap_or(request.passed.headers),
            request_body: request.passed.body,
            request_trailers: request.passed.trailers,
            response: response.passed,
            route_cache_cleared: stream.route_cache_cleared,
            route: stream.routed,
            local_response: stream.local_response,
            paused,
            reset: stream.reset,
            trap: stream.failed,
            logs,
        }
    }

    /// The first value of a request header, by its name in any case.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.request_headers.get(name)
    }

    /// The first value of a response header, by its name in any case.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<&[u8]> {
        self.response.headers.get(name)
    }

    /// The status that the client gets; `None` if it gets none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.response.status()
    }
}

impl Simulator {
    /// A stream that [`RequestBuilder::open`] began. One that is finished is none any more: whatever is done with it has no
    /// effect, and its outcome is empty.
    pub fn stream(&mut self, id: StreamId) -> OpenStream<'_> {
        OpenStream::new(self, id)
    }

    pub(crate) fn peek(&self, id: StreamId) -> Option<&Stream> {
        match self.vm(id)?.state().contexts.get(&id.context)? {
            Context::Stream(stream) => Some(stream),
            Context::Root(_) | Context::Connection(_) => None,
        }
    }
}
