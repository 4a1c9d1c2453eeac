//! Determines which port of the root a request is for.

use crate::routing::header_cache::HeaderCache;
use crate::routing::request::Request;

/// The port that a request's `Host`, or the entry of its host in `hosts`, specifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenPort {
    /// The host is a Service name, and `Host` has no port.
    None,
    /// The host is a Service name, and `Host` has this port.
    Host(u16),
    /// The text after the host's colon is not a port (1–65535).
    Invalid,
    /// The host is a name in `hosts`: the operator's port, if any. The port in `Host` is ignored.
    Configured(Option<u16>),
}

/// The rule that determines the port of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortRule {
    /// The port in `Host`.
    Host,
    /// The port in `hosts`.
    Configured,
    /// The destination port of the client's connection.
    Connection,
    /// The root's only port.
    OnlyPort,
    /// 80, the default port of `http`.
    HttpDefault,
    /// 443, the default port of `https`.
    HttpsDefault,
}

/// Determines the port of a request to a Service with the ports `ports`, which are in ascending order. Returns the first
/// of these ports that the Service has: the port that `Host` or `hosts` specifies, the connection's destination port, the
/// Service's only port, the default port of the scheme. Returns `None` if the Service has none of these ports. If `hosts`
/// specifies a port, the other rules do not apply.
///
/// `destination` and `is_https` are called only if no earlier rule applies.
pub fn port_of_request(
    ports: &[u16],
    given: GivenPort,
    destination: impl FnOnce() -> Option<u16>,
    is_https: impl FnOnce() -> bool,
) -> Option<(u16, PortRule)> {
    let has = |port: &u16| ports.binary_search(port).is_ok();
    match given {
        GivenPort::Invalid => return None,
        GivenPort::Configured(Some(port)) => return has(&port).then_some((port, PortRule::Configured)),
        GivenPort::Host(port) if has(&port) => return Some((port, PortRule::Host)),
        GivenPort::Host(_) | GivenPort::None | GivenPort::Configured(None) => {}
    }
    if let Some(port) = destination().filter(has) {
        return Some((port, PortRule::Connection));
    }
    if let [only] = *ports {
        return Some((only, PortRule::OnlyPort));
    }
    let default = if is_https() { (443, PortRule::HttpsDefault) } else { (80, PortRule::HttpDefault) };
    has(&default.0).then_some(default)
}

/// Determines the port of a request to a Service whose ports are unknown.
fn port_without_service(given: GivenPort, destination: impl FnOnce() -> Option<u16>) -> Option<(u16, PortRule)> {
    match given {
        GivenPort::Invalid => None,
        GivenPort::Host(port) => Some((port, PortRule::Host)),
        GivenPort::Configured(Some(port)) => Some((port, PortRule::Configured)),
        GivenPort::None | GivenPort::Configured(None) => Some(match destination() {
            Some(port) => (port, PortRule::Connection),
            None => (80, PortRule::HttpDefault),
        }),
    }
}

/// Determines the port of a request to a root with these ports. `ports` is `None` if the ports are unknown.
pub(crate) fn select(
    ports: Option<&[u16]>,
    given: GivenPort,
    headers: &mut HeaderCache<'_, impl Request>,
) -> Option<(u16, PortRule)> {
    let request = headers.request();
    let destination = || request.destination_port().filter(|port| *port != 0);
    match ports {
        Some(ports) => port_of_request(ports, given, destination, || is_https(headers)),
        None => port_without_service(given, destination),
    }
}

/// Returns whether the client used `https`. Envoy sets `x-forwarded-proto` in each request; a proxy before Envoy that
/// terminates TLS sets it to `https`.
fn is_https(headers: &mut HeaderCache<'_, impl Request>) -> bool {
    ["x-forwarded-proto", ":scheme"]
        .into_iter()
        .find_map(|name| headers.get(name).map(|scheme| scheme.eq_ignore_ascii_case(b"https")))
        .unwrap_or_default()
}
