//! An HTTP stream in the filter, as Envoy's filter manager drives it: which callback sees which part, what is held, and
//! what is forwarded.

use super::root;
use crate::abi::{Action, StreamType, encode_size};
use crate::http::headers::Headers;
use crate::http::message::Message;
use crate::state::callback::Trap;
use crate::state::context::Context;
use crate::state::local_response::LocalResponse;
use crate::state::stream::{Direction, Part, Stream};
use crate::vm::callbacks::Callbacks;
use crate::vm::instance::Vm;

/// Begins a stream of a root context. Returns its id.
pub(crate) fn begin(vm: &mut Vm, root: u32, mut stream: Stream) -> u32 {
    let id = vm.next_context();
    stream.root = root;
    stream.bypasses_filter = vm.is_bypassed();
    vm.state_mut().contexts.insert(id, Context::Stream(Box::new(stream)));
    vm.call(id, |callbacks| callbacks.context_create, (id, root), |vm, result| handle_trap(vm, id, result));
    id
}

/// Adds parts to a direction, and passes them to the filter until it pauses.
pub(crate) fn push(vm: &mut Vm, id: u32, stream_type: StreamType, parts: impl IntoIterator<Item = Part>) {
    if let Some(direction) = direction(vm, id, stream_type) {
        parts.into_iter().for_each(|part| direction.receive(part));
    }
    run(vm, id, stream_type);
}

/// Ends a stream in Envoy's order. Returns the stream, or an empty one if it has ended already.
pub(crate) fn end(vm: &mut Vm, id: u32) -> Stream {
    if vm.stream_mut(id).is_none() {
        return Stream::default();
    }
    if vm.failed().is_none() {
        if let Some(stream) = vm.stream_mut(id) {
            stream.logging = true;
        }
        vm.call(
            id,
            |callbacks| callbacks.log,
            id,
            |vm, result| {
                handle_trap(vm, id, result);
                if let Some(stream) = vm.stream_mut(id) {
                    stream.logging = false;
                }
            },
        );
        if let Some(stream) = vm.stream_mut(id) {
            stream.finished = true;
        }
        vm.call(id, |callbacks| callbacks.done, id, |vm, result| handle_trap(vm, id, result));
        vm.call(id, |callbacks| callbacks.delete, id, |vm, result| handle_trap(vm, id, result));
    }
    let ended = match vm.state_mut().contexts.remove(&id) {
        Some(Context::Stream(stream)) => *stream,
        Some(Context::Root(_) | Context::Connection(_)) | None => Stream::default(),
    };
    root::end_if_unused(vm, ended.root);
    ended
}

/// Continues a direction that the filter stopped.
pub(super) fn resume(vm: &mut Vm, id: u32, stream_type: StreamType) {
    let Some(stream) = vm.stream_mut(id).filter(|stream| !stream.finished) else { return };
    let ends = stream.end_of_stream;
    let Some(direction) = direction(vm, id, stream_type) else { return };
    let was_held = direction.stopped || direction.buffering;
    direction.stopped = false;
    direction.buffering = false;
    direction.release(was_held && ends && direction.pending.is_empty());
    run(vm, id, stream_type);
}

/// Sends a local response, which passes the filter as any response does.
pub(super) fn respond(vm: &mut Vm, id: u32, response: LocalResponse) {
    let Some(stream) = vm.stream_mut(id).filter(|stream| !stream.finished) else { return };
    // Only the first local response is sent.
    if stream.local_response.is_some() || stream.reset {
        return;
    }
    stream.request.pending.clear();
    let message = response.response(stream.is_grpc);
    stream.local_response = Some(response);
    // The upstream's response has begun: Envoy can only reset the stream.
    if !stream.response.forwarded.headers.is_empty() {
        stream.reset = true;
        stream.response.pending.clear();
        return;
    }
    // The filter holds response headers: the local response replaces them without another callback.
    let has_headers = stream.response.headers.is_some();
    stream.response = Direction::default();
    if has_headers {
        stream.response.forwarded = message;
        stream.response.ended = true;
        stream.response.stopped = true;
    } else {
        push(vm, id, StreamType::Response, parts(message));
    }
}

/// Returns the parts of a complete message.
pub(crate) fn parts(message: Message) -> Vec<Part> {
    let Message { headers, body, trailers } = message;
    let (has_body, has_trailers) = (!body.is_empty(), !trailers.is_empty());
    let mut parts = vec![Part::Headers(headers, !has_body && !has_trailers)];
    if has_body {
        parts.push(Part::Body(body, !has_trailers));
    }
    if has_trailers {
        parts.push(Part::Trailers(trailers));
    }
    parts
}

fn direction(vm: &mut Vm, id: u32, stream_type: StreamType) -> Option<&mut Direction> {
    let stream = vm.stream_mut(id)?;
    Some(if stream_type == StreamType::Response { &mut stream.response } else { &mut stream.request })
}

/// Passes part after part to the filter, until it stops or none is left.
fn run(vm: &mut Vm, id: u32, stream_type: StreamType) {
    loop {
        let Some(stream) = vm.stream_mut(id) else { return };
        if stream.failed.is_some() || vm.failed().is_some() {
            return bypass(vm, id, stream_type);
        }
        let Some(direction) = direction(vm, id, stream_type) else { return };
        if direction.stopped {
            return;
        }
        match direction.pending.pop_front() {
            Some(Part::Headers(headers, ends)) => pass_headers(vm, id, stream_type, headers, ends),
            Some(Part::Body(bytes, ends)) => pass_body(vm, id, stream_type, bytes, ends),
            Some(Part::Trailers(trailers)) => pass_trailers(vm, id, stream_type, trailers),
            None => return,
        }
    }
}

