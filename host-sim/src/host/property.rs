//! Properties, by path: the request's own, then those of the simulator, then those that follow from the request.

use super::{Answer, Guest};
use crate::abi::Status;
use crate::state::{State, Stream};

/// The ABI's encoding of a path: its parts, a NUL between them.
pub(crate) fn path(parts: &[&str]) -> Vec<u8> {
    parts.join("\0").into_bytes()
}

pub(super) fn proxy_get_property(guest: &mut Guest<'_>, path: u32, size: u32, value_at: u32, size_at: u32) -> Answer {
    let path = guest.read(path, size)?;
    // Rust's SDK puts a NUL between the parts, C++'s one behind each.
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    let state = guest.state();
    let stream = state.stream();
    let value = stream
        .and_then(|stream| stream.properties.get(path))
        .or_else(|| state.surroundings.properties.get(path))
        .cloned()
        .or_else(|| of_plugin(state, path))
        .or_else(|| of_request(stream?, path))
        .ok_or(Status::NotFound)?;
    guest.give(&value, value_at, size_at)
}

/// Writes a property of the stream, whatever its path; there is none to write outside of one.
pub(super) fn proxy_set_property(guest: &mut Guest<'_>, path: u32, size: u32, value: u32, value_size: u32) -> Answer {
    let (path, value) = (guest.read(path, size)?.to_vec(), guest.read(value, value_size)?.to_vec());
    let path = path.strip_suffix(&[0]).unwrap_or(&path).to_vec();
    guest.state_mut().stream_mut().ok_or(Status::NotFound)?.properties.insert(path, value);
    Ok(())
}

/// What Envoy knows of the plugin.
fn of_plugin(state: &State, path: &[u8]) -> Option<Vec<u8>> {
    match path {
        b"plugin_vm_id" => Some(state.surroundings.vm_id.clone().into_bytes()),
        b"plugin_root_id" => Some(Vec::new()),
        _ => None,
    }
}

/// What Envoy makes from the request's headers, while they are there.
fn of_request(stream: &Stream, path: &[u8]) -> Option<Vec<u8>> {
    let headers = if stream.logging { &stream.request.passed.headers } else { stream.request.headers.as_ref()? };
    let name = path.strip_prefix(b"request\0")?;
    let value = match name {
        b"path" => headers.get(":path")?,
        b"url_path" => headers.get(":path")?.split(|byte| *byte == b'?').next()?,
        b"query" => headers.get(":path")?.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default(),
        b"host" => headers.get(":authority")?,
        b"scheme" => headers.get(":scheme")?,
        b"method" => headers.get(":method")?,
        b"referer" => headers.get("referer")?,
        b"useragent" => headers.get("user-agent")?,
        b"id" => headers.get("x-request-id")?,
        header => headers.get(header.strip_prefix(b"headers\0")?)?,
    };
    Some(value.to_vec())
}
