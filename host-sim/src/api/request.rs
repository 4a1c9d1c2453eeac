//! HTTP requests: the builder, the open stream, and its outcome.

use super::simulator::Simulator;
use crate::abi::{StreamType, property_path};
use crate::http::headers::Headers;
use crate::http::message::{Message, Response};
use crate::lifecycle::runtime::StreamId;
use crate::lifecycle::stream;
use crate::state::local_response::LocalResponse;
use crate::state::log::Log;
use crate::state::properties::Properties;
use crate::state::stream::{Part, RoutedRequest, Stream};
use envoy_request_headers::HttpVersion;

/// Builds a request.
#[derive(Debug)]
#[must_use = "nothing happens before `send` or `open`"]
pub struct RequestBuilder<'a> {
    simulator: &'a mut Simulator,
    worker: usize,
    message: Message,
    response: Response,
    properties: Properties,
    http_version: HttpVersion,
    unfinished: bool,
}

/// An open stream.
#[derive(Debug)]
pub struct OpenStream<'a> {
    simulator: &'a mut Simulator,
    id: StreamId,
}

/// The outcome of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The request headers as the next filter receives them, including `:authority`, `:path`, `:method` and `:scheme`. If
    /// the filter did not forward the headers, their last state in the filter.
    pub request_headers: Headers,
    /// The request body as the next filter receives it.
    pub request_body: Vec<u8>,
    /// The request trailers as the next filter receives them.
    pub request_trailers: Headers,
    /// The response as the client receives it. Has no `:status` if the client receives no response.
    pub response: Response,
    /// Whether the filter cleared the route cache. Any write to the request headers clears the route cache.
    pub route_cache_cleared: bool,
    /// The route of the request, if the simulator has [`routes`](crate::Builder::routes). `None` if no route matched, or
    /// the filter did not forward the request.
    pub route: Option<RoutedRequest>,
    /// The response that replaced the upstream's response: the filter's own, or Envoy's 503 after the VM failed.
    pub local_response: Option<LocalResponse>,
    /// Whether the filter still held the request or the response when the stream ended.
    pub paused: bool,
    /// Whether the filter reset the stream.
    pub reset: bool,
    /// The trap that ended the VM, in a callback of this stream or before. Envoy's log message has a backtrace if the
    /// module has function names.
    pub trap: Option<String>,
    /// The log messages since the request began.
    pub logs: Vec<Log>,
}

// === impl RequestBuilder ===

impl<'a> RequestBuilder<'a> {
    fn new(simulator: &'a mut Simulator) -> Self {
        let builder = RequestBuilder {
            simulator,
            worker: 0,
            message: Message::default(),
            response: Response::status_only(200),
            properties: Properties::default(),
            http_version: HttpVersion::default(),
            unfinished: false,
        };
        builder.method("GET", "http://localhost/")
    }

    /// Sets the method GET and the URL.
    pub fn get(self, url: &str) -> Self {
        self.method("GET", url)
    }

    /// Sets the method POST and the URL.
    pub fn post(self, url: &str) -> Self {
        self.method("POST", url)
    }

    /// Sets the method and the URL. The scheme defaults to `http`; the authority ends at the next slash or question mark;
    /// the rest is the path.
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

    /// Sets the authority to any bytes.
    pub fn authority(mut self, authority: impl AsRef<[u8]>) -> Self {
        self.message.headers.replace(b":authority", authority.as_ref());
        self
    }

    /// Sets the path, including the query, to any bytes.
    pub fn path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.message.headers.replace(b":path", path.as_ref());
        self
    }

    /// Appends a header. The name is converted to lower case; the value may be any bytes.
    ///
    /// As in Envoy, the filter sees the values of some repeated headers joined, such as `accept: a,b`, and does not see
    /// hop-by-hop headers, such as `connection`. The crate `envoy-request-headers` lists these headers.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.message.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// Makes this an HTTP/2 request: the filter sees repeated `cookie` headers joined. Defaults to HTTP/1.
    pub fn http2(mut self) -> Self {
        self.http_version = HttpVersion::Http2;
        self
    }

    /// Sets the body. Empty by default.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.message.body = body.as_ref().to_vec();
        self
    }

    /// Appends a trailer.
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.message.trailers.add(name.as_ref(), value.as_ref());
        self
    }

    /// Sets the upstream's response. Defaults to status 200 without other headers and body.
    pub fn response(mut self, response: Response) -> Self {
        self.response = response;
        self
    }

    /// Sets the port that the client connected to: the property `destination.port`.
    pub fn destination_port(self, port: u16) -> Self {
        self.property(&["destination", "port"], u64::from(port).to_le_bytes())
    }

    /// Sets a property of this request, in Envoy's encoding.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.given.insert(property_path(path), value.as_ref().to_vec());
        self
    }

    /// Sets the worker that accepts the request. Defaults to 0; the last worker if there are fewer.
    pub fn worker(mut self, worker: usize) -> Self {
        self.worker = worker;
        self
    }

    /// Leaves the request incomplete after [`open`](Self::open), for [`OpenStream::body`] and [`OpenStream::trailers`].
    pub fn incomplete(mut self) -> Self {
        self.unfinished = true;
        self
    }

    /// Sends the request and its response through the filter, and ends the stream.
    pub fn send(self) -> Outcome {
        let response = self.response.clone();
        let (simulator, id) = self.begin();
        simulator.stream(id).respond(response).finish()
    }

    /// Sends the request through the filter, and leaves the stream open. The upstream responds with
    /// [`OpenStream::respond`].
    pub fn open(self) -> StreamId {
        self.begin().1
    }

    fn begin(self) -> (&'a mut Simulator, StreamId) {
        let RequestBuilder { simulator, worker, mut message, properties, http_version, unfinished, .. } = self;
        message.headers = envoy_request_headers::received(message.headers, http_version).into_iter().collect();
        let is_grpc = message.headers.get("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
        let received = message.headers.clone();
        let mut parts = stream::parts(message);
        if unfinished {
            for part in &mut parts {
                if let Part::Headers(_, ends) | Part::Body(_, ends) = part {
                    *ends = false;
                }
            }
        }
        let new = Stream { properties, is_grpc, received, ..Stream::default() };
        let id = simulator.runtime.begin(worker, |vm, root| {
            let id = stream::begin(vm, root, new);
            stream::push(vm, id, StreamType::Request, parts);
            id
        });
        (simulator, id)
    }
}

