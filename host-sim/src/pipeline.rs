//! An HTTP stream's way through the filter, as Envoy's filter manager drives it: what is given to which callback, what
//! waits, what is let go, and what the filter asked for once a callback is over.

use crate::abi::{Action, StreamType};
use crate::connection::{self, ClosedBy};
use crate::headers::Headers;
use crate::host::local_response::LocalResponse;
use crate::message::Response;
use crate::state::{After, Context, FailurePolicy, Half, Part, Root, Stream};
use crate::vm::{Trap, Vm};

/// A size as the ABI has it.
pub(crate) fn size(bytes: &[u8]) -> u32 {
    number(bytes.len())
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(crate) fn stream(vm: &mut Vm, id: u32) -> Option<&mut Stream> {
    match vm.state_mut().contexts.get_mut(&id)? {
        Context::Stream(stream) => Some(stream),
        Context::Root(_) | Context::Connection(_) => None,
    }
}

pub(crate) fn root(vm: &mut Vm, id: u32) -> Option<&mut Root> {
    match vm.state_mut().contexts.get_mut(&id)? {
        Context::Root(root) => Some(root),
        Context::Stream(_) | Context::Connection(_) => None,
    }
}

/// Begins a stream of a root context; its id.
pub(crate) fn begin(vm: &mut Vm, root: u32, mut new: Stream) -> u32 {
    let id = vm.next_context();
    new.root = root;
    new.is_let_by = lets_by(vm);
    vm.state_mut().contexts.insert(id, Context::Stream(Box::new(new)));
    let created = vm.call(id, |callbacks| callbacks.context_create, (id, root));
    guard(vm, id, created.map(|_| ()));
    settle(vm);
    id
}

/// Adds parts to a direction of a stream, and gives the filter what it takes now.
pub(crate) fn push(vm: &mut Vm, id: u32, direction: StreamType, parts: impl IntoIterator<Item = Part>) {
    if let Some(half) = half(vm, id, direction) {
        parts.into_iter().for_each(|part| half.come(part));
    }
    run(vm, id, direction);
}

/// Ends a stream, in Envoy's order; the stream as it was, and an empty one if it has ended already.
pub(crate) fn end(vm: &mut Vm, id: u32) -> Stream {
    if stream(vm, id).is_none() {
        return Stream::default();
    }
    if vm.dead().is_none() {
        if let Some(stream) = stream(vm, id) {
            stream.logging = true;
        }
        let logged = vm.call(id, |callbacks| callbacks.log, id);
        guard(vm, id, logged.map(|_| ()));
        if let Some(stream) = stream(vm, id) {
            stream.logging = false;
        }
        settle(vm);
        let done = vm.call(id, |callbacks| callbacks.done, id);
        guard(vm, id, done.map(|_| ()));
        let deleted = vm.call(id, |callbacks| callbacks.delete, id);
        guard(vm, id, deleted.map(|_| ()));
    }
    let ended = match vm.state_mut().contexts.remove(&id) {
        Some(Context::Stream(stream)) => *stream,
        // Whatever a guest does, a stream's context stays one.
        Some(Context::Root(_) | Context::Connection(_)) | None => Stream::default(),
    };
    settle(vm);
    retire(vm, ended.root);
    ended
}

/// Another configuration serves from now on: the root context ends as soon as it has no more streams.
pub(crate) fn retire(vm: &mut Vm, id: u32) {
    let is_free = |context: &Context| match context {
        Context::Stream(stream) => stream.root != id,
        Context::Connection(connection) => connection.root != id,
        Context::Root(_) => true,
    };
    let is_done = vm.state().contexts.values().all(is_free);
    let is_retired = root(vm, id).is_some_and(|root| root.retired && !root.waits_for_done);
    if !is_done || !is_retired {
        return;
    }
    // A trap here ends the VM; whoever asks next is told so.
    match vm.call(id, |callbacks| callbacks.done, id) {
        Ok(Some(0)) => {
            if let Some(root) = root(vm, id) {
                root.waits_for_done = true;
            }
        }
        Ok(_) => delete(vm, id),
        Err(_) => {}
    }
    settle(vm);
}

fn delete(vm: &mut Vm, id: u32) {
    _ = vm.call(id, |callbacks| callbacks.delete, id);
    vm.state_mut().contexts.remove(&id);
}

/// What host functions asked for while a callback ran, in order.
pub(crate) fn settle(vm: &mut Vm) {
    while let Some(after) = vm.state_mut().after.pop_front() {
        match after {
            After::Continue(id, StreamType::Downstream | StreamType::Upstream) => connection::go_on(vm, id),
            After::Continue(id, direction) => go_on(vm, id, direction),
            After::Close(id) => match stream(vm, id) {
                Some(stream) => {
                    stream.reset = true;
                    stream.request.todo.clear();
                    stream.response.todo.clear();
                }
                None => connection::close(vm, id, ClosedBy::Filter),
            },
            After::Respond(id, response) => respond(vm, id, response),
            After::Done(id) => delete(vm, id),
        }
    }
}

fn half(vm: &mut Vm, id: u32, direction: StreamType) -> Option<&mut Half> {
    let stream = stream(vm, id)?;
    Some(if direction == StreamType::Response { &mut stream.response } else { &mut stream.request })
}

/// Gives the filter one part after the other, until it stops or there is no more.
fn run(vm: &mut Vm, id: u32, direction: StreamType) {
    loop {
        let Some(stream) = stream(vm, id) else { return };
        if stream.failed.is_some() || vm.dead().is_some() {
            return pass_by(vm, id, direction);
        }
        let Some(half) = half(vm, id, direction) else { return };
        if half.stopped {
            return;
        }
        let Some(part) = half.todo.pop_front() else { return };
        give(vm, id, direction, part);
        settle(vm);
    }
}

fn give(vm: &mut Vm, id: u32, direction: StreamType, part: Part) {
    match part {
        Part::Headers(headers, ends) => give_headers(vm, id, direction, headers, ends),
        Part::Body(bytes, ends) => give_body(vm, id, direction, bytes, ends),
        Part::Trailers(trailers) => give_trailers(vm, id, direction, trailers),
    }
}

fn give_headers(vm: &mut Vm, id: u32, direction: StreamType, headers: Headers, ends: bool) {
    let count = number(headers.len());
    begin_part(vm, id, direction, ends, |half| half.headers = Some(headers));
    let flag = u32::from(ends);
    let request = direction == StreamType::Request;
    let mut answer = vm.call(
        id,
        |callbacks| if request { callbacks.request_headers } else { callbacks.response_headers },
        (id, count, flag),
    );
    if matches!(answer, Ok(None)) {
        answer = vm.call(
            id,
            |callbacks| if request { callbacks.request_headers_0_1 } else { callbacks.response_headers_0_1 },
            (id, count),
        );
    }
    let Some(action) = outcome(vm, id, answer, Action::of_headers) else { return };
    if let Some(half) = half(vm, id, direction) {
        match action {
            Action::Continue => {
                half.release_headers();
                half.ended |= ends;
            }
            Action::Pause | Action::Drop => half.stopped = true,
        }
    }
}

fn give_body(vm: &mut Vm, id: u32, direction: StreamType, bytes: Vec<u8>, ends: bool) {
    let mut length = 0;
    begin_part(vm, id, direction, ends, |half| {
        let body = half.body.get_or_insert_default();
        if !half.collecting {
            body.clear();
        }
        half.received += bytes.len();
        body.extend(bytes);
        length = body.len();
    });
    let request = direction == StreamType::Request;
    let answer = vm.call(
        id,
        |callbacks| if request { callbacks.request_body } else { callbacks.response_body },
        (id, number(length), u32::from(ends)),
    );
    let Some(action) = outcome(vm, id, answer, Action::of_body) else { return };
    if let Some(half) = half(vm, id, direction) {
        half.collecting = action == Action::Pause;
        match action {
            Action::Continue => {
                half.release_body();
                // The filter may have made trailers at the end of the body.
                half.release_trailers();
                half.ended |= ends;
            }
            Action::Pause => {}
            Action::Drop => half.body = None,
        }
    }
}

fn give_trailers(vm: &mut Vm, id: u32, direction: StreamType, trailers: Headers) {
    let count = number(trailers.len());
    begin_part(vm, id, direction, true, |half| half.trailers = Some(trailers));
    let request = direction == StreamType::Request;
    let answer = vm.call(
        id,
        |callbacks| if request { callbacks.request_trailers } else { callbacks.response_trailers },
        (id, count),
    );
    let Some(action) = outcome(vm, id, answer, Action::of_headers) else { return };
    if let Some(half) = half(vm, id, direction) {
        match action {
            // What was collected of the body goes with them.
            Action::Continue => half.release(true),
            Action::Pause | Action::Drop => half.stopped = true,
        }
    }
}

fn begin_part(vm: &mut Vm, id: u32, direction: StreamType, ends: bool, fill: impl FnOnce(&mut Half)) {
    if let Some(stream) = stream(vm, id) {
        stream.end_of_stream = ends;
    }
    if let Some(half) = half(vm, id, direction) {
        half.gone = false;
        fill(half);
    }
}

/// What a callback of a stream came to; `None` if the VM died in it. A callback that isn't there continues.
fn outcome(vm: &mut Vm, id: u32, answer: Result<Option<u32>, Trap>, action: fn(u32) -> Action) -> Option<Action> {
    match answer {
        Ok(_) if vm.state().stop => Some(Action::Drop),
        Ok(answer) => Some(action(answer.unwrap_or_default())),
        Err(trap) => {
            guard(vm, id, Err(trap));
            None
        }
    }
}

/// Whether new streams and connections go by without the filter: its VM is dead, and the policy says so. Those that
/// were there when it died fail under any policy.
pub(crate) fn lets_by(vm: &Vm) -> bool {
    vm.dead().is_some() && vm.state().surroundings.failure_policy == FailurePolicy::Open
}

/// A stream whose VM is dead: answered 503, or let by.
pub(crate) fn guard(vm: &mut Vm, id: u32, result: Result<(), Trap>) {
    let Err(trap) = result else { return };
    let Some(stream) = stream(vm, id) else { return };
    if stream.failed.is_some() {
        return;
    }
    stream.failed = Some(format!("{}: {}", trap.callback, trap.why));
    if stream.is_let_by {
        pass_by(vm, id, StreamType::Request);
        pass_by(vm, id, StreamType::Response);
    } else {
        fail(vm, id);
    }
}

fn fail(vm: &mut Vm, id: u32) {
    let Some(stream) = stream(vm, id) else { return };
    stream.request.todo.clear();
    if stream.response.passed.headers.is_empty() {
        let failed = stream.local_response.get_or_insert_with(LocalResponse::fail_closed);
        stream.response.passed = failed.response(stream.is_grpc);
        stream.response.ended = true;
    }
    stream.response.todo.clear();
}

/// What the filter hasn't seen goes by without it.
fn pass_by(vm: &mut Vm, id: u32, direction: StreamType) {
    if !stream(vm, id).is_some_and(|stream| stream.is_let_by) {
        return fail(vm, id);
    }
    let Some(half) = half(vm, id, direction) else { return };
    half.stopped = false;
    half.release(false);
    for part in std::mem::take(&mut half.todo) {
        match part {
            Part::Headers(headers, ends) => {
                half.passed.headers = headers;
                half.ended |= ends;
            }
            Part::Body(bytes, ends) => {
                half.passed.body.extend(bytes);
                half.ended |= ends;
            }
            Part::Trailers(trailers) => {
                half.passed.trailers = trailers;
                half.ended = true;
            }
        }
    }
}

/// A direction that the filter held up goes on.
fn go_on(vm: &mut Vm, id: u32, direction: StreamType) {
    let Some(stream) = stream(vm, id) else { return };
    let ends = stream.end_of_stream;
    let Some(half) = half(vm, id, direction) else { return };
    let held = half.stopped || half.collecting;
    half.stopped = false;
    half.collecting = false;
    half.release(held && ends && half.todo.is_empty());
    run(vm, id, direction);
}

/// The filter answers the client itself. The answer goes through the filter like any other.
fn respond(vm: &mut Vm, id: u32, response: LocalResponse) {
    let Some(stream) = stream(vm, id) else { return };
    // The first one is the one sent.
    if stream.local_response.is_some() || stream.reset {
        return;
    }
    stream.request.todo.clear();
    let message = response.response(stream.is_grpc);
    stream.local_response = Some(response);
    // The upstream's has begun: there is no other way left to end it.
    if !stream.response.passed.headers.is_empty() {
        stream.reset = true;
        stream.response.todo.clear();
        return;
    }
    // In place of headers that the filter has: nobody is asked about it any more.
    let is_late = stream.response.headers.is_some();
    stream.response = Half::default();
    if is_late {
        stream.response.passed = message;
        stream.response.ended = true;
        stream.response.stopped = true;
    } else {
        push(vm, id, StreamType::Response, parts(message));
    }
}

/// A whole message, as its parts come.
pub(crate) fn parts(message: Response) -> Vec<Part> {
    let Response { headers, body, trailers } = message;
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

// === impl Half ===

impl Half {
    /// A part comes, unless the end has come already. What waits of a body is one piece, as in Envoy.
    fn come(&mut self, part: Part) {
        if self.complete {
            return;
        }
        self.complete = match &part {
            Part::Headers(_, ends) | Part::Body(_, ends) => *ends,
            Part::Trailers(_) => true,
        };
        match (self.todo.back_mut(), part) {
            (Some(Part::Body(waiting, ends)), Part::Body(bytes, end)) => {
                waiting.extend(bytes);
                *ends = end;
            }
            (_, part) => self.todo.push_back(part),
        }
    }

    /// What the filter has goes on to whoever is next.
    fn release(&mut self, ends: bool) {
        self.release_headers();
        self.release_body();
        self.release_trailers();
        self.ended |= ends;
    }

    fn release_headers(&mut self) {
        if let Some(headers) = self.headers.take() {
            self.passed.headers = headers;
        }
    }

    fn release_body(&mut self) {
        if let Some(body) = self.body.take() {
            self.passed.body.extend(body);
        }
    }

    fn release_trailers(&mut self) {
        if let Some(trailers) = self.trailers.take() {
            self.passed.trailers = trailers;
        }
    }
}
