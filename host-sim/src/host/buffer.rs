//! Buffers: configurations and bodies.

use super::{Answer, Guest, Stop};
use crate::abi::{BufferType, Status};

pub(super) fn proxy_get_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    size: u32,
    bytes_at: u32,
    size_at: u32,
) -> Answer {
    let bytes = get(guest, kind(buffer)?).ok_or(Status::NotFound)?;
    // Envoy writes no address and no size when there is nothing from there on.
    let rest = bytes.get(start as usize..).unwrap_or_default();
    let part = rest[..rest.len().min(size as usize)].to_vec();
    if part.is_empty() { Ok(()) } else { guest.give(&part, bytes_at, size_at) }
}

/// The size, and flags, which are always 0.
pub(super) fn proxy_get_buffer_status(guest: &mut Guest<'_>, buffer: u32, size_at: u32, flags_at: u32) -> Answer {
    let size = get(guest, kind(buffer)?).ok_or(Status::NotFound)?.len();
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
    get(guest, buffer).ok_or(Status::NotFound)?;
    let new = guest.read(bytes, bytes_size)?.to_vec();
    let body = match buffer {
        BufferType::HttpRequestBody => guest.state_mut().stream_mut().and_then(|stream| stream.request_body.as_mut()),
        // Configurations are read-only.
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
fn get<'a>(guest: &'a Guest<'_>, buffer: BufferType) -> Option<&'a [u8]> {
    let state = guest.state();
    match buffer {
        BufferType::VmConfiguration => Some(&state.surroundings.vm_configuration),
        BufferType::PluginConfiguration => state.plugin_configuration.as_deref(),
        BufferType::HttpRequestBody => state.stream()?.request_body.as_deref(),
        // Those of responses, callouts and TCP streams are never there yet.
        _ => None,
    }
}
