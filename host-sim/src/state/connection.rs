//! A TCP connection and its two directions.

use super::properties::Properties;

/// A TCP connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The root context of the connection.
    pub root: u32,
    pub properties: Properties,
    /// The bytes from the client.
    pub downstream: Flow,
    /// The bytes from the upstream.
    pub upstream: Flow,
    /// Whether the filter let the TCP proxy start. Before that, nothing is read from the client.
    pub connected: bool,
    pub closed_by: Option<ClosedBy>,
    /// The trap that ended the VM.
    pub failed: Option<String>,
    /// Whether the connection bypasses the filter because the VM had failed before the connection began.
    pub bypasses_filter: bool,
}

/// The side that closed a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosedBy {
    /// The client: it reset the connection, or half-closed it last.
    #[default]
    Client,
    /// The upstream: it reset the connection, or half-closed it last.
    Upstream,
    /// The filter, by `proxy_close_stream`.
    Filter,
    /// Envoy, because the VM failed.
    Failure,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Received bytes that were not forwarded. The next data callback sees all of them.
    pub buffer: Vec<u8>,
    /// Whether the filter may access the buffer: from its data callback until a callback returns Continue.
    pub accessible: bool,
    /// Whether the filter stopped the direction in its last callback.
    pub stopped: bool,
    /// The number of bytes received.
    pub received: usize,
    /// Whether the end was received.
    pub ended: bool,
    /// The bytes that the filter forwarded.
    pub forwarded: Vec<u8>,
    /// Whether the end was forwarded.
    pub forwarded_end: bool,
}

// === impl Connection ===

impl Connection {
    /// Returns the number of bytes read from the client, and the number written to the client.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (if self.connected { self.downstream.received } else { 0 }, self.upstream.forwarded.len())
    }

    /// Returns whether the filter holds the connection or data of either side back.
    pub(crate) fn is_paused(&self) -> bool {
        !self.connected || self.downstream.stopped || self.upstream.stopped
    }
}

// === impl Flow ===

impl Flow {
    /// Returns the buffer while the filter may access it.
    pub(crate) fn buffer(&self) -> Option<&[u8]> {
        self.accessible.then_some(&self.buffer)
    }

    /// Returns the buffer for writing while the filter may access it.
    pub(crate) fn buffer_mut(&mut self) -> Option<&mut Vec<u8>> {
        self.accessible.then_some(&mut self.buffer)
    }

    /// Adds received bytes. Returns whether they changed anything.
    pub(crate) fn receive(&mut self, bytes: &[u8], end_of_stream: bool) -> bool {
        if self.ended || bytes.is_empty() && !end_of_stream {
            return false;
        }
        self.buffer.extend(bytes);
        self.received += bytes.len();
        self.ended = end_of_stream;
        true
    }

    /// Forwards the buffer and the end, if it was received.
    pub(crate) fn forward(&mut self) {
        self.forwarded.append(&mut self.buffer);
        self.forwarded_end |= self.ended;
        self.stopped = false;
    }
}
