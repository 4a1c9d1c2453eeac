//! The size of a regular expression: an upper bound of its cost, computed from its text.
//!
//! The bound must be the same natively and in WebAssembly, because the control plane and the filter apply the same
//! limit. `regex-lite` reports no size, and the size of its states depends on the target. The rules below follow the
//! compiler of `regex-lite` 0.1; a test compares both.

/// The size of a pattern, and the number of characters of a value that the pattern reads. See [`size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatternSize {
    /// Number of states and edges of the compiled expression, multiplied if the expression has capture groups. A
    /// matcher takes at most this many steps for each character. A unit takes about 64 bytes of memory.
    pub(crate) size: u64,
    /// Maximum number of characters of a value that a matcher reads; `u64::MAX` if unbounded.
    pub(crate) width: u64,
}

/// The parts of a compiled expression.
#[derive(Clone, Copy, Default)]
struct Size {
    /// NFA states.
    states: u64,
    /// Character ranges and targets of branches, which a matcher checks in addition to the states.
    edges: u64,
    /// Maximum number of characters that these parts match.
    width: u64,
}

/// An open group, or the whole expression.
#[derive(Default)]
struct Frame {
    is_capture: bool,
    /// The finished branches of the alternation.
    branches: Size,
    branch_count: u64,
    /// The current branch without its last item.
    branch: Size,
    /// The last item, to which a repetition applies.
    item: Option<Size>,
}

/// Character ranges of the largest named class, such as `\W` or `[:^punct:]`.
const NAMED_CLASS_RANGES: u64 = 5;

/// Computes the size of a pattern. Also returns a size for an invalid pattern.
pub(crate) fn size(text: &str) -> PatternSize {
    let mut scanner = Scanner { rest: text, folds_case: false, groups: 1, name_characters: 0 };
    let mut whole = scanner.scan();
    // States for the group of the whole match, its end, its entry in the list of groups, and the anchors of `Pattern`.
    whole = whole.plus(Size { states: 6, edges: scanner.name_characters / 8, width: 0 });
    // Each state of a matcher has a slot for the start and the end of each group.
    let size = whole.states.saturating_add(whole.edges).saturating_mul(scanner.groups.saturating_add(3)) / 4;
    PatternSize { size, width: whole.width }
}

/// Reads an expression from left to right.
struct Scanner<'t> {
    rest: &'t str,
    /// Whether the flag `i` occurs anywhere: each letter then counts as a class of two.
    folds_case: bool,
    /// Number of capture groups, including the whole match.
    groups: u64,
    /// Total number of characters in the names of groups.
    name_characters: u64,
}

// === impl Scanner ===

