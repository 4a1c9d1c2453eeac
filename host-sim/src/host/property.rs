//! Properties, by path: the request's own, then those of the simulator, then those that follow from the request.

use super::{Answer, Guest};
use crate::abi::Status;
use crate::headers::Headers;

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
        .or_else(|| of_request(stream?.request_headers.as_ref()?, path))
        .ok_or(Status::NotFound)?;
    guest.give(&value, value_at, size_at)
}

/// What Envoy makes from the request's headers.
fn of_request(headers: &Headers, path: &[u8]) -> Option<Vec<u8>> {
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
