//! Request headers and authorities as Envoy's router reads them.

use crate::http::headers::Headers;

/// Returns the values of a request header. `host` means `:authority`, as in Envoy.
pub(super) fn values<'h>(headers: &'h Headers, name: &str) -> Vec<&'h [u8]> {
    headers.get_all(if name.eq_ignore_ascii_case("host") { ":authority" } else { name }).collect()
}

/// Returns the first of [`values`].
pub(super) fn first<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers.get(if name.eq_ignore_ascii_case("host") { ":authority" } else { name })
}

/// Returns the position of the colon before the port: the last colon, except within the brackets of an IPv6 address.
pub(super) fn port_start(host: &[u8]) -> Option<usize> {
    let colon = host.iter().rposition(|byte| *byte == b':')?;
    (!host[colon..].contains(&b']')).then_some(colon)
}

/// Returns an authority without its port.
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    &host[..port_start(host).unwrap_or(host.len())]
}

/// Returns whether a header name or value contains a byte that Envoy rejects in a route configuration.
pub(super) fn has_line_break(text: &str) -> bool {
    text.contains(['\0', '\r', '\n'])
}
