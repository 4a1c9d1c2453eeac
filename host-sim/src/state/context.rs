//! The contexts of a VM.

use super::callout::{GrpcCall, HttpCall};
use super::connection::Connection;
use super::properties::Properties;
use super::stream::Stream;
use crate::http::headers::Headers;
use crate::http::message::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// A context of the guest.
#[derive(Debug)]
pub(crate) enum Context {
    /// One configuration of the plugin.
    Root(Box<Root>),
    /// One HTTP request and its response.
    Stream(Box<Stream>),
    /// One TCP connection.
    Connection(Box<Connection>),
}

/// A root context.
#[derive(Debug, Default)]
pub(crate) struct Root {
    /// The periodic tick, if the guest set one.
    pub tick: Option<Tick>,
    /// Open HTTP callouts by token.
    pub http_calls: BTreeMap<u32, HttpCall>,
    /// Open gRPC callouts by token.
    pub grpc_calls: BTreeMap<u32, GrpcCall>,
    /// The response to an HTTP callout during its callback.
    pub http_response: Option<Message>,
    /// What a gRPC callout received, during the callback.
    pub grpc_initial_metadata: Option<Headers>,
    pub grpc_message: Option<Vec<u8>>,
    pub grpc_trailing_metadata: Option<Headers>,
    /// The status and message with which the last callout ended.
    pub status: (u32, String),
    /// Whether a newer configuration serves. The root context ends with its last stream.
    pub retired: bool,
    /// Whether `on_done` returned false: the root context ends when the guest calls `proxy_done`.
    pub waits_for_done: bool,
}

/// The periodic tick of a root context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub period: Duration,
    /// The time of the next tick, in nanoseconds since 1970.
    pub next: u64,
}

// === impl Context ===

impl Context {
    /// Returns the root context of a stream or connection, or `None` for a root context.
    pub(crate) fn root(&self) -> Option<u32> {
        match self {
            Context::Root(_) => None,
            Context::Stream(stream) => Some(stream.root),
            Context::Connection(connection) => Some(connection.root),
        }
    }

    pub(crate) fn as_root(&self) -> Option<&Root> {
        if let Context::Root(root) = self { Some(root) } else { None }
    }

    pub(crate) fn as_root_mut(&mut self) -> Option<&mut Root> {
        if let Context::Root(root) = self { Some(root) } else { None }
    }

    pub(crate) fn as_stream(&self) -> Option<&Stream> {
        if let Context::Stream(stream) = self { Some(stream) } else { None }
    }

    pub(crate) fn as_stream_mut(&mut self) -> Option<&mut Stream> {
        if let Context::Stream(stream) = self { Some(stream) } else { None }
    }

    pub(crate) fn as_connection(&self) -> Option<&Connection> {
        if let Context::Connection(connection) = self { Some(connection) } else { None }
    }

    pub(crate) fn as_connection_mut(&mut self) -> Option<&mut Connection> {
        if let Context::Connection(connection) = self { Some(connection) } else { None }
    }

    pub(crate) fn properties(&self) -> Option<&Properties> {
        match self {
            Context::Root(_) => None,
            Context::Stream(stream) => Some(&stream.properties),
            Context::Connection(connection) => Some(&connection.properties),
        }
    }

    pub(crate) fn properties_mut(&mut self) -> Option<&mut Properties> {
        match self {
            Context::Root(_) => None,
            Context::Stream(stream) => Some(&mut stream.properties),
            Context::Connection(connection) => Some(&mut connection.properties),
        }
    }
}