impl Scanner<'_> {
    fn scan(&mut self) -> Size {
        let mut frames = vec![Frame::default()];
        while let Some(next) = self.next() {
            let Some(frame) = frames.last_mut() else { break };
            match next {
                '(' => {
                    if let Some(is_capture) = self.open_group() {
                        frames.push(Frame { is_capture, ..Frame::default() });
                    }
                }
                ')' => {
                    let group = frame.close();
                    // The compiler refuses a group that was not opened.
                    if frames.len() > 1 {
                        frames.pop();
                    }
                    if let Some(outer) = frames.last_mut() {
                        outer.push(group);
                    }
                }
                '|' => frame.end_branch(),
                '[' => {
                    let class = self.class();
                    frame.push(class);
                }
                '?' => frame.repeat(0, Some(1)),
                '*' => frame.repeat(0, None),
                '+' => frame.repeat(1, None),
                '{' => {
                    let (min, max) = self.counts();
                    frame.repeat(min, max);
                }
                '.' => frame.push(Size { states: 1, edges: 3, width: 1 }),
                '\\' => {
                    let item = self.escape();
                    frame.push(item);
                }
                _ => frame.push(Size { states: 1, edges: if self.folds_case { 2 } else { 0 }, width: 1 }),
            }
        }
        // The compiler refuses groups that are not closed.
        let closed = frames.iter_mut().map(Frame::close);
        closed.fold(Size::default(), Size::plus)
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
        Some(next)
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads the start of a group, after the parenthesis. Returns whether the group captures; `None` for flags such as
    /// `(?i)`, which open no group.
    fn open_group(&mut self) -> Option<bool> {
        if self.skip("?P<") || self.skip("?<") {
            self.groups = self.groups.saturating_add(1);
            while self.next().is_some_and(|next| next != '>') {
                self.name_characters = self.name_characters.saturating_add(1);
            }
            return Some(true);
        }
        if !self.skip("?") {
            self.groups = self.groups.saturating_add(1);
            return Some(true);
        }
        loop {
            match self.next() {
                Some(':') => return Some(false),
                Some('i') => self.folds_case = true,
                Some(')') | None => return None,
                Some(_) => {}
            }
        }
    }

    /// Reads a class, after the bracket. Each character counts as a range.
    fn class(&mut self) -> Size {
        let mut ranges: u64 = 1;
        self.skip("^");
        while self.skip("-") {
            ranges = ranges.saturating_add(1);
        }
        // `]` as the first character of a class does not close the class.
        if ranges == 1 {
            self.skip("]");
        }
        while let Some(next) = self.next() {
            let more = match next {
                ']' => break,
                '[' => {
                    while self.rest.starts_with(|next: char| next == ':' || next == '^' || next.is_ascii_alphabetic()) {
                        self.next();
                    }
                    self.skip("]");
                    NAMED_CLASS_RANGES
                }
                '\\' => self.escape().edges.max(1),
                _ => 1,
            };
            ranges = ranges.saturating_add(more);
        }
        // Case folding adds a second range to each range.
        let edges = ranges.saturating_mul(if self.folds_case { 2 } else { 1 }).saturating_add(1);
        Size { states: 1, edges, width: 1 }
    }

    /// Reads an escape sequence, after the backslash.
    fn escape(&mut self) -> Size {
        let edges = match self.next() {
            Some('d' | 's' | 'w' | 'D' | 'S' | 'W') => NAMED_CLASS_RANGES,
            // The digits of a code point count as characters, which overestimates the size.
            _ if self.folds_case => 2,
            _ => 0,
        };
        Size { states: 1, edges, width: 1 }
    }

    /// Reads the counts of a repetition, after the brace: `{2}`, `{2,}` or `{2,5}`.
    fn counts(&mut self) -> (u64, Option<u64>) {
        // `\b{start}` has no counts; it is handled as `{1}`.
        let mut numbers = [None, None];
        let mut index = 0;
        while let Some(next) = self.next() {
            match (next, numbers.get_mut(index)) {
                ('}', _) | (_, None) => break,
                (',', _) => index = 1,
                (digit, Some(number)) => {
                    if let Some(digit) = digit.to_digit(10) {
                        *number = Some(number.unwrap_or(0_u64).saturating_mul(10).saturating_add(digit.into()));
                    }
                }
            }
        }
        let [min, max] = numbers;
        let min = min.unwrap_or(1);
        (min, if index == 0 { Some(min) } else { max })
    }
}

// === impl Frame ===

impl Frame {
    fn push(&mut self, item: Size) {
        self.branch = self.branch.plus(self.item.replace(item).unwrap_or_default());
    }

    fn repeat(&mut self, min: u64, max: Option<u64>) {
        // The compiler refuses a repetition without an item.
        let item = self.item.unwrap_or_default();
        let around = |states, edges| Size { states, edges, width: 0 };
        self.item = Some(match max {
            // Branches and an end surround the item; the compiler keeps one copy of the item even if the minimum is 0.
            None => {
                let repeated = item.times(min.max(1)).plus(around(3, 4));
                Size { width: if item.width == 0 { 0 } else { u64::MAX }, ..repeated }
            }
            Some(max) if max == min => item.times(min).plus(around(u64::from(min == 0), 0)),
            Some(max) => {
                let optional = around(1, 2).times(max.saturating_sub(min));
                item.times(max.max(min)).plus(optional).plus(around(2, 0))
            }
        });
    }

    fn end_branch(&mut self) {
        self.push(Size::default());
        self.item = None;
        let mut branch = std::mem::take(&mut self.branch);
        // An empty branch takes one state.
        branch.states = branch.states.max(1);
        let width = self.branches.width.max(branch.width);
        self.branches = Size { width, ..self.branches.plus(branch) };
        self.branch_count = self.branch_count.saturating_add(1);
    }

    fn close(&mut self) -> Size {
        self.end_branch();
        let mut size = self.branches;
        if self.branch_count > 1 {
            size = size.plus(Size { states: 2, edges: self.branch_count, width: 0 });
        }
        // Start and end of a group, and its entry in the list of groups.
        if self.is_capture { size.plus(Size { states: 3, edges: 0, width: 0 }) } else { size }
    }
}

