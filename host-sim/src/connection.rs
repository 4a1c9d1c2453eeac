//! A TCP connection through the filter, from its beginning to its end, as Envoy's connection drives its filters before a
//! TCP proxy.

use crate::host::log::Log;
use crate::host::property;
use crate::pipeline::{lets_by, retire, settle, size};
use crate::request::StreamId;
use crate::simulator::Simulator;
use crate::state::{Context, Properties};
use crate::vm::{Callback, Callbacks, Trap, Vm};
use std::net::SocketAddr;
use wasmi::WasmParams;

/// A connection that isn't there yet.
#[derive(Debug)]
#[must_use = "nothing happens before `open`"]
pub struct ConnectionBuilder<'a> {
    simulator: &'a mut Simulator,
    worker: usize,
    properties: Properties,
}

/// A connection that [`ConnectionBuilder::open`] began. It is there until [`OpenConnection::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(StreamId);

/// A connection in the middle of its way. Downstream is the client, upstream what the TCP proxy connects to.
#[derive(Debug)]
pub struct OpenConnection<'a> {
    simulator: &'a mut Simulator,
    id: StreamId,
}

/// What came of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionOutcome {
    /// What the filter let go to the upstream.
    pub to_upstream: Vec<u8>,
    /// What the filter let go to the client.
    pub to_downstream: Vec<u8>,
    /// Who closed it.
    pub closed_by: ClosedBy,
    /// Whether the filter held something back, and hadn't let go of it when the connection was closed.
    pub paused: bool,
    /// The trap that this connection met, or that had ended the VM before.
    pub trap: Option<String>,
    /// What was logged since the connection began.
    pub logs: Vec<Log>,
}

/// Who closed a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosedBy {
    /// The client: it broke off, or ended last.
    #[default]
    Client,
    /// The upstream: it broke off, or ended last.
    Upstream,
    /// The filter, by `proxy_close_stream`.
    Filter,
    /// Envoy, for a filter whose VM is dead.
    Failure,
}

/// The host's side of a TCP connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The root context it belongs to.
    pub root: u32,
    pub properties: Properties,
    /// What the client sends.
    pub downstream: Flow,
    /// What the upstream sends.
    pub upstream: Flow,
    /// Whether the filter let the connection go on to the TCP proxy, which reads nothing of the client's before that.
    connected: bool,
    closed_by: Option<ClosedBy>,
    /// The VM died.
    failed: Option<String>,
    /// It began when the VM was dead already, and goes by.
    is_let_by: bool,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// What came, and was not let go: whoever reads it next gets all of it.
    buffer: Vec<u8>,
    /// Whether the filter has the buffer: from its callback until it continues in one.
    given: bool,
    /// The filter stopped in its last callback.
    stopped: bool,
    /// How many bytes came.
    received: usize,
    /// Whether the end came.
    ended: bool,
    /// What was let go.
    passed: Vec<u8>,
    /// Whether the end was let go too.
    passed_end: bool,
}

// === impl ConnectionBuilder ===

impl ConnectionBuilder<'_> {
    /// The client's address: the properties `source.address` and `source.port`.
    pub fn source_address(self, address: SocketAddr) -> Self {
        self.address("source", address)
    }

    /// The address that the client connected to: the properties `destination.address` and `destination.port`.
    pub fn destination_address(self, address: SocketAddr) -> Self {
        self.address("destination", address)
    }

    /// A property of this connection, by its path and in Envoy's encoding.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.given.insert(property::path(path), value.as_ref().to_vec());
        self
    }

    /// The worker that takes it; the first unless set. One that isn't there is the last.
    pub fn worker(mut self, worker: usize) -> Self {
        self.worker = worker;
        self
    }

    /// Begins the connection.
    pub fn open(self) -> ConnectionId {
        let ConnectionBuilder { simulator, worker, properties } = self;
        ConnectionId(simulator.begin(worker, |vm, root| begin(vm, root, properties)))
    }

    fn address(self, whose: &str, address: SocketAddr) -> Self {
        let port = u64::from(address.port()).to_le_bytes();
        self.property(&[whose, "address"], address.to_string()).property(&[whose, "port"], port)
    }
}

