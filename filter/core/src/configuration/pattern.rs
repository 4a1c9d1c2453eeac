//! Regular expressions of HTTPRouteGroups.

use crate::configuration::pattern_size::{self, PatternSize};
use regex_lite::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::OnceLock;

/// Maximum size of one pattern; see [`Pattern::size`].
const MAX_PATTERN_SIZE: u64 = 4096;
/// Maximum length of a value that a pattern is matched against, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 8 << 10;

/// A valid regular expression with anchors. Displayed and serialized without the anchors.
///
/// The syntax is that of the crate `regex-lite`: Perl's without back-references and look-around; `\w`, `\d`, `\s` and
/// case folding are ASCII only. Matching takes time linear in the input.
///
/// A pattern is compiled when it is first matched: a pattern that no request reaches takes no memory.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    /// The anchor at the end: `$`, or empty.
    end_anchor: &'static str,
    size: u32,
    /// Maximum number of characters of a value that the matcher reads.
    width: u64,
    regex: OnceLock<Option<Regex>>,
}

/// The number of steps that one request may still use for matching. Matching a value costs the number of characters
/// times [`Pattern::size`].
pub(crate) struct MatchingSteps(u64);

/// The result of matching a pattern against a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Yes,
    No,
    /// Not evaluated, and handled as `No`: the value is longer than 8 KiB, or the request has too few steps left.
    TooLong,
}

// === impl Pattern ===

impl Pattern {
    /// Parses a pattern that must match from the start of the text. Source: `pathRegex` in SMI's HTTPRouteGroup.
    ///
    /// # Errors
    /// Returns a message if the pattern is invalid or too large.
    pub(crate) fn prefix(text: &str) -> Result<Self, String> {
        Self::new(text, "")
    }

    /// Parses a pattern that must match the whole text, as Envoy's `safe_regex` and OSM match headers.
    ///
    /// # Errors
    /// Returns a message if the pattern is invalid or too large.
    pub(crate) fn whole(text: &str) -> Result<Self, String> {
        Self::new(text, "$")
    }

    fn new(text: &str, end_anchor: &'static str) -> Result<Self, String> {
        let PatternSize { size, width } = pattern_size::size(text);
        if size > MAX_PATTERN_SIZE {
            return Err(format!(
                "{} has size {size}, which is above {MAX_PATTERN_SIZE}; use a shorter pattern or smaller repetitions",
                crate::configuration::reader::quote(text)
            ));
        }
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let pattern = Self { text: text.into(), end_anchor, size, width, regex: OnceLock::new() };
        // Parse the text alone first: `a)|(b` is invalid, but becomes valid inside the group that adds the anchors.
        let parsed = parse(text).and_then(|()| parse(&pattern.anchored()));
        // If the expression contains a comment, the computed size may be too small, so the compiler checks the size.
        let compiled = parsed.and_then(|()| if text.contains('#') { pattern.compile().map(|_| ()) } else { Ok(()) });
        compiled.map_err(|why| {
            let why: String = why.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("{} is not a supported regular expression: {why}", crate::configuration::reader::quote(text))
        })?;
        Ok(pattern)
    }

    /// Returns the size of the pattern, at most 4096: an upper bound of the steps that a matcher takes for each
    /// character, and of the states and branches of the compiled expression, which take about 64 bytes each. Capture
    /// groups add to it.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Matches a value of at most [`MAX_VALUE_BYTES`] and subtracts the cost from `steps`.
    pub(crate) fn matches(&self, value: &str, steps: &mut MatchingSteps) -> Matched {
        if value.len() > MAX_VALUE_BYTES || !steps.take(self, value) {
            return Matched::TooLong;
        }
        let regex = self.regex.get_or_init(|| self.compile().ok());
        match regex.as_ref().is_some_and(|regex| regex.is_match(value)) {
            true => Matched::Yes,
            false => Matched::No,
        }
    }

    fn anchored(&self) -> String {
        format!("^(?:{}){}", self.text, self.end_anchor)
    }