fn pass_headers(vm: &mut Vm, id: u32, stream_type: StreamType, headers: Headers, ends: bool) {
    let count = encode_size(headers.len());
    begin_part(vm, id, stream_type, ends, |direction| direction.headers = Some(headers));
    let then = |vm: &mut Vm, result| {
        let Some(action) = action(vm, id, result, Action::from_headers_callback) else { return };
        if let Some(direction) = direction(vm, id, stream_type) {
            match action {
                Action::Continue => {
                    direction.release_headers();
                    direction.ended |= ends;
                }
                Action::Pause | Action::Drop => direction.stopped = true,
            }
        }
    };
    let is_response = stream_type == StreamType::Response;
    // ABI 0.1.0 has no `end_of_stream` parameter.
    if vm.callbacks.request_headers_0_1.function.is_some() && !is_response {
        vm.call(id, |callbacks| callbacks.request_headers_0_1, (id, count), then);
    } else if vm.callbacks.response_headers_0_1.function.is_some() && is_response {
        vm.call(id, |callbacks| callbacks.response_headers_0_1, (id, count), then);
    } else if is_response {
        vm.call(id, |callbacks| callbacks.response_headers, (id, count, u32::from(ends)), then);
    } else {
        vm.call(id, |callbacks| callbacks.request_headers, (id, count, u32::from(ends)), then);
    }
}

fn pass_body(vm: &mut Vm, id: u32, stream_type: StreamType, bytes: Vec<u8>, ends: bool) {
    let mut length = 0;
    begin_part(vm, id, stream_type, ends, |direction| {
        let body = direction.body.get_or_insert_default();
        if !direction.buffering {
            body.clear();
        }
        direction.received += bytes.len();
        body.extend(bytes);
        length = body.len();
    });
    let callback = match stream_type {
        StreamType::Response => |callbacks: &Callbacks| callbacks.response_body,
        _ => |callbacks: &Callbacks| callbacks.request_body,
    };
    vm.call(id, callback, (id, encode_size(length), u32::from(ends)), |vm, result| {
        let Some(action) = action(vm, id, result, Action::from_body_callback) else { return };
        if let Some(direction) = direction(vm, id, stream_type) {
            direction.buffering = action == Action::Pause;
            match action {
                Action::Continue => {
                    direction.release_body();
                    // The filter may have created trailers at the end of the body.
                    direction.release_trailers();
                    direction.ended |= ends;
                }
                Action::Pause => {}
                Action::Drop => direction.body = None,
            }
        }
    });
}

fn pass_trailers(vm: &mut Vm, id: u32, stream_type: StreamType, trailers: Headers) {
    let count = encode_size(trailers.len());
    begin_part(vm, id, stream_type, true, |direction| direction.trailers = Some(trailers));
    let callback = match stream_type {
        StreamType::Response => |callbacks: &Callbacks| callbacks.response_trailers,
        _ => |callbacks: &Callbacks| callbacks.request_trailers,
    };
    vm.call(id, callback, (id, count), |vm, result| {
        let Some(action) = action(vm, id, result, Action::from_headers_callback) else { return };
        if let Some(direction) = direction(vm, id, stream_type) {
            match action {
                // A buffered body is forwarded with the trailers.
                Action::Continue => direction.release(true),
                Action::Pause | Action::Drop => direction.stopped = true,
            }
        }
    });
}

fn begin_part(vm: &mut Vm, id: u32, stream_type: StreamType, ends: bool, fill: impl FnOnce(&mut Direction)) {
    if let Some(stream) = vm.stream_mut(id) {
        stream.end_of_stream = ends;
    }
    if let Some(direction) = direction(vm, id, stream_type) {
        direction.continued = false;
        fill(direction);
    }
}

/// Returns the action that a callback asks for, or `None` if it trapped. A missing callback continues.
fn action(vm: &mut Vm, id: u32, result: Result<Option<u32>, Trap>, from_callback: fn(u32) -> Action) -> Option<Action> {
    match result {
        Ok(_) if vm.state().local_response_sent => Some(Action::Drop),
        Ok(answer) => Some(from_callback(answer.unwrap_or_default())),
        Err(trap) => {
            handle_trap::<()>(vm, id, Err(trap));
            None
        }
    }
}

/// Makes a stream fail if its callback trapped: the client receives 503, or the stream bypasses the filter.
fn handle_trap<T>(vm: &mut Vm, id: u32, result: Result<T, Trap>) {
    let Err(trap) = result else { return };
    let Some(stream) = vm.stream_mut(id) else { return };
    if stream.failed.is_some() {
        return;
    }
    stream.failed = Some(format!("{}: {}", trap.callback, trap.why));
    if stream.bypasses_filter {
        stream.request.bypass();
        stream.response.bypass();
    } else {
        stream.fail();
    }
}

/// Handles the parts that the filter has not seen after its VM failed.
fn bypass(vm: &mut Vm, id: u32, stream_type: StreamType) {
    let Some(stream) = vm.stream_mut(id) else { return };
    if !stream.bypasses_filter {
        stream.fail();
    } else if let Some(direction) = direction(vm, id, stream_type) {
        direction.bypass();
    }
}
