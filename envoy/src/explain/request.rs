//! A request, described by the options of `explain`.

use envoy_request_headers::{Handling, HttpVersion, handling, received};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// All other headers, as the client sends them.
    pub headers: Vec<Header>,
    /// The client uses HTTP/2 or HTTP/3, in which Envoy joins repeated `cookie` headers.
    pub http2: bool,
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
    /// Returns the value of a header that the filter reads: the joined values of a header that Envoy joins, else the first
    /// value.
    pub(super) fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            ":authority" | "host" => Some(Cow::Borrowed(&self.host)),
            ":method" => Some(Cow::Borrowed(&self.method)),
            ":path" => Some(Cow::Borrowed(&self.path)),
            _ => {
                let headers =
                    self.headers.iter().map(|header| (header.name.as_str(), header.value.clone().into_bytes()));
                let mut received = received(headers, self.http_version()).into_iter();
                let (_, value) = received.find(|(received, _)| *received == name)?;
                Some(Cow::Owned(String::from_utf8_lossy(&value).into_owned()))
            }
        }
    }

    /// Returns notes about headers that Envoy joins or removes, or of which the filter reads only the first value.
    pub(super) fn header_notes(&self) -> Vec<String> {
        let mut counts = BTreeMap::new();
        for header in &self.headers {
            *counts.entry(header.name.as_str()).or_insert(0) += 1;
        }
        let note = |(name, count): (&str, usize)| match (handling(name, self.http_version()), self.value(name)) {
            (Handling::Removed, None) => Some(format!("Envoy removes the header {name} before the filter runs")),
            (Handling::Joined(_), Some(value)) if count > 1 => {
                Some(format!("Envoy joins the {count} {name} headers: {value}"))
            }
            (Handling::Separate, Some(value)) if count > 1 => {
                Some(format!("the filter reads only the first of the {count} {name} headers: {value}"))
            }
            _ => None,
        };
        counts.into_iter().filter_map(note).collect()
    }

    fn http_version(&self) -> HttpVersion {
        if self.http2 { HttpVersion::Http2 } else { HttpVersion::Http1 }
    }
}

impl Request for RequestDescription {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.value(name).map(|value| match value {
            Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
            Cow::Owned(value) => Cow::Owned(value.into_bytes()),
        })
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
