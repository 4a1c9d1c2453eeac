//! gRPC callouts: calls and streams. The test answers them.

use super::http_call::has_cluster;
use super::{Answer, Guest};
use crate::abi::{Status, decode_pairs};
use crate::headers::Headers;
use crate::state::Root;
use std::time::Duration;

/// A gRPC call or stream that a filter opened and that isn't closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcCall {
    /// By which it is answered.
    pub token: u32,
    /// Whether it is a stream, to which the filter may send more messages.
    pub is_stream: bool,
    /// The Envoy cluster that it goes to, or a serialised `envoy.config.core.v3.GrpcService`.
    pub upstream: Vec<u8>,
    /// The service, as `package.Service`.
    pub service: String,
    /// The method.
    pub method: String,
    /// The initial metadata.
    pub metadata: Headers,
    /// The messages that the filter has sent.
    pub messages: Vec<Vec<u8>>,
    /// Whether the filter sends no more.
    pub ended: bool,
    /// How long the filter waits; `None` is for ever.
    pub timeout: Option<Duration>,
    /// The root context that is called back.
    pub(crate) root: u32,
}

#[allow(clippy::too_many_arguments)] // The ABI's.
pub(super) fn proxy_grpc_call(
    guest: &mut Guest<'_>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    token_at: u32,
) -> Answer {
    let message = guest.read(message, message_size)?.to_vec();
    let named = [(upstream, upstream_size), (service, service_size), (method, method_size), (metadata, metadata_size)];
    let mut call = opened(guest, named)?;
    call.messages.push(message);
    call.ended = true;
    call.timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout)));
    open(guest, call, token_at)
}

#[allow(clippy::too_many_arguments)] // The ABI's.
pub(super) fn proxy_grpc_stream(
    guest: &mut Guest<'_>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    token_at: u32,
) -> Answer {
    let named = [(upstream, upstream_size), (service, service_size), (method, method_size), (metadata, metadata_size)];
    let mut call = opened(guest, named)?;
    call.is_stream = true;
    open(guest, call, token_at)
}

/// Upstream, service, method and metadata as the guest names them.
fn opened(guest: &Guest<'_>, named: [(u32, u32); 4]) -> Result<GrpcCall, super::Stop> {
    let [upstream, service, method, metadata] = named.map(|(at, size)| guest.read(at, size));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(GrpcCall {
        token: 0,
        is_stream: false,
        upstream: upstream?.to_vec(),
        service: text(service?),
        method: text(method?),
        metadata: decode_pairs(metadata?).into_iter().collect(),
        messages: Vec::new(),
        ended: false,
        timeout: None,
        root: guest.state().root_id(),
    })
}

fn open(guest: &mut Guest<'_>, mut call: GrpcCall, token_at: u32) -> Answer {
    let state = guest.state_mut();
    // What isn't the name of a cluster may be a serialised GrpcService, which isn't looked into.
    let is_name =
        std::str::from_utf8(&call.upstream).is_ok_and(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
    if is_name && !has_cluster(state, &String::from_utf8_lossy(&call.upstream)) {
        return Err(Status::ParseFailure.into());
    }
    let last = if call.is_stream { &mut state.tokens.grpc_stream } else { &mut state.tokens.grpc_call };
    *last += 4;
    call.token = *last + if call.is_stream { STREAM } else { CALL };
    let token = call.token;
    state.root_mut().ok_or(Status::InternalFailure)?.grpc_calls.insert(token, call);
    guest.write(token_at, &token.to_le_bytes())
}

const CALL: u32 = 1;
const STREAM: u32 = 2;
/// The bits of a token that say what it is of.
const KIND: u32 = 3;

/// One more message on a stream.
pub(super) fn proxy_grpc_send(guest: &mut Guest<'_>, token: u32, message: u32, size: u32, end: u32) -> Answer {
    let message = guest.read(message, size)?.to_vec();
    if token & KIND != STREAM {
        return Err(Status::BadArgument.into());
    }
    let call = guest.state_mut().root_mut().and_then(|root| root.grpc_calls.get_mut(&token));
    let call = call.ok_or(Status::NotFound)?;
    call.messages.push(message);
    call.ended |= end != 0;
    Ok(())
}

/// Ends a call, or the filter's side of a stream.
pub(super) fn proxy_grpc_close(guest: &mut Guest<'_>, token: u32) -> Answer {
    let root = root_of(guest, token)?;
    if token & KIND == CALL {
        root.grpc_calls.remove(&token).ok_or(Status::NotFound)?;
    } else {
        root.grpc_calls.get_mut(&token).ok_or(Status::NotFound)?.ended = true;
    }
    Ok(())
}

/// Ends a call or a stream; nothing more comes of it.
pub(super) fn proxy_grpc_cancel(guest: &mut Guest<'_>, token: u32) -> Answer {
    root_of(guest, token)?.grpc_calls.remove(&token).map(|_| ()).ok_or_else(|| Status::NotFound.into())
}

/// The root context whose call or stream a token may be of.
fn root_of<'a>(guest: &'a mut Guest<'_>, token: u32) -> Result<&'a mut Root, super::Stop> {
    if !matches!(token & KIND, CALL | STREAM) {
        return Err(Status::BadArgument.into());
    }
    guest.state_mut().root_mut().ok_or_else(|| Status::NotFound.into())
}
