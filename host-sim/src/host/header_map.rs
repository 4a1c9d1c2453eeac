//! Header maps. Any change of the request's headers clears the route cache, even one that changes nothing.

use super::{Answer, Guest, Stop};
use crate::abi::{MapType, Status, decode_pairs, encode_pairs};
use crate::headers::Headers;

/// The first value of a header.
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
    let headers = get(guest, map).ok_or(Status::BadArgument)?;
    let value = headers.get(name).ok_or(Status::NotFound)?.to_vec();
    guest.give(&value, value_at, size_at)
}

/// All headers; a map that isn't there is an empty one.
pub(super) fn proxy_get_header_map_pairs(guest: &mut Guest<'_>, map: u32, pairs_at: u32, size_at: u32) -> Answer {
    let map = kind(map)?;
    let pairs = get(guest, map).map(|headers| encode_pairs(headers.pairs())).unwrap_or_default();
    guest.give(&pairs, pairs_at, size_at)
}

/// The bytes of all names and values.
pub(super) fn proxy_get_header_map_size(guest: &mut Guest<'_>, map: u32, size_at: u32) -> Answer {
    let map = kind(map)?;
    let headers = get(guest, map).ok_or(Status::BadArgument)?;
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

/// A map, if it is there now.
fn get<'a>(guest: &'a Guest<'_>, map: MapType) -> Option<&'a Headers> {
    match map {
        MapType::HttpRequestHeaders => guest.state().stream()?.request_headers.as_ref(),
        // Those of a stream's later phases and of callouts are never there yet.
        _ => None,
    }
}

fn change(guest: &mut Guest<'_>, map: MapType, change: impl FnOnce(&mut Headers)) -> Answer {
    let stream = guest.state_mut().stream_mut().ok_or(Status::BadArgument)?;
    match (map, &mut stream.request_headers) {
        (MapType::HttpRequestHeaders, Some(headers)) => {
            change(headers);
            stream.route_cache_cleared = true;
            Ok(())
        }
        _ => Err(Status::BadArgument.into()),
    }
}
