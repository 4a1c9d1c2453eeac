//! Buffers: configurations and bodies. A body is there from its callback until the filter lets it go.

use super::{Answer, Guest, Stop};
use crate::abi::{BufferType, Status};
use crate::state::State;

pub(super) fn proxy_get_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    size: u32,
    bytes_at: u32,
    size_at: u32,
) -> Answer {
    let bytes = get(guest.state(), kind(buffer)?).ok_or(Status::NotFound)?;
    // Envoy writes no address and no size when there is nothing from there on.
    let rest = bytes.get(start as usize..).unwrap_or_default();
    let part = rest[..rest.len().min(size as usize)].to_vec();
    if part.is_empty() { Ok(()) } else { guest.give(&part, bytes_at, size_at) }
}

/// The size, and flags, which are always 0.
pub(super) fn proxy_get_buffer_status(guest: &mut Guest<'_>, buffer: u32, size_at: u32, flags_at: u32) -> Answer {
    let size = get(guest.state(), kind(buffer)?).ok_or(Status::NotFound)?.len();
    guest.write_u32(size_at, size)?;
    guest.write_u32(flags_at, 0)
}

/// Puts bytes at the start (in place of nothing or of all) or at the end.
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
    let stream = guest.state_mut().stream_mut();
    let body = match buffer {
        BufferType::HttpRequestBody => stream.and_then(|stream| stream.request.body.as_mut()),
        BufferType::HttpResponseBody => stream.and_then(|stream| stream.response.body.as_mut()),
        // All others are read-only.
        _ => None,
    };
    let body = body.ok_or(Status::BadArgument)?;
    let (start, size) = (start as usize, size as usize);
    match (start, size) {
        (0, 0) => _ = body.splice(..0, new),
        (0, size) if size >= body.len() => *body = new,
        (start, _) if start > 0 && start >= body.len() => body.extend(new),
        _ => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

fn kind(buffer: u32) -> Result<BufferType, Stop> {
    Ok(BufferType::from_abi(buffer).ok_or(Status::BadArgument)?)
}

/// A buffer, if it is there now.
fn get(state: &State, buffer: BufferType) -> Option<&[u8]> {
    match buffer {
        BufferType::VmConfiguration => Some(&state.surroundings.vm_configuration),
        BufferType::PluginConfiguration => state.plugin_configuration.as_deref(),
        BufferType::HttpRequestBody => state.stream()?.request.body.as_deref(),
        BufferType::HttpResponseBody => state.stream()?.response.body.as_deref(),
        BufferType::HttpCallResponseBody => state.root()?.http_response.as_ref().map(|response| &response.body[..]),
        BufferType::GrpcReceiveBuffer => state.root()?.grpc_message.as_deref(),
        // What foreign functions call back with.
        BufferType::CallData => Some(&[]),
        BufferType::DownstreamData | BufferType::UpstreamData => None,
    }
}