// === impl OpenStream ===

impl OpenStream<'_> {
    /// Sends a part of the request body. Has no effect after the end of the request.
    pub fn body(self, bytes: impl AsRef<[u8]>, ends: bool) -> Self {
        self.push(StreamType::Request, vec![Part::Body(bytes.as_ref().to_vec(), ends)])
    }

    /// Sends the request trailers, which end the request.
    pub fn trailers(self, trailers: Headers) -> Self {
        self.push(StreamType::Request, vec![Part::Trailers(trailers)])
    }

    /// Sends the upstream's response. Has no effect before the filter has forwarded the complete request, or after a
    /// local response. If the simulator has routes, Envoy itself responds to a request without a route or cluster.
    pub fn respond(self, mut response: Response) -> Self {
        if !self.simulator.runtime.stream(self.id).is_some_and(Stream::awaits_response) {
            return self;
        }
        self.simulator.runtime.route(self.id, &mut response);
        self.push(StreamType::Response, stream::parts(response))
    }

    /// Sends the headers of the upstream's response. Has no effect whenever [`respond`](Self::respond) has no effect.
    pub fn respond_headers(self, headers: Headers, ends: bool) -> Self {
        if !self.simulator.runtime.stream(self.id).is_some_and(Stream::awaits_response) {
            return self;
        }
        let mut response = Response { headers, ..Response::default() };
        self.simulator.runtime.route(self.id, &mut response);
        self.push(StreamType::Response, vec![Part::Headers(response.headers, ends)])
    }

    /// Sends a part of the upstream's response body.
    pub fn respond_body(self, bytes: impl AsRef<[u8]>, ends: bool) -> Self {
        self.push(StreamType::Response, vec![Part::Body(bytes.as_ref().to_vec(), ends)])
    }

    /// Returns whether the filter holds the request or the response.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.simulator.runtime.stream(self.id).is_some_and(Stream::is_paused)
    }

    /// Ends the stream: the client has the complete response, or disconnects.
    pub fn finish(self) -> Outcome {
        let (stream, logs) = self.simulator.runtime.end(self.id, stream::end);
        Outcome::of(stream, logs)
    }

    fn push(self, stream_type: StreamType, parts: Vec<Part>) -> Self {
        self.simulator.runtime.event(self.id, |vm, id| stream::push(vm, id, stream_type, parts));
        self
    }
}

// === impl Outcome ===

impl Outcome {
    fn of(stream: Stream, logs: Vec<Log>) -> Outcome {
        let paused = stream.is_paused();
        let Stream { request, response, .. } = stream;
        Outcome {
            request_headers: request.headers.unwrap_or(request.forwarded.headers),
            request_body: request.forwarded.body,
            request_trailers: request.forwarded.trailers,
            response: response.forwarded,
            route_cache_cleared: stream.route_cache_cleared,
            route: stream.routed,
            local_response: stream.local_response,
            paused,
            reset: stream.reset,
            trap: stream.failed,
            logs,
        }
    }

    /// Returns the first value of a request header. The name is case-insensitive.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.request_headers.get(name)
    }

    /// Returns the first value of a response header. The name is case-insensitive.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<&[u8]> {
        self.response.headers.get(name)
    }

    /// Returns the status of the response to the client, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.response.status()
    }
}

impl Simulator {
    /// Returns a builder of a request. Defaults to `GET http://localhost/`.
    pub fn request(&mut self) -> RequestBuilder<'_> {
        RequestBuilder::new(self)
    }

    /// Returns an open stream. After the stream has finished, all calls have no effect and its outcome is empty.
    pub fn stream(&mut self, id: StreamId) -> OpenStream<'_> {
        OpenStream { simulator: self, id }
    }
}
