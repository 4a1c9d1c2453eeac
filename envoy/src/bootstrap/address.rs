//! Addresses of Services and of other hosts, in the syntax of the command line.

use std::net::Ipv6Addr;
use std::str::FromStr;
use traffic_split::{is_label, is_subdomain};

/// A host name or IP address and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A DNS name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The address of a Service; parsed from `SERVICE.NAMESPACE[:PORT]=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The Service's name.
    pub service: String,
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's port; absent means all ports.
    pub port: Option<u16>,
    /// The destination of requests.
    pub address: Address,
}

/// Another host and its address; parsed from `NAME=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalHost {
    /// The name in `Host`, without a port.
    pub name: String,
    /// The destination of requests.
    pub address: Address,
}

// === impl Address ===

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if is_host_name(host) => host.to_ascii_lowercase(),
            None => return Err(wrong()),
        };
        Ok(Self { host, port: parse_port(port)? })
    }
}

// === impl Endpoint ===

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not SERVICE.NAMESPACE[:PORT]=HOST:PORT");
        let (service, address) = text.split_once('=').ok_or_else(wrong)?;
        let (service, port) = match service.split_once(':') {
            Some((service, port)) => (service, Some(parse_port(port)?)),
            None => (service, None),
        };
        let (service, namespace) = service.split_once('.').ok_or_else(wrong)?;
        if !is_label(service) || !is_label(namespace) {
            return Err(wrong());
        }
        Ok(Self { service: service.into(), namespace: namespace.into(), port, address: address.parse()? })
    }
}

// === impl ExternalHost ===

impl FromStr for ExternalHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not NAME=HOST:PORT");
        let (name, address) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_host_name(name) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_ascii_lowercase(), address: address.parse()? })
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("`{text}` is not a port (1–65535)"))
}

fn is_host_name(text: &str) -> bool {
    is_subdomain(&text.to_ascii_lowercase())
}
