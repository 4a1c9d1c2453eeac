//! The host a request asks for.

use crate::configuration::names;
use std::borrow::Cow;

/// A request's `:authority`, taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct Authority<'a> {
    /// Lower case, without port and trailing dot.
    pub(crate) host: Cow<'a, str>,
    pub(crate) port: Port,
}

/// What stands behind the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Port {
    None,
    Number(u16),
    /// Something that is no port.
    Invalid,
}

impl<'a> Authority<'a> {
    /// `None` if it isn't UTF-8.
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
