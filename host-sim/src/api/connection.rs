//! TCP connections: the builder, the open connection, and its outcome.

use super::simulator::Simulator;
use crate::abi::property_path;
use crate::lifecycle::connection;
use crate::lifecycle::runtime::StreamId;
use crate::state::connection::{ClosedBy, Connection};
use crate::state::context::Context;
use crate::state::log::Log;
use crate::state::properties::Properties;
use std::net::SocketAddr;

/// Builds a connection.
#[derive(Debug)]
#[must_use = "nothing happens before `open`"]
pub struct ConnectionBuilder<'a> {
    simulator: &'a mut Simulator,
    worker: usize,
    properties: Properties,
}

/// The id of an open connection. It is valid until [`OpenConnection::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(StreamId);

/// An open connection. Downstream is the client; upstream is the server to which the TCP proxy connects.
#[derive(Debug)]
pub struct OpenConnection<'a> {
    simulator: &'a mut Simulator,
    id: StreamId,
}

/// The outcome of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionOutcome {
    /// The bytes that the filter forwarded to the upstream.
    pub to_upstream: Vec<u8>,
    /// The bytes that the filter forwarded to the client.
    pub to_downstream: Vec<u8>,
    /// The side that closed the connection.
    pub closed_by: ClosedBy,
    /// Whether the filter still held the connection or data when the connection was closed.
    pub paused: bool,
    /// The trap that ended the VM, in a callback of this connection or before.
    pub trap: Option<String>,
    /// The log messages since the connection began.
    pub logs: Vec<Log>,
}

// === impl ConnectionBuilder ===

impl ConnectionBuilder<'_> {
    /// Sets the client's address: the properties `source.address` and `source.port`.
    pub fn source_address(self, address: SocketAddr) -> Self {
        self.address("source", address)
    }

    /// Sets the address that the client connected to: the properties `destination.address` and `destination.port`.
    pub fn destination_address(self, address: SocketAddr) -> Self {
        self.address("destination", address)
    }

    /// Sets a property of this connection, in Envoy's encoding.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.given.insert(property_path(path), value.as_ref().to_vec());
        self
    }

    /// Sets the worker that accepts the connection. Defaults to 0; the last worker if there are fewer.
    pub fn worker(mut self, worker: usize) -> Self {
        self.worker = worker;
        self
    }

    /// Opens the connection.
    pub fn open(self) -> ConnectionId {
        let ConnectionBuilder { simulator, worker, properties } = self;
        ConnectionId(simulator.runtime.begin(worker, |vm, root| connection::begin(vm, root, properties)))
    }

    fn address(self, whose: &str, address: SocketAddr) -> Self {
        let port = u64::from(address.port()).to_le_bytes();
        self.property(&[whose, "address"], address.to_string()).property(&[whose, "port"], port)
    }
}

// === impl OpenConnection ===

impl OpenConnection<'_> {
    /// Sends data from the client. The data waits until the filter lets the TCP proxy connect.
    pub fn downstream_data(self, bytes: impl AsRef<[u8]>, end_of_stream: bool) -> Self {
        let receive = |vm: &mut _, id| connection::receive_downstream(vm, id, bytes.as_ref(), end_of_stream);
        self.simulator.runtime.event(self.id, receive);
        self
    }

    /// Sends data from the upstream. Has no effect until the filter lets the TCP proxy connect.
    pub fn upstream_data(self, bytes: impl AsRef<[u8]>, end_of_stream: bool) -> Self {
        let receive = |vm: &mut _, id| connection::receive_upstream(vm, id, bytes.as_ref(), end_of_stream);
        self.simulator.runtime.event(self.id, receive);
        self
    }

    /// Sets a property from now on, in Envoy's encoding: for example `xds.cluster_name`, which the TCP proxy sets.
    pub fn property(self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.simulator.runtime.event(self.id, |vm, id| {
            if let Some(connection) = vm.connection_mut(id) {
                connection.properties.given.insert(property_path(path), value.as_ref().to_vec());
            }
        });
        self
    }

    /// Resets the connection to the upstream. If the TCP proxy has not connected yet, makes its attempt to connect fail.
    pub fn reset_upstream(self) -> Self {
        self.simulator.runtime.event(self.id, |vm, id| connection::close(vm, id, ClosedBy::Upstream));
        self
    }

    /// Returns the bytes that the filter has forwarded to the upstream.
    #[must_use]
    pub fn to_upstream(&self) -> &[u8] {
        self.peek().map(|connection| &connection.downstream.forwarded[..]).unwrap_or_default()
    }

    /// Returns the bytes that the filter has forwarded to the client.
    #[must_use]
    pub fn to_downstream(&self) -> &[u8] {
        self.peek().map(|connection| &connection.upstream.forwarded[..]).unwrap_or_default()
    }

    /// Returns whether the filter holds the connection, or data of either side.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.peek().is_some_and(Connection::is_paused)
    }

    /// Returns the side that closed the connection, or `None` while it is open.
    #[must_use]
    pub fn closed_by(&self) -> Option<ClosedBy> {
        self.peek()?.closed_by
    }

    /// Ends the connection: the client resets the connection, unless the connection is already closed.
    pub fn finish(self) -> ConnectionOutcome {
        let (connection, logs) = self.simulator.runtime.end(self.id, connection::end);
        let paused = connection.is_paused();
        let Connection { downstream, upstream, closed_by, failed, .. } = connection;
        ConnectionOutcome {
            to_upstream: downstream.forwarded,
            to_downstream: upstream.forwarded,
            closed_by: closed_by.unwrap_or_default(),
            paused,
            trap: failed,
            logs,
        }
    }

    fn peek(&self) -> Option<&Connection> {
        let state = self.simulator.runtime.vm(self.id)?.state();
        match state.contexts.get(&self.id.context) {
            Some(context) => Context::as_connection(context),
            None => state.closed.get(&self.id.context).map(|connection| &**connection),
        }
    }
}

impl Simulator {
    /// Returns a builder of a connection from a client.
    pub fn connection(&mut self) -> ConnectionBuilder<'_> {
        ConnectionBuilder { simulator: self, worker: 0, properties: Properties::default() }
    }

    /// Returns an open connection. After the connection has finished, all calls have no effect and its outcome is empty.
    pub fn open_connection(&mut self, id: ConnectionId) -> OpenConnection<'_> {
        OpenConnection { simulator: self, id: id.0 }
    }
}
