//! Header matchers of a route.

use super::request_headers::{has_line_break, values};
use crate::http::headers::Headers;

/// A condition on a request header (`HeaderMatcher`).
///
/// If a header is repeated, one matching value suffices; an inverted matcher requires that no value matches. (Envoy has
/// done so since 1.39. Before, it compared the values joined by commas.) A missing header satisfies no value matcher,
/// inverted or not.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    name: String,
    kind: HeaderMatchKind,
    invert: bool,
    missing_as_empty: bool,
}

#[derive(Clone, Debug)]
enum HeaderMatchKind {
    Present(bool),
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
}

// === impl HeaderMatch ===

impl HeaderMatch {
    fn new(name: impl Into<String>, kind: HeaderMatchKind) -> Self {
        HeaderMatch { name: name.into(), kind, invert: false, missing_as_empty: false }
    }

    /// Matches a header that is present, even if it is empty (`present_match: true`).
    #[must_use]
    pub fn present(name: impl Into<String>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Present(true))
    }

    /// Matches if the header is missing (`present_match: false`).
    #[must_use]
    pub fn absent(name: impl Into<String>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Present(false))
    }

    /// Matches an exact value.
    #[must_use]
    pub fn exact(name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Exact(value.as_ref().into()))
    }

    /// Matches a value that starts with `prefix`.
    #[must_use]
    pub fn prefix(name: impl Into<String>, prefix: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Prefix(prefix.as_ref().into()))
    }

    /// Matches a value that ends with `suffix`.
    #[must_use]
    pub fn suffix(name: impl Into<String>, suffix: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Suffix(suffix.as_ref().into()))
    }

    /// Matches a value that contains `part`.
    #[must_use]
    pub fn contains(name: impl Into<String>, part: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Contains(part.as_ref().into()))
    }

    /// Inverts the condition (`invert_match`). A missing header still satisfies no value matcher, unless
    /// [`treat_missing_header_as_empty`](Self::treat_missing_header_as_empty) is set.
    #[must_use]
    pub fn invert(mut self) -> Self {
        self.invert = true;
        self
    }

    /// Treats a missing header as an empty one (`treat_missing_header_as_empty`).
    #[must_use]
    pub fn treat_missing_header_as_empty(mut self) -> Self {
        self.missing_as_empty = true;
        self
    }

    /// Returns why Envoy rejects the matcher, if it does.
    pub(super) fn problem(&self) -> Option<String> {
        let is_valid = !self.name.is_empty() && !has_line_break(&self.name);
        (!is_valid).then(|| format!("header matcher: the name {:?} is not a header name", self.name))
    }

    pub(super) fn matches(&self, headers: &Headers) -> bool {
        let mut values = values(headers, &self.name);
        if values.is_empty() && self.missing_as_empty {
            values.push(b"");
        }
        let matches = |value: &[u8]| match &self.kind {
            HeaderMatchKind::Present(_) => true,
            HeaderMatchKind::Exact(exact) => value == exact,
            HeaderMatchKind::Prefix(prefix) => value.starts_with(prefix),
            HeaderMatchKind::Suffix(suffix) => value.ends_with(suffix),
            HeaderMatchKind::Contains(part) => {
                part.is_empty() || value.windows(part.len()).any(|window| window == part)
            }
        };
        match self.kind {
            HeaderMatchKind::Present(wanted) => (values.is_empty() != wanted) != self.invert,
            _ if values.is_empty() => false,
            _ => values.into_iter().any(matches) != self.invert,
        }
    }
}
