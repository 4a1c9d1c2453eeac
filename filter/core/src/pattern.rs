//! Regular expressions of HTTPRouteGroups.

use regex_lite::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};
use std::fmt;

/// The most memory that one compiled pattern may take, in bytes. What a request costs grows with
/// it and with the length of what is matched.
const MOST: usize = 64 << 10;
/// The longest value that is looked at, in bytes: what a client may make a worker do has an end.
const LONGEST: usize = 8 << 10;

/// A regular expression with its anchors, compiled. Displayed and serialised as it was written.
///
/// The syntax is that of the crate `regex-lite`: Perl's without back-references and look-around,
/// `\w`, `\d`, `\s` and case folding in ASCII only. Matching takes time linear in the input.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

// === impl Pattern ===

impl Pattern {
    /// A pattern that holds from the start of the text on: SMI's words for a path.
    pub(crate) fn prefix(text: &str) -> Result<Self, String> {
        Self::new(text, "")
    }

    /// A pattern that holds for the whole text: what Envoy and OSM do with a header.
    pub(crate) fn whole(text: &str) -> Result<Self, String> {
        Self::new(text, "$")
    }

    /// The error says what is wrong with the pattern.
    fn new(text: &str, end: &str) -> Result<Self, String> {
        let compile = |text: &str| RegexBuilder::new(text).size_limit(MOST).build();
        // By itself first: what is no expression may be one between our brackets, as `a)|(b`.
        let regex = compile(text).and_then(|_| compile(&format!("^(?:{text}){end}")));
        let regex = regex.map_err(|why| {
            let why: String = why.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("{} is not a regular expression that can be used here: {why}", crate::read::quote(text))
        })?;
        Ok(Self { text: text.into(), regex })
    }

    /// Whether the pattern holds; for what isn't UTF-8, or is longer than 8 KiB, it never does.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        value.len() <= LONGEST && std::str::from_utf8(value).is_ok_and(|value| self.regex.is_match(value))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_path_is_anchored_at_its_start_and_a_header_at_both_ends() {
        for (pattern, text, path, header) in [
            ("/api", "/api", true, true),
            ("/api", "/api/v1", true, false),
            ("/api", "/v1/api", false, false),
            ("a|ab", "ab", true, true),
            ("", "", true, true),
            ("", "x", true, false),
            (".*Android.*", "Mozilla (Android 14)", true, true),
            ("^(.*?;)?(type=insider)(;.*)?$", "a=b;type=insider;c=d", true, true),
            ("^(.*?;)?(type=insider)(;.*)?$", "type=insiders", false, false),
            ("(?i)yes", "YES", true, true),
            // A flag ends with the pattern: it reaches no anchor of ours.
            ("(?m)a", "b\na", false, false),
            ("(?m)a", "a\nb", true, false),
        ] {
            let matches = |pattern: Result<Pattern, String>| pattern.expect("a pattern").matches(text.as_bytes());
            assert_eq!(matches(Pattern::prefix(pattern)), path, "path {pattern:?} {text:?}");
            assert_eq!(matches(Pattern::whole(pattern)), header, "header {pattern:?} {text:?}");
        }
    }

    #[test]
    fn what_is_not_utf_8_matches_nothing_not_even_a_pattern_for_everything() {
        assert!(!Pattern::prefix("").expect("a pattern").matches(b"/\xff"));
        assert!(!Pattern::whole("(?s).*").expect("a pattern").matches(b"\xff"));
    }

    #[test]
    fn what_does_not_compile_or_would_cost_too_much_is_an_error() {
        for text in [
            "(",
            "a)|(b",
            "[",
            "a{2,1}",
            "*",
            r"\pL",
            "(?=a)",
            "(?x)a # c",
            r"\1",
            "(?:a{1000}){1000}",
            "a{100000}",
            &"(".repeat(100_000),
            &"(?:".repeat(1000),
        ] {
            let short: String = text.chars().take(20).collect();
            let why = Pattern::prefix(text).err().unwrap_or_else(|| panic!("{short} is a pattern"));
            assert!(why.contains("is not a regular expression that can be used here: "), "{why}");
            assert!(why.len() < 400 && !why.contains('\n'), "{short}: {why}");
        }
    }

    #[test]
    fn a_value_longer_than_8_kib_matches_nothing() {
        for pattern in ["(?s).*", "a+", "(a*)*"] {
            let pattern = Pattern::whole(pattern).expect("a pattern");
            assert!(pattern.matches("a".repeat(8192).as_bytes()));
            assert!(!pattern.matches("a".repeat(8193).as_bytes()));
        }
    }
}
