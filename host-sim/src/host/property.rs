//! Properties, by path: the request's or the connection's own, then those of the simulator, then those that follow from
//! the request or the connection.

use super::{Answer, Guest};
use crate::abi::Status;
use crate::connection::Connection;
use crate::state::{State, Stream};

/// The ABI's encoding of a path: its parts, a NUL between them.
pub(crate) fn path(parts: &[&str]) -> Vec<u8> {
    parts.join("\0").into_bytes()
}

pub(super) fn proxy_get_property(guest: &mut Guest<'_>, path: u32, size: u32, value_at: u32, size_at: u32) -> Answer {
    let path = guest.read(path, size)?;
    // It is nothing's, and nothing has no encoding.
    if path.is_empty() {
        return Err(Status::SerializationFailure.into());
    }
    // Rust's SDK puts a NUL between the parts, C++'s one behind each.
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    let state = guest.state();
    let (stream, own) = (state.stream(), state.properties());
    let value = own
        .and_then(|own| own.given.get(path))
        .or_else(|| state.surroundings.properties.get(path))
        .cloned()
        .or_else(|| of_plugin(state, path))
        .or_else(|| of_request(stream?, path))
        .or_else(|| of_response(stream?, path))
        .or_else(|| of_sizes(state.connection()?, path))
        // Neither has TLS.
        .or_else(|| own.filter(|_| path == b"connection\0mtls").map(|_| vec![0]))
        // One that was set has no parts.
        .or_else(|| own?.set.get(path).filter(|_| !path.contains(&0)).cloned())
        .ok_or(Status::NotFound)?;
    guest.give(&value, value_at, size_at)
}

/// Writes a property of the stream or connection; there is none to write outside of one. Those that Envoy has of that
/// name aren't changed.
pub(super) fn proxy_set_property(guest: &mut Guest<'_>, path: u32, size: u32, value: u32, value_size: u32) -> Answer {
    let (path, value) = (guest.read(path, size)?.to_vec(), guest.read(value, value_size)?.to_vec());
    guest.state_mut().properties_mut().ok_or(Status::NotFound)?.set.insert(path, value);
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

/// What Envoy makes from the request: of its headers only while they are there.
fn of_request(stream: &Stream, path: &[u8]) -> Option<Vec<u8>> {
    let name = path.strip_prefix(b"request\0")?;
    let headers = if stream.logging { Some(&stream.request.passed.headers) } else { stream.request.headers.as_ref() };
    let headers = headers.filter(|_| !stream.request.gone);
    match name {
        b"protocol" => return Some(b"HTTP/1.1".to_vec()),
        b"size" => return Some(number(stream.request.received)),
        b"total_size" => {
            let of_headers =
                headers.map_or(0, |headers| headers.iter().map(|(name, value)| name.len() + value.len()).sum());
            return Some(number(stream.request.received + of_headers));
        }
        _ => {}
    }
    let headers = headers?;
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

/// What Envoy makes from the response: of its headers and trailers only while they are there.
fn of_response(stream: &Stream, path: &[u8]) -> Option<Vec<u8>> {
    let name = path.strip_prefix(b"response\0")?;
    let response = &stream.response;
    let begun = response.headers.as_ref().or(Some(&response.passed.headers).filter(|headers| !headers.is_empty()));
    match name {
        b"code" => return Some(number(std::str::from_utf8(begun?.get(":status")?).ok()?.parse().ok()?)),
        b"code_details" => {
            let details =
                begun.map(|_| stream.local_response.as_ref().map_or(&b"via_upstream"[..], |local| &local.details));
            return Some(details?.to_vec());
        }
        b"size" => return Some(number(response.passed.body.len())),
        _ => {}
    }
    let (headers, trailers) = match stream.logging {
        true => (Some(&response.passed.headers), Some(&response.passed.trailers)),
        false => (response.headers.as_ref(), response.trailers.as_ref()),
    };
    let value = match name.strip_prefix(b"headers\0") {
        Some(header) => headers?.get(header)?,
        None => trailers?.get(name.strip_prefix(b"trailers\0")?)?,
    };
    Some(value.to_vec())
}

/// What Envoy has of a request and a response where there are none.
fn of_sizes(connection: &Connection, path: &[u8]) -> Option<Vec<u8>> {
    let (received, sent) = connection.sizes();
    match path {
        b"request\0size" | b"request\0total_size" => Some(number(received)),
        b"response\0size" => Some(number(sent)),
        _ => None,
    }
}

/// A number as a property.
fn number(number: usize) -> Vec<u8> {
    (number as u64).to_le_bytes().to_vec()
}
