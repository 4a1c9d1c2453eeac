//! Buffers: configurations, bodies, and data of connections. A body is available from its callback until the filter
//! forwards it; data until a data callback returns Continue.

use super::guest::{Answer, Guest, Stop};
use crate::abi::{BufferType, Status};
use crate::state::vm_state::State;

pub(super) fn proxy_get_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    size: u32,
    bytes_at: u32,
    size_at: u32,
) -> Answer {
    let bytes = get(guest.state(), kind(buffer)?).ok_or(Status::NotFound)?;
    let rest = bytes.get(start as usize..).unwrap_or_default();
    let part = rest[..rest.len().min(size as usize)].to_vec();
    guest.give(&part, bytes_at, size_at)
}

/// Returns the size, and flags, which are always 0.
pub(super) fn proxy_get_buffer_status(guest: &mut Guest<'_>, buffer: u32, size_at: u32, flags_at: u32) -> Answer {
    let size = get(guest.state(), kind(buffer)?).ok_or(Status::NotFound)?.len();
    guest.write_u32(size_at, size)?;
    guest.write_u32(flags_at, 0)
}

/// Replaces `size` bytes at the start, or appends bytes.
pub(super) fn proxy_set_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    size: u32,
    bytes: u32,
    bytes_size: u32,
) -> Answer {
    let buffer = kind(buffer)?;
    get(guest.state(), buffer).ok_or(Status::NotFound)?;
    let new = guest.read(bytes, bytes_size)?.to_vec();
    let state = guest.state_mut();
    let body = match buffer {
        BufferType::HttpRequestBody => state.stream_mut().and_then(|stream| stream.request.body.as_mut()),
        BufferType::HttpResponseBody => state.stream_mut().and_then(|stream| stream.response.body.as_mut()),
        BufferType::DownstreamData => state.connection_mut().and_then(|connection| connection.downstream.buffer_mut()),
        BufferType::UpstreamData => state.connection_mut().and_then(|connection| connection.upstream.buffer_mut()),
        BufferType::GrpcReceiveBuffer => state.root_mut().and_then(|root| root.grpc_message.as_mut()),
        // All other buffers are read-only.
        _ => None,
    };
    let body = body.ok_or(Status::BadArgument)?;
    let (start, size) = (start as usize, size as usize);
    if start == 0 {
        body.splice(..size.min(body.len()), new);
    } else if start >= body.len() {
        body.extend(new);
    } else {
        return Err(Status::BadArgument.into());
    }
    Ok(())
}

fn kind(buffer: u32) -> Result<BufferType, Stop> {
    Ok(BufferType::from_abi(buffer).ok_or(Status::BadArgument)?)
}

/// Returns a buffer, or `None` if it is not available. Bodies, data and messages are empty instead of unavailable.
fn get(state: &State, buffer: BufferType) -> Option<&[u8]> {
    let empty: &[u8] = &[];
    match buffer {
        BufferType::VmConfiguration => Some(&state.config.vm_configuration),
        BufferType::PluginConfiguration => state.plugin_configuration.as_deref(),
        BufferType::HttpRequestBody => {
            // A buffered body stays available after `proxy_continue_stream`.
            let request = state.stream().map(|stream| &stream.request);
            let request = request.filter(|direction| !direction.continued || direction.buffering);
            let body = request.and_then(|request| request.body.as_deref());
            Some(body.unwrap_or(empty))
        }
        BufferType::HttpResponseBody => {
            let body = state.stream().and_then(|stream| stream.response.body.as_deref());
            Some(body.unwrap_or(empty))
        }
        BufferType::HttpCallResponseBody => state.root()?.http_response.as_ref().map(|response| &response.body[..]),
        BufferType::GrpcReceiveBuffer => {
            let message = state.root().and_then(|root| root.grpc_message.as_deref());
            Some(message.unwrap_or(empty))
        }
        BufferType::DownstreamData => {
            let data = state.connection().and_then(|connection| connection.downstream.buffer());
            Some(data.unwrap_or(empty))
        }
        BufferType::UpstreamData => {
            let data = state.connection().and_then(|connection| connection.upstream.buffer());
            Some(data.unwrap_or(empty))
        }
        // The arguments of `on_foreign_function`, which no foreign function calls.
        BufferType::CallData => Some(empty),
    }
}