// === impl Size ===

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            states: self.states.saturating_add(other.states),
            edges: self.edges.saturating_add(other.edges),
            width: self.width.saturating_add(other.width),
        }
    }

    fn times(self, count: u64) -> Self {
        Self {
            states: self.states.saturating_mul(count),
            edges: self.edges.saturating_mul(count),
            width: self.width.saturating_mul(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::size;
    use fastrand::Rng;
    use regex_lite::RegexBuilder;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Returns the bytes that `regex-lite` counts for a pattern with anchors. A state has 32 bytes on 64-bit targets.
    fn compiled_bytes(text: &str) -> Option<u64> {
        let text = format!("^(?:{text})$");
        let fits = |limit: usize| RegexBuilder::new(&text).size_limit(limit).build().is_ok();
        let (mut low, mut high) = (0, 1 << 20);
        if !fits(high) {
            return None;
        }
        while low + 1 < high {
            let middle = low.midpoint(high);
            if fits(middle) { high = middle } else { low = middle }
        }
        Some(high as u64)
    }

    fn random_pattern(rng: &mut Rng, depth: u32) -> String {
        let atom = |rng: &mut Rng| -> String {
            let atoms = [
                "a",
                "b",
                "é",
                ".",
                r"\d",
                r"\W",
                r"\s",
                r"\.",
                r"\x41",
                "^",
                "$",
                r"\b",
                "[a-z]",
                "[^a-c0-9_]",
                "[[:punct:]]",
                "[[:^alpha:]x]",
                r"[\w-]",
                r"[\]a]",
                "[]a]",
                "[(]",
                "[-a]",
                "[^-]",
                "(?i)",
                "(?i:k)",
            ];
            rng.choice(atoms).unwrap_or("a").into()
        };
        let mut text = String::new();
        for _ in 0..rng.usize(0..4) {
            let item = match rng.u8(0..6) {
                0 if depth > 0 => format!("({})", random_pattern(rng, depth - 1)),
                1 if depth > 0 => format!("(?:{})", random_pattern(rng, depth - 1)),
                2 if depth > 0 => format!("(?P<n{}>{})", rng.u32(..), random_pattern(rng, depth - 1)),
                _ => atom(rng),
            };
            text.push_str(&item);
            let repeats =
                ["", "", "", "?", "*", "+", "*?", "{3}", "{0}", "{0,}", "{1,}", "{2,}", "{0,3}", "{2,4}", "{1}"];
            text.push_str(rng.choice(repeats).unwrap_or(""));
            if rng.u8(0..5) == 0 {
                text.push('|');
            }
        }
        text
    }

    /// A state has 32 bytes on 64-bit targets, and fewer on 32-bit targets.
    #[test]
    fn compiled_pattern_is_never_larger_than_its_size() {
        let mut rng = Rng::with_seed(11);
        let mut compiled = 0;
        for _ in 0..20_000 {
            let text = random_pattern(&mut rng, 3);
            let Some(bytes) = compiled_bytes(&text) else { continue };
            compiled += 1;
            assert!(bytes <= size(&text).size * 32, "{text:?} has {bytes} bytes, and {:?}", size(&text));
        }
        assert!(compiled > 5_000, "only {compiled} of the patterns were valid");
    }

    #[test]
    fn size_counts_states_edges_and_capture_groups() {
        for (text, expected) in [
            ("", 7),
            ("a", 7),
            ("abc", 9),
            ("a{2000}", 2006),
            ("(?:a{10}){10}", 106),
            ("a{99999999999}{99999999999}", u64::MAX / 4),
            ("a*", 14),
            (".*", 17),
            ("[abc]", 12),
            ("a|b", 12),
            // Four groups, the whole match included: seven quarters.
            ("(a)(b)(c)", (6 + 12) * 7 / 4),
        ] {
            assert_eq!(size(text).size, expected, "{text:?}");
        }
    }

    #[test]
    fn width_is_the_number_of_characters_a_matcher_reads() {
        for (text, expected) in [
            ("", 0),
            ("abc", 3),
            ("a|bcd|", 3),
            ("(?:ab){3}c?", 7),
            (r"^\d{2,5}\.[a-z]\b", 9),
            ("a*", u64::MAX),
            ("a+b", u64::MAX),
            ("(?:a|b{2,})c", u64::MAX),
        ] {
            assert!((expected..=expected.saturating_add(2)).contains(&size(text).width), "{text:?}: {:?}", size(text));
        }
    }

    #[test]
    fn random_characters_never_panic_in_scanner_or_compiler() {
        const CHARACTERS: [char; 28] = [
            '(', ')', '[', ']', '{', '}', '?', '*', '+', '|', '\\', '^', '$', '.', ':', '<', '>', 'P', 'i', 'x', '#',
            '-', ',', '1', '9', 'b', ' ', 'é',
        ];
        let mut rng = Rng::with_seed(12);
        for _ in 0..100_000 {
            let length = rng.usize(0..14);
            let text: String = (0..length).filter_map(|_| rng.choice(CHARACTERS)).collect();
            let _ = RegexBuilder::new(&text).size_limit(1 << 14).build().map(|regex| regex.is_match("ab1, (x)"));
            assert!(size(&text).size > 0, "{text:?}");
        }
    }

    /// The scanner must neither panic nor loop forever on an invalid pattern.
    #[test]
    fn invalid_pattern_has_a_size_above_zero() {
        for text in [
            "(", ")", "a)b", "[", "[^", "[[:", "{", "a{", "a{,", r"\", "(?", "(?P<", "*", "|", "(|", "))))((((",
            "a{1,2,3}",
        ] {
            assert!(size(text).size > 0, "{text:?}");
        }
    }
}