// === impl OpenConnection ===

impl OpenConnection<'_> {
    /// What the client sends, and whether it ends with it. While the filter hasn't let the connection go on, it waits.
    pub fn downstream_data(self, bytes: impl AsRef<[u8]>, end_of_stream: bool) -> Self {
        self.simulator.happen(self.id, |vm, id| {
            if receive(vm, id, |connection| &mut connection.downstream, bytes.as_ref(), end_of_stream) {
                read(vm, id);
            }
        });
        self
    }

    /// What the upstream sends, and whether it ends with it; of no effect before the filter has let the connection go
    /// on.
    pub fn upstream_data(self, bytes: impl AsRef<[u8]>, end_of_stream: bool) -> Self {
        self.simulator.happen(self.id, |vm, id| {
            let connected = connection(vm, id).is_some_and(|connection| connection.connected);
            if connected && receive(vm, id, |connection| &mut connection.upstream, bytes.as_ref(), end_of_stream) {
                write(vm, id);
            }
        });
        self
    }

    /// A property that the connection has from now on, by its path and in Envoy's encoding: `xds.cluster_name`, say,
    /// which the TCP proxy knows.
    pub fn property(self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.simulator.happen(self.id, |vm, id| {
            if let Some(connection) = connection(vm, id) {
                connection.properties.given.insert(property::path(path), value.as_ref().to_vec());
            }
        });
        self
    }

    /// The upstream breaks off, or was never reached.
    pub fn reset_upstream(self) -> Self {
        self.simulator.happen(self.id, |vm, id| close(vm, id, ClosedBy::Upstream));
        self
    }

    /// What the filter has let go to the upstream.
    #[must_use]
    pub fn to_upstream(&self) -> &[u8] {
        self.peek().map(|connection| &connection.downstream.passed[..]).unwrap_or_default()
    }

    /// What the filter has let go to the client.
    #[must_use]
    pub fn to_downstream(&self) -> &[u8] {
        self.peek().map(|connection| &connection.upstream.passed[..]).unwrap_or_default()
    }

    /// Whether the filter holds the connection or what one of the two sent back.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.peek().is_some_and(Connection::is_paused)
    }

    /// Who closed it; `None` while it is open.
    #[must_use]
    pub fn closed_by(&self) -> Option<ClosedBy> {
        self.peek()?.closed_by
    }

    /// Ends the connection: the client breaks off, unless it is closed already.
    pub fn finish(self) -> ConnectionOutcome {
        let (connection, logs) = self.simulator.finish(self.id, end);
        let paused = connection.is_paused();
        let Connection { downstream, upstream, closed_by, failed, .. } = connection;
        ConnectionOutcome {
            to_upstream: downstream.passed,
            to_downstream: upstream.passed,
            closed_by: closed_by.unwrap_or_default(),
            paused,
            trap: failed,
            logs,
        }
    }

    fn peek(&self) -> Option<&Connection> {
        let state = self.simulator.vm(self.id)?.state();
        match state.contexts.get(&self.id.context) {
            Some(Context::Connection(connection)) => Some(connection),
            Some(Context::Root(_) | Context::Stream(_)) => None,
            None => state.closed.get(&self.id.context).map(|connection| &**connection),
        }
    }
}

impl Simulator {
    /// A connection from a client.
    pub fn connection(&mut self) -> ConnectionBuilder<'_> {
        ConnectionBuilder { simulator: self, worker: 0, properties: Properties::default() }
    }

    /// A connection that [`ConnectionBuilder::open`] began. One that is finished is none any more: whatever is done with it
    /// has no effect, and its outcome is empty.
    pub fn open_connection(&mut self, id: ConnectionId) -> OpenConnection<'_> {
        OpenConnection { simulator: self, id: id.0 }
    }
}

// === impl Connection ===

impl Connection {
    /// How many bytes were read from the client, and how many written to it.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (if self.connected { self.downstream.received } else { 0 }, self.upstream.passed.len())
    }

    fn is_paused(&self) -> bool {
        !self.connected || self.downstream.stopped || self.upstream.stopped
    }
}

