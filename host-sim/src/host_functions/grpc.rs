//! gRPC calls and streams. The test responds to them.

use super::guest::{Answer, Guest, Stop};
use super::http_call::has_cluster;
use crate::abi::Status;
use crate::abi::pairs::decode_pairs;
use crate::state::callout::GrpcCall;
use crate::state::context::Root;
use std::time::Duration;

#[allow(clippy::too_many_arguments)] // The ABI defines the parameters.
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
    let mut call = read_call(guest, named)?;
    call.messages.push(message);
    call.ended = true;
    call.timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout)));
    open(guest, call, token_at)
}

#[allow(clippy::too_many_arguments)] // The ABI defines the parameters.
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
    let mut call = read_call(guest, named)?;
    call.is_stream = true;
    open(guest, call, token_at)
}

/// Reads upstream, service, method and metadata from the guest.
fn read_call(guest: &Guest<'_>, named: [(u32, u32); 4]) -> Result<GrpcCall, Stop> {
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
    // Other bytes may be a serialized GrpcService, which is not parsed here.
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
/// The bits of a token that encode its kind.
const KIND: u32 = 3;

/// Sends a message on a stream.
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

/// Closes a call, or the filter's side of a stream.
pub(super) fn proxy_grpc_close(guest: &mut Guest<'_>, token: u32) -> Answer {
    let root = root_of(guest, token)?;
    if token & KIND == CALL {
        root.grpc_calls.remove(&token).ok_or(Status::NotFound)?;
    } else {
        root.grpc_calls.get_mut(&token).ok_or(Status::NotFound)?.ended = true;
    }
    Ok(())
}

/// Cancels a call or a stream. No more callbacks follow.
pub(super) fn proxy_grpc_cancel(guest: &mut Guest<'_>, token: u32) -> Answer {
    root_of(guest, token)?.grpc_calls.remove(&token).map(|_| ()).ok_or_else(|| Status::NotFound.into())
}

/// Returns the current root context, after checking that the token encodes a call or a stream.
fn root_of<'a>(guest: &'a mut Guest<'_>, token: u32) -> Result<&'a mut Root, Stop> {
    if !matches!(token & KIND, CALL | STREAM) {
        return Err(Status::BadArgument.into());
    }
    guest.state_mut().root_mut().ok_or_else(|| Status::NotFound.into())
}
