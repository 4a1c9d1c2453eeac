//! A TCP connection in the filter, as Envoy's connection drives its filters before a TCP proxy.

use super::root;
use crate::abi::encode_size;
use crate::state::callback::Trap;
use crate::state::connection::{ClosedBy, Connection, Flow};
use crate::state::context::Context;
use crate::state::properties::Properties;
use crate::vm::callbacks::SelectCallback;
use crate::vm::instance::Vm;
use wasmi::{WasmParams, WasmResults};

/// The return value of a callback that lets the connection or its data continue. Any other value stops it.
const CONTINUE: u32 = 0;

/// Peer types of the connection close callbacks.
const PEER_UNKNOWN: u32 = 0;
const PEER_LOCAL: u32 = 1;
const PEER_REMOTE: u32 = 2;

/// Begins a connection of a root context. Returns its id.
pub(crate) fn begin(vm: &mut Vm, root: u32, properties: Properties) -> u32 {
    let id = vm.next_context();
    let bypasses_filter = vm.is_bypassed();
    let new = Connection { root, properties, bypasses_filter, ..Connection::default() };
    vm.state_mut().contexts.insert(id, Context::Connection(Box::new(new)));
    notify(vm, id, |callbacks| callbacks.context_create, (id, root));
    if ask(vm, id, |callbacks| callbacks.new_connection, id) {
        connect(vm, id);
    }
    id
}

/// Receives data from the client.
pub(crate) fn receive_downstream(vm: &mut Vm, id: u32, bytes: &[u8], end_of_stream: bool) {
    if open(vm, id).is_some_and(|connection| connection.downstream.receive(bytes, end_of_stream)) {
        read(vm, id);
    }
}

/// Receives data from the upstream, unless the TCP proxy has not connected.
pub(crate) fn receive_upstream(vm: &mut Vm, id: u32, bytes: &[u8], end_of_stream: bool) {
    let connected = open(vm, id).filter(|connection| connection.connected);
    if connected.is_some_and(|connection| connection.upstream.receive(bytes, end_of_stream)) {
        write(vm, id);
    }
}

/// Continues a connection: lets it reach the TCP proxy, or forwards what the filter held of the client's data.
pub(super) fn resume(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id) else { return };
    if !connection.connected {
        return connect(vm, id);
    }
    connection.downstream.forward();
    close_if_ended(vm, id);
}

/// Closes a connection in Envoy's order.
pub(crate) fn close(vm: &mut Vm, id: u32, by: ClosedBy) {
    let Some(connection) = open(vm, id) else { return };
    connection.closed_by = Some(by);
    let peer = if by == ClosedBy::Client { PEER_REMOTE } else { PEER_LOCAL };
    notify(vm, id, |callbacks| callbacks.downstream_connection_close, (id, peer));
    notify(vm, id, |callbacks| callbacks.done, id);
    notify(vm, id, |callbacks| callbacks.log, id);
    notify(vm, id, |callbacks| callbacks.delete, id);
}

/// Removes the contexts of closed connections, as Envoy does after the event. Their outcomes remain for the test.
pub(super) fn remove_closed(vm: &mut Vm) {
    let is_closed = |context: &Context| context.as_connection().is_some_and(|closed| closed.closed_by.is_some());
    let contexts = vm.state().contexts.iter();
    let closed: Vec<u32> = contexts.filter(|(_, context)| is_closed(context)).map(|(id, _)| *id).collect();
    for id in closed {
        if let Some(Context::Connection(connection)) = vm.state_mut().contexts.remove(&id) {
            let root = connection.root;
            vm.state_mut().closed.insert(id, connection);
            root::end_if_unused(vm, root);
        }
    }
}

/// Ends a connection: the client resets it unless it is closed. Returns the connection.
pub(crate) fn end(vm: &mut Vm, id: u32) -> Connection {
    close(vm, id, ClosedBy::Client);
    remove_closed(vm);
    vm.state_mut().closed.remove(&id).map(|connection| *connection).unwrap_or_default()
}

/// Returns a connection that is not closed.
fn open(vm: &mut Vm, id: u32) -> Option<&mut Connection> {
    vm.connection_mut(id).filter(|connection| connection.closed_by.is_none())
}

