//! The host and port in a request's `:authority`.

use crate::configuration::names;
use std::borrow::Cow;

/// A parsed `:authority`.
#[derive(Debug, PartialEq)]
pub(crate) struct Authority<'a> {
    /// Host in lower case, without port and trailing dot.
    pub(crate) host: Cow<'a, str>,
    pub(crate) port: Port,
}

/// The text after the host's colon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Port {
    None,
    Number(u16),
    /// Not a port (1–65535).
    Invalid,
}

impl<'a> Authority<'a> {
    /// Parses an `:authority`. Returns `None` if it is not UTF-8.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, names::port(port).map_or(Port::Invalid, Port::Number)),
            None => (text, Port::None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        Some(Self { host, port })
    }
}
