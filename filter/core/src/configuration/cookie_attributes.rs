//! Attributes of a `Set-Cookie` header (RFC 6265).

use crate::configuration::reader::quote;
use serde::{Serialize, Serializer};
use std::fmt;

/// Valid attributes of a `Set-Cookie` header. Displayed and serialized as in the header. The default is
/// `Path=/; HttpOnly; SameSite=Lax`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttributes(String);

/// The value that an attribute takes.
enum Value {
    None,
    /// Seconds.
    Number,
    /// A DNS name, with or without a leading dot.
    Domain,
    /// A path that begins with a slash.
    Path,
    /// An HTTP date. Browsers accept almost any date format, so only the characters are checked.
    Date,
    SameSite,
}

/// The known attributes: those of RFC 6265bis, and `Partitioned` (CHIPS).
const KNOWN: [(&str, Value); 8] = [
    ("Domain", Value::Domain),
    ("Expires", Value::Date),
    ("HttpOnly", Value::None),
    ("Max-Age", Value::Number),
    ("Partitioned", Value::None),
    ("Path", Value::Path),
    ("SameSite", Value::SameSite),
    ("Secure", Value::None),
];

// === impl CookieAttributes ===

impl CookieAttributes {
    /// Parses attributes, separated by semicolons.
    ///
    /// # Errors
    /// Returns a message about the first problem.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut written: Vec<String> = Vec::new();
        for attribute in text.split(';').map(str::trim).filter(|attribute| !attribute.is_empty()) {
            let (name, value) = match attribute.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (attribute, None),
            };
            let Some((name, kind)) = KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
                let known = KNOWN.map(|(name, _)| name).join(", ");
                return Err(format!("the attribute {} is unknown; use one of {known}", quote(name)));
            };
            let is_same_attribute = |other: &String| other.split('=').next() == Some(name);
            if written.iter().any(is_same_attribute) {
                return Err(format!("{name} is duplicated; remove one of them"));
            }
            written.push(match (kind.check(value.unwrap_or_default()), value) {
                (Err(expected), _) => {
                    return Err(format!("{name} {} is not {expected}", quote(value.unwrap_or_default())));
                }
                (Ok(()), Some(value)) if !matches!(kind, Value::None) => format!("{name}={value}"),
                (Ok(()), _) => (*name).into(),
            });
        }
        let has = |attribute: &str| written.iter().any(|other| other.eq_ignore_ascii_case(attribute));
        for attribute in ["SameSite=None", "Partitioned"] {
            if has(attribute) && !has("Secure") {
                return Err(format!("{attribute} requires Secure; add Secure, or browsers drop the cookie"));
            }
        }
        Ok(Self(written.join("; ")))
    }

    /// Returns the value of a `Set-Cookie` header with these attributes.
    pub(crate) fn set_cookie(&self, name: &str, value: &str) -> String {
        let separator = if self.0.is_empty() { "" } else { "; " };
        format!("{name}={value}{separator}{self}")
    }
}

impl Default for CookieAttributes {
    /// Returns `Path=/; HttpOnly; SameSite=Lax`. Without a path, the cookie would apply only to the directory of the
    /// request that set it.
    fn default() -> Self {
        Self("Path=/; HttpOnly; SameSite=Lax".into())
    }
}

impl fmt::Display for CookieAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CookieAttributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

// === impl Value ===

impl Value {
    /// Checks a value. The error names the expected value.
    fn check(&self, value: &str) -> Result<(), &'static str> {
        let plain = !value.is_empty() && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let (is_valid, expected) = match self {
            Self::None => (value.is_empty(), "allowed; the attribute takes no value"),
            Self::Number => {
                (plain && value.len() <= 10 && value.bytes().all(|byte| byte.is_ascii_digit()), "a number of seconds")
            }
            Self::Domain => {
                (crate::configuration::names::is_subdomain(value.strip_prefix('.').unwrap_or(value)), "a DNS name")
            }
            Self::Path => (plain && value.starts_with('/'), "a path, which begins with / and is ASCII"),
            Self::Date => (plain, "an HTTP date such as `Wed, 21 Oct 2026 07:28:00 GMT`"),
            Self::SameSite => {
                (["Strict", "Lax", "None"].iter().any(|known| known.eq_ignore_ascii_case(value)), "Strict, Lax or None")
            }
        };
        if is_valid { Ok(()) } else { Err(expected) }
    }
}

#[cfg(test)]
mod tests {
    use super::CookieAttributes;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn valid_attributes_are_normalized_and_parse_back() {
        for (text, written) in [
            ("Path=/; Max-Age=86400; HttpOnly; SameSite=Lax", "Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"),
            ("path = /shop ;secure;samesite=none;", "Path=/shop; Secure; SameSite=none"),
            (
                "Domain=.example.com; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
                "Domain=.example.com; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
            ),
            ("Partitioned; Secure", "Partitioned; Secure"),
            ("HttpOnly=", "HttpOnly"),
            ("", ""),
            (" ; ", ""),
        ] {
            let attributes = CookieAttributes::parse(text).expect("attributes");
            assert_eq!(attributes.to_string(), written);
            assert_eq!(CookieAttributes::parse(written), Ok(attributes), "the normalized text parses back");
        }
        let default = CookieAttributes::default();
        assert_eq!(CookieAttributes::parse(&default.to_string()), Ok(default.clone()));
        assert_eq!(default.set_cookie("id", "x"), "id=x; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(CookieAttributes::parse("").expect("none").set_cookie("id", "x"), "id=x");
    }

    #[test]
    fn invalid_attributes_are_an_error_with_a_reason() {
        for (text, why) in [
            (
                "Colour=red",
                "the attribute \"Colour\" is unknown; use one of Domain, Expires, HttpOnly, Max-Age, Partitioned, Path, SameSite, Secure",
            ),
            ("Path=/; path=/a", "Path is duplicated; remove one of them"),
            ("Path=shop", "Path \"shop\" is not a path, which begins with / and is ASCII"),
            ("Path=/\r\nx: y", "Path \"/\\r\\nx: y\" is not a path, which begins with / and is ASCII"),
            ("Path=/\u{e4}", "Path \"/ä\" is not a path, which begins with / and is ASCII"),
            ("Max-Age=-1", "Max-Age \"-1\" is not a number of seconds"),
            ("Max-Age", "Max-Age \"\" is not a number of seconds"),
            ("Max-Age=1d", "Max-Age \"1d\" is not a number of seconds"),
            ("Secure=yes", "Secure \"yes\" is not allowed; the attribute takes no value"),
            ("SameSite=Some", "SameSite \"Some\" is not Strict, Lax or None"),
            ("SameSite=None", "SameSite=None requires Secure; add Secure, or browsers drop the cookie"),
            ("Partitioned", "Partitioned requires Secure; add Secure, or browsers drop the cookie"),
            ("Domain=ex ample", "Domain \"ex ample\" is not a DNS name"),
            ("Expires=\u{7f}", "Expires \"\\u{7f}\" is not an HTTP date such as `Wed, 21 Oct 2026 07:28:00 GMT`"),
        ] {
            assert_eq!(CookieAttributes::parse(text), Err(why.into()), "{text:?}");
        }
    }
}
