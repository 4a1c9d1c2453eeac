//! An HTTP stream and its two directions.

use super::local_response::LocalResponse;
use super::properties::Properties;
use crate::http::headers::Headers;
use crate::http::message::Message;
use crate::routes::mirror::MirroredRequest;
use std::collections::VecDeque;

/// An HTTP stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The root context of the stream.
    pub root: u32,
    pub request: Direction,
    pub response: Direction,
    pub properties: Properties,
    /// Whether the filter cleared the route cache: Envoy selects the route again.
    pub route_cache_cleared: bool,
    /// The response that the filter sent, or Envoy because the VM failed.
    pub local_response: Option<LocalResponse>,
    /// Whether the part in the current callback is the last of its direction.
    pub end_of_stream: bool,
    /// Whether `on_log` runs: the guest may read what was forwarded, and write nothing.
    pub logging: bool,
    /// Whether `on_log` has run. Deferred effects no longer apply to the stream.
    pub finished: bool,
    /// Whether the filter reset the stream.
    pub reset: bool,
    /// The trap that ended the VM. The stream's callbacks are no longer called.
    pub failed: Option<String>,
    /// Whether the stream bypasses the filter because the VM had failed before the stream began.
    pub bypasses_filter: bool,
    /// Whether the client speaks gRPC.
    pub is_grpc: bool,
    /// The headers as received. They select the route unless the filter clears the route cache.
    pub received: Headers,
    /// The route that Envoy selected.
    pub routed: Option<RoutedRequest>,
}

/// Where Envoy sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoutedRequest {
    /// The name of the virtual host.
    pub virtual_host: String,
    /// The name of the route. May be empty.
    pub route: String,
    /// The cluster, or `None` if Envoy responded itself.
    pub cluster: Option<Vec<u8>>,
    /// The copies that mirror policies made.
    pub mirrors: Vec<MirroredRequest>,
}

/// One direction of an HTTP stream: the request or the response.
#[derive(Debug, Default)]
pub(crate) struct Direction {
    /// Parts that wait for the filter.
    pub pending: VecDeque<Part>,
    /// Whether the last part has arrived, even if it waits for the filter.
    pub complete: bool,
    /// What the filter holds now, and may read and write.
    pub headers: Option<Headers>,
    pub body: Option<Vec<u8>>,
    pub trailers: Option<Headers>,
    /// Whether the body is buffered: the next body callback sees all of it again.
    pub buffering: bool,
    /// Whether iteration is stopped until the filter continues it.
    pub stopped: bool,
    /// Whether the filter called `proxy_continue_stream` in the current callback. Its maps are inaccessible from then on.
    pub continued: bool,
    /// The number of body bytes received.
    pub received: usize,
    /// What the filter forwarded.
    pub forwarded: Message,
    /// Whether the end of the direction was forwarded.
    pub ended: bool,
}

/// A part of a message. The flag is `end_of_stream`.
#[derive(Debug)]
pub(crate) enum Part {
    Headers(Headers, bool),
    Body(Vec<u8>, bool),
    Trailers(Headers),
}

// === impl Stream ===

impl Stream {
    /// Returns whether the filter holds the request or the response back.
    pub(crate) fn is_paused(&self) -> bool {
        let is_held = |direction: &Direction| direction.stopped || direction.buffering;
        self.local_response.is_none() && is_held(&self.request) || is_held(&self.response)
    }

    /// Returns whether the upstream may respond: it has the complete request, and no response has begun.
    pub(crate) fn awaits_response(&self) -> bool {
        let has_begun = !self.response.pending.is_empty() || self.response.headers.is_some();
        let has_responded = self.local_response.is_some() || !self.response.forwarded.headers.is_empty();
        self.request.ended && !has_begun && !has_responded && !self.reset
    }

    /// Makes the client receive 503, unless a response has begun.
    pub(crate) fn fail(&mut self) {
        self.request.pending.clear();
        if self.response.forwarded.headers.is_empty() {
            let failed = self.local_response.get_or_insert_with(LocalResponse::fail_closed);
            self.response.forwarded = failed.response(self.is_grpc);
            self.response.ended = true;
        }
        self.response.pending.clear();
    }

    /// Resets the stream.
    pub(crate) fn reset(&mut self) {
        self.reset = true;
        self.request.pending.clear();
        self.response.pending.clear();
    }
}

// === impl Direction ===

impl Direction {
    /// Adds a part, unless the direction is complete. Waiting body parts are merged, as in Envoy.
    pub(crate) fn receive(&mut self, part: Part) {
        if self.complete {
            return;
        }
        self.complete = match &part {
            Part::Headers(_, ends) | Part::Body(_, ends) => *ends,
            Part::Trailers(_) => true,
        };
        match (self.pending.back_mut(), part) {
            (Some(Part::Body(waiting, ends)), Part::Body(bytes, end)) => {
                waiting.extend(bytes);
                *ends = end;
            }
            (_, part) => self.pending.push_back(part),
        }
    }

    /// Releases everything that the filter holds to the next filter.
    pub(crate) fn release(&mut self, ends: bool) {
        self.release_headers();
        self.release_body();
        self.release_trailers();
        self.ended |= ends;
    }

    pub(crate) fn release_headers(&mut self) {
        if let Some(headers) = self.headers.take() {
            self.forwarded.headers = headers;
        }
    }

    pub(crate) fn release_body(&mut self) {
        if let Some(body) = self.body.take() {
            self.forwarded.body.extend(body);
        }
    }

    pub(crate) fn release_trailers(&mut self) {
        if let Some(trailers) = self.trailers.take() {
            self.forwarded.trailers = trailers;
        }
    }

    /// Forwards everything that the filter holds or has not seen, without calling the filter.
    pub(crate) fn bypass(&mut self) {
        self.stopped = false;
        self.release(false);
        for part in std::mem::take(&mut self.pending) {
            match part {
                Part::Headers(headers, ends) => {
                    self.forwarded.headers = headers;
                    self.ended |= ends;
                }
                Part::Body(bytes, ends) => {
                    self.forwarded.body.extend(bytes);
                    self.ended |= ends;
                }
                Part::Trailers(trailers) => {
                    self.forwarded.trailers = trailers;
                    self.ended = true;
                }
            }
        }
    }
}
