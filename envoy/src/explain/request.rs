//! A request, described by the options of `explain`.

use serde::Serialize;
use std::borrow::Cow;
use std::str::FromStr;
use traffic_split::{Request, is_token};

/// A request to explain.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestDescription {
    /// The method, e.g. `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The value of `Host`, with or without a port.
    pub host: String,
    /// All other headers.
    pub headers: Vec<Header>,
    /// The destination port of the client's connection.
    pub port: Option<u16>,
    /// The client's namespace; `namespace` of the configuration takes precedence.
    pub namespace: Option<String>,
}

/// A header of a [`RequestDescription`]; parsed from `NAME: VALUE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The name in lower case, as Envoy writes it.
    pub name: String,
    /// The value without surrounding spaces and tabs.
    pub value: String,
}

// === impl RequestDescription ===

impl RequestDescription {
    /// Returns the first value of a header, which is the one that the filter reads.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        match name {
            ":authority" | "host" => Some(&self.host),
            ":method" => Some(&self.method),
            ":path" => Some(&self.path),
            _ => self.headers.iter().find(|header| header.name == name).map(|header| &*header.value),
        }
    }
}

impl Request for RequestDescription {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.value(name).map(|value| Cow::Borrowed(value.as_bytes()))
    }

    fn destination_port(&self) -> Option<u16> {
        self.port
    }
}

// === impl Header ===

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(':') {
            return Err("pseudo-headers have options of their own; use --host, --method or --path".into());
        }
        let (name, value) = text.split_once(':').ok_or("a header is `NAME: VALUE`")?;
        let name = name.to_ascii_lowercase();
        if !is_token(&name) {
            return Err(format!("`{}` is not a valid HTTP header name", name.escape_debug()));
        }
        if name == "host" {
            return Err("the host has an option of its own; use --host".into());
        }
        let value = value.trim_matches([' ', '\t']);
        if value.contains(|char: char| char.is_control() && char != '\t') {
            return Err("the value contains a control character".into());
        }
        Ok(Self { name, value: value.into() })
    }
}