// === impl Flow ===

impl Flow {
    /// What the filter has now: it can be read, and written.
    pub(crate) fn buffer(&self) -> Option<&[u8]> {
        self.given.then_some(&self.buffer)
    }

    /// [`buffer`](Flow::buffer), to change it.
    pub(crate) fn buffer_mut(&mut self) -> Option<&mut Vec<u8>> {
        self.given.then_some(&mut self.buffer)
    }

    fn pass(&mut self) {
        self.passed.append(&mut self.buffer);
        self.passed_end |= self.ended;
        self.stopped = false;
    }
}

fn connection(vm: &mut Vm, id: u32) -> Option<&mut Connection> {
    match vm.state_mut().contexts.get_mut(&id)? {
        Context::Connection(connection) => Some(connection),
        Context::Root(_) | Context::Stream(_) => None,
    }
}

/// A connection that isn't closed.
fn open(vm: &mut Vm, id: u32) -> Option<&mut Connection> {
    connection(vm, id).filter(|connection| connection.closed_by.is_none())
}

fn begin(vm: &mut Vm, root: u32, properties: Properties) -> u32 {
    let id = vm.next_context();
    let new = Connection { root, properties, is_let_by: lets_by(vm), ..Connection::default() };
    vm.state_mut().contexts.insert(id, Context::Connection(Box::new(new)));
    tell(vm, id, |callbacks| callbacks.context_create, (id, root));
    if ask(vm, id, |callbacks| callbacks.new_connection, id) {
        connect(vm, id);
    }
    id
}

/// The TCP proxy gets the connection, and what the client sent meanwhile is read.
fn connect(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id).filter(|connection| !connection.connected) else { return };
    connection.connected = true;
    read(vm, id);
}

/// Adds to what the filter has, or will have; whether there is something new.
fn receive(vm: &mut Vm, id: u32, flow: fn(&mut Connection) -> &mut Flow, bytes: &[u8], end_of_stream: bool) -> bool {
    let Some(connection) = open(vm, id) else { return false };
    let flow = flow(connection);
    if flow.ended || bytes.is_empty() && !end_of_stream {
        return false;
    }
    flow.buffer.extend(bytes);
    flow.received += bytes.len();
    flow.ended = end_of_stream;
    true
}

/// Gives the filter what the client sent.
fn read(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id).filter(|connection| connection.connected) else { return };
    let flow = &mut connection.downstream;
    if flow.buffer.is_empty() && !flow.ended {
        return;
    }
    flow.given = true;
    let params = (id, size(&flow.buffer), u32::from(flow.ended));
    let goes_on = ask(vm, id, |callbacks| callbacks.downstream_data, params);
    take(vm, id, |connection| &mut connection.downstream, goes_on);
    let both_ended = |connection: &mut Connection| connection.downstream.ended && connection.upstream.passed_end;
    if open(vm, id).is_some_and(both_ended) {
        close(vm, id, ClosedBy::Client);
    }
    close_ended(vm, id);
}

/// Gives the filter what the upstream sent.
fn write(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id) else { return };
    let flow = &mut connection.upstream;
    flow.given = true;
    let ends = flow.ended;
    let params = (id, size(&flow.buffer), u32::from(ends));
    let goes_on = ask(vm, id, |callbacks| callbacks.upstream_data, params);
    take(vm, id, |connection| &mut connection.upstream, goes_on);
    if ends {
        // Even if the connection is closed by now, and the filter was told that it is deleted.
        tell(vm, id, |callbacks| callbacks.upstream_connection_close, (id, UNKNOWN));
    }
    close_ended(vm, id);
}

/// What a callback of data came to. What was to go on in a connection that is closed by now is lost.
fn take(vm: &mut Vm, id: u32, flow: fn(&mut Connection) -> &mut Flow, goes_on: bool) {
    let Some(connection) = connection(vm, id) else { return };
    let is_open = connection.closed_by.is_none();
    let flow = flow(connection);
    if !goes_on {
        flow.stopped = true;
        return;
    }
    flow.given = false;
    if is_open {
        flow.pass();
    }
}