/// Lets a connection reach the TCP proxy, and reads what the client sent so far.
fn connect(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id).filter(|connection| !connection.connected) else { return };
    connection.connected = true;
    read(vm, id);
}

/// Passes the client's data to the filter.
fn read(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id).filter(|connection| connection.connected) else { return };
    let flow = &mut connection.downstream;
    if flow.buffer.is_empty() && !flow.ended {
        return;
    }
    flow.accessible = true;
    let params = (id, encode_size(flow.buffer.len()), u32::from(flow.ended));
    let continues = ask(vm, id, |callbacks| callbacks.downstream_data, params);
    finish_data_callback(vm, id, |connection| &mut connection.downstream, continues);
    let both_ended = |connection: &mut Connection| connection.downstream.ended && connection.upstream.forwarded_end;
    if open(vm, id).is_some_and(both_ended) {
        close(vm, id, ClosedBy::Client);
    }
    close_if_ended(vm, id);
}

/// Passes the upstream's data to the filter.
fn write(vm: &mut Vm, id: u32) {
    let Some(connection) = open(vm, id) else { return };
    let flow = &mut connection.upstream;
    flow.accessible = true;
    let ends = flow.ended;
    let params = (id, encode_size(flow.buffer.len()), u32::from(ends));
    let continues = ask(vm, id, |callbacks| callbacks.upstream_data, params);
    finish_data_callback(vm, id, |connection| &mut connection.upstream, continues);
    if ends {
        // Envoy calls this even after `on_delete`, if the filter closed the connection meanwhile.
        notify(vm, id, |callbacks| callbacks.upstream_connection_close, (id, PEER_UNKNOWN));
    }
    close_if_ended(vm, id);
}

/// Forwards or holds data after its callback. Data of a connection that was closed meanwhile is lost.
fn finish_data_callback(vm: &mut Vm, id: u32, flow: fn(&mut Connection) -> &mut Flow, continues: bool) {
    let Some(connection) = vm.connection_mut(id) else { return };
    let is_open = connection.closed_by.is_none();
    let flow = flow(connection);
    if !continues {
        flow.stopped = true;
        return;
    }
    flow.accessible = false;
    if is_open {
        flow.forward();
    }
}

/// Closes a connection when one side has ended and the other side's end was forwarded, even if the filter still holds data.
fn close_if_ended(vm: &mut Vm, id: u32) {
    let has_ended = |connection: &mut Connection| {
        let Connection { downstream, upstream, .. } = connection;
        downstream.ended && upstream.forwarded_end || upstream.ended && downstream.forwarded_end
    };
    if open(vm, id).is_some_and(has_ended) {
        close(vm, id, ClosedBy::Upstream);
    }
}

/// Calls a callback that decides whether the connection or its data continues. A missing callback continues.
fn ask<Params: WasmParams>(vm: &mut Vm, id: u32, callback: SelectCallback<Params, u32>, params: Params) -> bool {
    vm.call(id, callback, params, |vm, result| match result {
        Ok(answer) => answer.unwrap_or_default() == CONTINUE,
        Err(trap) => {
            record_trap(vm, id, Some(trap));
            let bypasses_filter = vm.connection_mut(id).is_some_and(|connection| connection.bypasses_filter);
            if !bypasses_filter {
                close(vm, id, ClosedBy::Failure);
            }
            bypasses_filter
        }
    })
}

/// Calls a callback whose return value is ignored.
fn notify<Params: WasmParams, Results: WasmResults>(
    vm: &mut Vm,
    id: u32,
    callback: SelectCallback<Params, Results>,
    params: Params,
) {
    vm.call(id, callback, params, |vm, result| record_trap(vm, id, result.err()));
}

/// Records the first trap of a connection.
fn record_trap(vm: &mut Vm, id: u32, trap: Option<Trap>) {
    if let (Some(connection), Some(Trap { callback, why })) = (vm.connection_mut(id), trap) {
        connection.failed.get_or_insert_with(|| format!("{callback}: {why}"));
    }
}
