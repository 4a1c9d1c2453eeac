//! Properties by path. The test's properties of the request or connection come first, then those of the simulator, then
//! those that Envoy derives from the request or the connection, then those that the filter set.

use super::guest::{Answer, Guest};
use crate::abi::Status;
use crate::state::connection::Connection;
use crate::state::stream::Stream;
use crate::state::vm_state::State;

pub(super) fn proxy_get_property(guest: &mut Guest<'_>, path: u32, size: u32, value_at: u32, size_at: u32) -> Answer {
    let path = guest.read(path, size)?;
    // An empty path names no value, and Envoy cannot serialize it.
    if path.is_empty() {
        return Err(Status::SerializationFailure.into());
    }
    // The Rust SDK separates parts by NUL; the C++ SDK terminates each part by NUL.
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    let state = guest.state();
    let (stream, own) = (state.stream(), state.properties());
    let value = own
        .and_then(|own| own.given.get(path))
        .or_else(|| state.config.properties.get(path))
        .cloned()
        .or_else(|| plugin_property(state, path))
        .or_else(|| request_property(stream?, path))
        .or_else(|| response_property(stream?, path))
        .or_else(|| connection_property(state.connection()?, path))
        // No stream or connection uses TLS.
        .or_else(|| own.filter(|_| path == b"connection\0mtls").map(|_| vec![0]))
        // The name of a property that the filter set has no parts.
        .or_else(|| own?.set.get(path).filter(|_| !path.contains(&0)).cloned())
        .ok_or(Status::NotFound)?;
    guest.give(&value, value_at, size_at)
}

/// Sets a property of the stream or connection. Envoy's own properties of that name are not changed.
pub(super) fn proxy_set_property(guest: &mut Guest<'_>, path: u32, size: u32, value: u32, value_size: u32) -> Answer {
    let (path, value) = (guest.read(path, size)?.to_vec(), guest.read(value, value_size)?.to_vec());
    guest.state_mut().properties_mut().ok_or(Status::NotFound)?.set.insert(path, value);
    Ok(())
}

/// Returns a property of the plugin.
fn plugin_property(state: &State, path: &[u8]) -> Option<Vec<u8>> {
    match path {
        b"plugin_vm_id" => Some(state.config.vm_id.clone().into_bytes()),
        b"plugin_root_id" => Some(Vec::new()),
        _ => None,
    }
}

/// Returns a property of the request. Headers are available only while the filter can read them.
fn request_property(stream: &Stream, path: &[u8]) -> Option<Vec<u8>> {
    let name = path.strip_prefix(b"request\0")?;
    let headers =
        if stream.logging { Some(&stream.request.forwarded.headers) } else { stream.request.headers.as_ref() };
    let headers = headers.filter(|_| !stream.request.continued);
    match name {
        b"protocol" => return Some(b"HTTP/1.1".to_vec()),
        b"size" => return Some(encode_number(stream.request.received)),
        b"total_size" => {
            let of_headers =
                headers.map_or(0, |headers| headers.iter().map(|(name, value)| name.len() + value.len()).sum());
            return Some(encode_number(stream.request.received + of_headers));
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

/// Returns a property of the response. Headers and trailers are available only while the filter can read them.
fn response_property(stream: &Stream, path: &[u8]) -> Option<Vec<u8>> {
    let name = path.strip_prefix(b"response\0")?;
    let response = &stream.response;
    let begun = response.headers.as_ref().or(Some(&response.forwarded.headers).filter(|headers| !headers.is_empty()));
    match name {
        b"code" => return Some(encode_number(std::str::from_utf8(begun?.get(":status")?).ok()?.parse().ok()?)),
        b"code_details" => {
            let details =
                begun.map(|_| stream.local_response.as_ref().map_or(&b"via_upstream"[..], |local| &local.details));
            return Some(details?.to_vec());
        }
        b"size" => return Some(encode_number(response.forwarded.body.len())),
        _ => {}
    }
    let (headers, trailers) = match stream.logging {
        true => (Some(&response.forwarded.headers), Some(&response.forwarded.trailers)),
        false => (response.headers.as_ref(), response.trailers.as_ref()),
    };
    let value = match name.strip_prefix(b"headers\0") {
        Some(header) => headers?.get(header)?,
        None => trailers?.get(name.strip_prefix(b"trailers\0")?)?,
    };
    Some(value.to_vec())
}

/// Returns the sizes that Envoy reports for a TCP connection as those of a request and a response.
fn connection_property(connection: &Connection, path: &[u8]) -> Option<Vec<u8>> {
    let (received, sent) = connection.sizes();
    match path {
        b"request\0size" | b"request\0total_size" => Some(encode_number(received)),
        b"response\0size" => Some(encode_number(sent)),
        _ => None,
    }
}

/// Returns Envoy's encoding of a number.
fn encode_number(number: usize) -> Vec<u8> {
    (number as u64).to_le_bytes().to_vec()
}