/// The connection goes on: who is next gets what the filter held up of what the client sent.
pub(crate) fn go_on(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id) else { return };
    if !connection.connected {
        return connect(vm, id);
    }
    connection.downstream.pass();
    close_ended(vm, id);
}

/// Closes a connection where both have ended: to the client when it got the upstream's end, or from the upstream when
/// that got the client's, whatever the filter still holds of what it sent.
fn close_ended(vm: &mut Vm, id: u32) {
    let ended = |connection: &mut Connection| {
        let Connection { downstream, upstream, .. } = connection;
        downstream.ended && upstream.passed_end || upstream.ended && downstream.passed_end
    };
    if open(vm, id).is_some_and(ended) {
        close(vm, id, ClosedBy::Upstream);
    }
}

/// What a callback answers for the connection or its data to go on; whatever else stops it.
const CONTINUE: u32 = 0;
/// What callbacks of a connection's end are told of who did it.
const UNKNOWN: u32 = 0;
const LOCAL: u32 = 1;
const REMOTE: u32 = 2;

/// Closes a connection, in Envoy's order.
pub(crate) fn close(vm: &mut Vm, id: u32, by: ClosedBy) {
    let Some(connection) = open(vm, id) else { return };
    connection.closed_by = Some(by);
    let side = if by == ClosedBy::Client { REMOTE } else { LOCAL };
    tell(vm, id, |callbacks| callbacks.downstream_connection_close, (id, side));
    let done = vm.call(id, |callbacks| callbacks.done, id);
    note(vm, id, done.err());
    settle(vm);
    tell(vm, id, |callbacks| callbacks.log, id);
    tell(vm, id, |callbacks| callbacks.delete, id);
}

/// Makes a callback that is asked whether the connection or its data goes on. One that isn't there continues.
fn ask<Params: WasmParams>(
    vm: &mut Vm,
    id: u32,
    callback: fn(&Callbacks) -> Callback<Params, u32>,
    params: Params,
) -> bool {
    let goes_on = match vm.call(id, callback, params) {
        Ok(answer) => answer.unwrap_or_default() == CONTINUE,
        Err(trap) => {
            note(vm, id, Some(trap));
            let is_let_by = connection(vm, id).is_some_and(|connection| connection.is_let_by);
            if !is_let_by {
                close(vm, id, ClosedBy::Failure);
            }
            is_let_by
        }
    };
    settle(vm);
    goes_on
}

/// Makes a callback that isn't asked anything.
fn tell<Params: WasmParams>(vm: &mut Vm, id: u32, callback: fn(&Callbacks) -> Callback<Params, ()>, params: Params) {
    let told = vm.call(id, callback, params);
    note(vm, id, told.err());
    settle(vm);
}

/// Keeps the first trap.
fn note(vm: &mut Vm, id: u32, trap: Option<Trap>) {
    if let (Some(connection), Some(Trap { callback, why })) = (connection(vm, id), trap) {
        connection.failed.get_or_insert_with(|| format!("{callback}: {why}"));
    }
}

/// Forgets the contexts of connections that are closed, as Envoy does when the event is over; what came of them is kept
/// for the test.
pub(crate) fn sweep(vm: &mut Vm) {
    let is_closed =
        |context: &Context| matches!(context, Context::Connection(connection) if connection.closed_by.is_some());
    let contexts = vm.state().contexts.iter();
    let closed: Vec<u32> = contexts.filter(|(_, context)| is_closed(context)).map(|(id, _)| *id).collect();
    for id in closed {
        if let Some(Context::Connection(connection)) = vm.state_mut().contexts.remove(&id) {
            let root = connection.root;
            vm.state_mut().closed.insert(id, connection);
            retire(vm, root);
        }
    }
}

/// Ends a connection; the connection as it was.
fn end(vm: &mut Vm, id: u32) -> Connection {
    close(vm, id, ClosedBy::Client);
    sweep(vm);
    vm.state_mut().closed.remove(&id).map(|connection| *connection).unwrap_or_default()
}