    /// Compiles the pattern. An expression larger than its computed size is refused. The limit assumes the largest
    /// states of any target.
    fn compile(&self) -> Result<Regex, regex_lite::Error> {
        const STATE_BYTES: usize = 32;
        RegexBuilder::new(&self.anchored()).size_limit(self.size as usize * STATE_BYTES).build()
    }
}

/// Checks the syntax of an expression without compiling it. `regex-lite` has no function that only parses; with a limit
/// of 0 bytes, it stops after parsing, at the first state.
fn parse(text: &str) -> Result<(), regex_lite::Error> {
    const TOO_LARGE: &str = "compiled regex exceeded size limit";
    match RegexBuilder::new(text).size_limit(0).build() {
        Err(why) if why.to_string() != TOO_LARGE => Err(why),
        _ => Ok(()),
    }
}

// === impl MatchingSteps ===

impl MatchingSteps {
    /// Steps of one request. With V8, a step takes at most about 5 ns.
    const PER_REQUEST: u64 = 600_000;

    pub(crate) fn new() -> Self {
        Self(Self::PER_REQUEST)
    }

    /// Subtracts the steps of matching `value`. If too few are left, subtracts nothing and returns false.
    fn take(&mut self, pattern: &Pattern, value: &str) -> bool {
        let characters = u64::try_from(value.len()).unwrap_or(u64::MAX).min(pattern.width).saturating_add(1);
        let left = self.0.checked_sub(characters.saturating_mul(pattern.size.into()));
        self.0 = left.unwrap_or(self.0);
        left.is_some()
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
        (&self.text, self.end_anchor) == (&other.text, other.end_anchor)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Matched, MatchingSteps, Pattern};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn matches(pattern: &Pattern, value: &str) -> bool {
        pattern.matches(value, &mut MatchingSteps::new()) == Matched::Yes
    }

    #[test]
    fn path_is_anchored_at_its_start_and_header_at_both_ends() {
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
            // A flag applies to the pattern only, not to the added anchors.
            ("(?m)a", "b\na", false, false),
            ("(?m)a", "a\nb", true, false),
        ] {
            let matches = |pattern: Result<Pattern, String>| matches(&pattern.expect("a pattern"), text);
            assert_eq!(matches(Pattern::prefix(pattern)), path, "path {pattern:?} {text:?}");
            assert_eq!(matches(Pattern::whole(pattern)), header, "header {pattern:?} {text:?}");
        }
    }

    #[test]
    fn invalid_or_too_large_pattern_is_an_error() {
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
            let reasons = ["is not a supported regular expression: ", "which is above 4096; use a shorter"];
            assert!(reasons.iter().any(|reason| why.contains(reason)), "{why}");
            assert!(why.len() < 400 && !why.contains('\n'), "{short}: {why}");
        }
    }

    #[test]
    fn value_longer_than_8_kib_matches_nothing() {
        for pattern in ["(?s).*", "a+", "(a*)*"] {
            let pattern = Pattern::whole(pattern).expect("a pattern");
            assert!(matches(&pattern, &"a".repeat(8192)));
            let steps = &mut MatchingSteps::new();
            assert_eq!(pattern.matches(&"a".repeat(8193), steps), Matched::TooLong);
        }
    }

    #[test]
    fn steps_of_a_request_are_shared_by_all_its_patterns() {
        let steps = &mut MatchingSteps::new();
        let large = Pattern::whole("(?:a{1000}|b{1000})*").expect("a pattern");
        let value = "c".repeat(200);
        let cost = 201 * u64::from(large.size());
        for _ in 0..MatchingSteps::PER_REQUEST / cost {
            assert_eq!(large.matches(&value, steps), Matched::No);
        }
        assert_eq!(large.matches(&value, steps), Matched::TooLong);
        // A later pattern that costs no more than the remaining steps is still matched.
        assert_eq!(Pattern::whole("c+").expect("a pattern").matches(&value, steps), Matched::Yes);
    }
}
