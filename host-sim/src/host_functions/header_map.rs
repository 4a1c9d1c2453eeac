//! Header maps. A map is available from its callback until the filter forwards it, including while the stream is paused.
//! Any write to the request headers clears the route cache, even a write that changes nothing.

use super::guest::{Answer, Guest, Stop};
use crate::abi::pairs::{decode_pairs, encode_pairs};
use crate::abi::{AbiVersion, MapType, Status};
use crate::http::headers::Headers;
use crate::state::vm_state::State;

/// Returns the first value of a header. ABI 0.1.0 returns an empty value if the header is missing.
pub(super) fn proxy_get_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    size: u32,
    value_at: u32,
    size_at: u32,
) -> Answer {
    let map = kind(map)?;
    let name = guest.read(name, size)?;
    let state = guest.state();
    let missing = match get(state, map) {
        Some(headers) => match headers.get(name) {
            Some(value) => {
                let value = value.to_vec();
                return guest.give(&value, value_at, size_at);
            }
            None => Status::NotFound,
        },
        // During `on_log`, an unavailable map is empty.
        None if state.stream().is_some_and(|stream| stream.logging) => Status::NotFound,
        None => return Err(Status::BadArgument.into()),
    };
    if state.abi == AbiVersion::V0_1_0 { guest.give(&[], value_at, size_at) } else { Err(missing.into()) }
}

/// Returns all headers. An unavailable map is empty.
pub(super) fn proxy_get_header_map_pairs(guest: &mut Guest<'_>, map: u32, pairs_at: u32, size_at: u32) -> Answer {
    let map = kind(map)?;
    let pairs = get(guest.state(), map).map(|headers| encode_pairs(headers.pairs())).unwrap_or_default();
    guest.give(&pairs, pairs_at, size_at)
}

/// Returns the size of all names and values of a writable map, in bytes.
pub(super) fn proxy_get_header_map_size(guest: &mut Guest<'_>, map: u32, size_at: u32) -> Answer {
    let map = kind(map)?;
    let headers = writable(guest.state_mut(), map).ok_or(Status::BadArgument)?;
    let size = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    guest.write_u32(size_at, size)
}

pub(super) fn proxy_set_header_map_pairs(guest: &mut Guest<'_>, map: u32, pairs: u32, size: u32) -> Answer {
    let map = kind(map)?;
    let new = decode_pairs(guest.read(pairs, size)?).into_iter().collect();
    change(guest, map, |headers| *headers = new)
}

pub(super) fn proxy_add_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Answer {
    let map = kind(map)?;
    let (name, value) = (guest.read(name, size)?.to_vec(), guest.read(value, value_size)?.to_vec());
    change(guest, map, |headers| headers.add(&name, value))
}

pub(super) fn proxy_replace_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Answer {
    let map = kind(map)?;
    let (name, value) = (guest.read(name, size)?.to_vec(), guest.read(value, value_size)?.to_vec());
    change(guest, map, |headers| headers.replace(&name, value))
}

pub(super) fn proxy_remove_header_map_value(guest: &mut Guest<'_>, map: u32, name: u32, size: u32) -> Answer {
    let map = kind(map)?;
    let name = guest.read(name, size)?.to_vec();
    change(guest, map, |headers| headers.remove(&name))
}

fn kind(map: u32) -> Result<MapType, Stop> {
    Ok(MapType::from_abi(map).ok_or(Status::BadArgument)?)
}

/// Returns a map, or `None` if it is not available.
fn get(state: &State, map: MapType) -> Option<&Headers> {
    let root = state.root();
    match map {
        MapType::GrpcReceiveInitialMetadata => return root?.grpc_initial_metadata.as_ref(),
        MapType::GrpcReceiveTrailingMetadata => return root?.grpc_trailing_metadata.as_ref(),
        MapType::HttpCallResponseHeaders => return root?.http_response.as_ref().map(|response| &response.headers),
        MapType::HttpCallResponseTrailers => {
            let trailers = root?.http_response.as_ref().map(|response| &response.trailers);
            return trailers.filter(|trailers| !trailers.is_empty());
        }
        _ => {}
    }
    let stream = state.stream()?;
    let is_present = |headers: &&Headers| !headers.is_empty();
    match (map, stream.logging) {
        (MapType::HttpRequestHeaders | MapType::HttpRequestTrailers, false) if stream.request.continued => None,
        (MapType::HttpRequestHeaders, false) => stream.request.headers.as_ref(),
        (MapType::HttpRequestTrailers, false) => stream.request.trailers.as_ref(),
        (MapType::HttpResponseHeaders, false) => stream.response.headers.as_ref(),
        (MapType::HttpResponseTrailers, false) => stream.response.trailers.as_ref(),
        (MapType::HttpRequestHeaders, true) => Some(&stream.request.forwarded.headers).filter(is_present),
        (MapType::HttpResponseHeaders, true) => Some(&stream.response.forwarded.headers).filter(is_present),
        (MapType::HttpResponseTrailers, true) => Some(&stream.response.forwarded.trailers).filter(is_present),
        _ => None,
    }
}

/// Returns a map for writing, or `None` if it is not writable. Missing trailers are created at the end of a body.
fn writable(state: &mut State, map: MapType) -> Option<&mut Headers> {
    let stream = state.stream_mut()?;
    let ends = stream.end_of_stream;
    let direction = match map {
        MapType::HttpRequestHeaders | MapType::HttpRequestTrailers if stream.request.continued => return None,
        MapType::HttpRequestHeaders => return stream.request.headers.as_mut(),
        MapType::HttpResponseHeaders => return stream.response.headers.as_mut(),
        MapType::HttpRequestTrailers => &mut stream.request,
        MapType::HttpResponseTrailers => &mut stream.response,
        _ => return None,
    };
    if direction.trailers.is_none() && direction.body.is_some() && ends {
        direction.trailers = Some(Headers::default());
    }
    direction.trailers.as_mut()
}

fn change(guest: &mut Guest<'_>, map: MapType, change: impl FnOnce(&mut Headers)) -> Answer {
    let state = guest.state_mut();
    change(writable(state, map).ok_or(Status::BadArgument)?);
    if map == MapType::HttpRequestHeaders
        && let Some(stream) = state.stream_mut()
    {
        stream.route_cache_cleared = true;
    }
    Ok(())
}
