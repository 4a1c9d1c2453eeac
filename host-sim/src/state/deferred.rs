//! Effects of host functions that the host applies after the callback has returned.

use super::local_response::LocalResponse;
use crate::abi::StreamType;

/// An effect of a host function that the host applies after the callback has returned. Streams, connections and root
/// contexts are named by their context id.
#[derive(Debug)]
pub(crate) enum Deferred {
    /// Continue a direction of a stream, or a connection.
    Continue(u32, StreamType),
    /// Reset a stream, or close a connection.
    Close(u32),
    /// Send a local response on a stream.
    Respond(u32, LocalResponse),
    /// Delete a root context that delayed its end.
    Delete(u32),
}
