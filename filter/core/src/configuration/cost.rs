//! The cost of each object, as counted against the [budget](crate::Budget).

use crate::configuration::budget::Cost;
use crate::configuration::http_route_group::HttpRouteGroup;
use crate::configuration::service::Service;
use crate::configuration::traffic_split::TrafficSplit;
use serde::Serialize;
use std::io;

impl Cost {
    /// Returns the cost of a split, without the groups that it names.
    #[must_use]
    pub fn of_split(split: &TrafficSplit) -> Self {
        Self { bytes: escaped_bytes(split), backends: count(split.spec.backends.len()), ..Self::default() }
    }

    /// Returns the cost of a group, which counts only once even if several splits name the group.
    #[must_use]
    pub fn of_group(group: &HttpRouteGroup) -> Self {
        let matches = &group.spec.matches;
        let conditions = matches.iter().map(|one| 1 + one.methods.len() + one.headers.len()).map(count).sum();
        let patterns = matches.iter().flat_map(|one| one.path_regex.iter().chain(one.headers.iter().map(|(_, it)| it)));
        let pattern_size = patterns.map(|pattern| u64::from(pattern.size())).sum();
        Self { bytes: escaped_bytes(group), conditions, pattern_size, ..Self::default() }
    }

    /// Returns the cost of an entry of `services`; `key` is its `namespace/name`.
    #[must_use]
    pub fn of_service(key: &str, service: &Service) -> Self {
        // `escaped_bytes` counts the quotation marks of the key, and one byte for a comma: here, that byte is the colon.
        Self { bytes: escaped_bytes(&key).saturating_add(escaped_bytes(service)), ..Self::default() }
    }
}

pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Returns the bytes that escaping adds to a text in a JSON string that the API server stores.
///
/// Source: Go's `encoding/json`, `HTMLEscape`. It writes `<`, `>`, `&`, U+2028 and U+2029 as six bytes.
#[must_use]
pub fn escape_bytes(text: &[u8]) -> usize {
    let of_byte = |byte: &u8| match byte {
        b'"' | b'\\' => 1,
        b'<' | b'>' | b'&' => 5,
        _ => 0,
    };
    // U+2028 and U+2029 take three bytes unescaped.
    let separators = text.windows(3).filter(|window| matches!(window, [0xE2, 0x80, 0xA8 | 0xA9]));
    text.iter().map(of_byte).sum::<usize>() + 3 * separators.count()
}

/// Returns the length of `value` as JSON inside a JSON string that the API server stores, plus one byte for the comma
/// after it.
pub(crate) fn escaped_bytes(value: &impl Serialize) -> u64 {
    struct Counter(u64);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(count(bytes.len())).saturating_add(count(escape_bytes(bytes)));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(1);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        // A value that cannot be serialized exceeds every budget.
        Err(_) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::{escape_bytes, escaped_bytes};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The expected lengths are those of the texts that a Kubernetes API server stores.
    #[test]
    fn characters_that_the_api_server_escapes_count_with_their_escapes() {
        for (text, stored) in [
            ("abc", "abc"),
            ("a\"b\\", r#"a\"b\\"#),
            ("<>&", r"\u003c\u003e\u0026"),
            ("\u{2028}\u{2029}", r"\u2028\u2029"),
            ("\u{2027}\u{e9}\u{1f600}", "\u{2027}\u{e9}\u{1f600}"),
        ] {
            assert_eq!(text.len() + escape_bytes(text.as_bytes()), stored.len(), "{text:?}");
        }
        // The value's own quotation marks are escaped, too.
        assert_eq!(escaped_bytes(&"<"), 1 + 4 + 6);
    }
}
