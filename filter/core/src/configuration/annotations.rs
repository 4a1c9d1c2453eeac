//! Options of a TrafficSplit that SMI lacks: annotations with the prefix `traffic-split/`.

use crate::configuration::cookie_attributes::CookieAttributes;
use crate::configuration::names;
use crate::configuration::reader::{HEADER_NAME, Reader, get, quote};
use crate::configuration::weight::Weight;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;

/// Prefix of this project's annotations.
const PREFIX: &str = "traffic-split/";
/// Known annotations.
const KNOWN: [&str; 5] = [
    "traffic-split/mirror",
    "traffic-split/override-header",
    "traffic-split/sticky-cookie",
    "traffic-split/sticky-cookie-attributes",
    "traffic-split/sticky-header",
];
/// 100 percent, in billionths.
pub(crate) const HUNDRED_PERCENT: u64 = 100_000_000_000;

/// The options of a split, parsed from its annotations. Serialized to the same annotations. Annotations of other tools
/// are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Annotations {
    /// Request header, in lower case, whose value names a backend's Service. Selects backends of any weight, even 0.
    #[serde(rename = "traffic-split/override-header", skip_serializing_if = "Option::is_none")]
    pub override_header: Option<String>,
    /// Request header, in lower case. Equal values select the same backend.
    #[serde(rename = "traffic-split/sticky-header", skip_serializing_if = "Option::is_none")]
    pub sticky_header: Option<String>,
    /// Name of a cookie. Equal values select the same backend; a request without the cookie gets a new value.
    #[serde(rename = "traffic-split/sticky-cookie", skip_serializing_if = "Option::is_none")]
    pub sticky_cookie: Option<String>,
    /// Attributes of that cookie. If absent, the default attributes apply.
    #[serde(rename = "traffic-split/sticky-cookie-attributes", skip_serializing_if = "Option::is_none")]
    pub sticky_cookie_attributes: Option<CookieAttributes>,
    /// Backend that receives copies of requests.
    #[serde(rename = "traffic-split/mirror", skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
}

/// A backend that receives copies of a percentage of its split's requests. Displayed and serialized as `httpbin-v2=10`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mirror {
    /// Bare name of the backend's Service.
    pub backend: String,
    /// Percentage of requests: 0 to 100, in steps of 10⁻⁹.
    pub percent: Weight,
}

// === impl Annotations ===

impl Annotations {
    /// The prefix of all annotations, `traffic-split/`.
    pub const PREFIX: &str = PREFIX;
    /// The names of all annotations, with their prefix.
    pub const NAMES: &[&str] = &KNOWN;

    /// Returns whether no option is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Parses an object's annotations and records problems of those with the prefix `traffic-split/`. `service` parses
    /// the Service name of one of the split's backends.
    pub(crate) fn read(
        map: &Map<String, Value>,
        reader: &mut Reader<'_>,
        service: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Self {
        let mut annotations = Self::default();
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            let Some(option) = key.strip_prefix(PREFIX) else { continue };
            let field = &field(key);
            match option {
                "override-header" => annotations.override_header = read_header(value, field, reader),
                "sticky-header" => annotations.sticky_header = read_header(value, field, reader),
                "sticky-cookie" => {
                    let expected = "the name of a cookie (an RFC 9110 token)";
                    annotations.sticky_cookie =
                        reader.valid_string(value, field, names::is_token, expected).map(Into::into);
                }
                "sticky-cookie-attributes" => {
                    let parsed = reader.string(value, field).map(CookieAttributes::parse);
                    annotations.sticky_cookie_attributes = reader.parsed(parsed, field);
                }
                "mirror" => {
                    let parsed = reader.string(value, field).map(|text| Mirror::parse(text, service));
                    annotations.mirror = reader.parsed(parsed, field);
                }
                _ => reader.problem(field.as_str(), format!("is unknown; use one of {}", KNOWN.join(", "))),
            }
        }
        if annotations.sticky_cookie.is_none() && get(map, "traffic-split/sticky-cookie-attributes").is_some() {
            let field = field("traffic-split/sticky-cookie-attributes");
            reader.problem(field, "requires traffic-split/sticky-cookie, which names the cookie; add that annotation");
        }
        annotations
    }

    /// Returns the request headers that the options name, each with the field path of its annotation.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (String, &str)> {
        let headers = [("override-header", &self.override_header), ("sticky-header", &self.sticky_header)];
        let named = headers.into_iter().filter_map(|(option, header)| Some((option, header.as_deref()?)));
        named.map(|(option, header)| (field(&format!("{PREFIX}{option}")), header))
    }
}

fn field(key: &str) -> String {
    format!("metadata.annotations[{}]", quote(key))
}

fn read_header(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<String> {
    reader.valid_string(value, field, names::is_token, HEADER_NAME).map(str::to_ascii_lowercase)
}

// === impl Mirror ===

impl Mirror {
    fn parse(text: &str, service: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<Self, String> {
        let (backend, percent) = text
            .split_once('=')
            .ok_or_else(|| format!("{} is not BACKEND=PERCENT, such as httpbin-v2=10", quote(text)))?;
        let backend = service(backend.trim())?;
        let number = percent.trim();
        match Weight::from_quantity(number) {
            Ok(percent) if percent.billionths() <= HUNDRED_PERCENT => Ok(Self { backend, percent }),
            Ok(_) => Err(format!("{} is above 100 percent", quote(number))),
            Err(_) => Err(format!("{} is not a percentage from 0 to 100, such as 10 or 0.5", quote(number))),
        }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.backend, self.percent)
    }
}

impl Serialize for Mirror {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Annotations, CookieAttributes, Mirror, Weight};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    // The literal has all fields of the type, so that a new field must be added here.
    #[test]
    fn all_annotations_have_a_known_name() {
        let annotations = Annotations {
            override_header: Some("a".into()),
            sticky_header: Some("b".into()),
            sticky_cookie: Some("c".into()),
            sticky_cookie_attributes: Some(CookieAttributes::parse("Path=/").unwrap()),
            mirror: Some(Mirror { backend: "v2".into(), percent: Weight::default() }),
        };
        let keys = serde_json::to_value(annotations).unwrap();
        let mut keys: Vec<_> = keys.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, Annotations::NAMES);
    }
}
