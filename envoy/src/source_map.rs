//! Positions of values in the text of a document.

use crate::diagnostic::Position;
use std::collections::BTreeMap;

/// The position of a value in its file, and of every value inside it.
///
/// Values of aliases (`*name`) and merge keys (`<<`) have the position of the text that defines them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceMap {
    position: Position,
    key: Option<Position>,
    text: Option<Box<str>>,
    children: Children,
}

/// The values inside a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    Scalar,
    List(Vec<SourceMap>),
    Map(BTreeMap<String, SourceMap>),
}

/// A quoted text in a path: a key, or the beginning of a long key.
struct Quoted<'p> {
    text: &'p str,
    is_cut: bool,
}

// === impl SourceMap ===

impl SourceMap {
    /// Creates the map of a value at this position. `text` is the text of a number, a boolean, a null, or a word without
    /// quotes that YAML 1.1 reads as a boolean.
    pub(crate) fn new(position: Position, text: Option<Box<str>>, children: Children) -> Self {
        Self { position, key: None, text, children }
    }

    /// Sets the position of the key of a value in a map.
    pub(crate) fn with_key(mut self, key: Position) -> Self {
        self.key = Some(key);
        self
    }

    /// Returns the map of an item of a list.
    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        match &self.children {
            Children::List(items) => items.get(index),
            _ => None,
        }
    }

    /// Returns the map of the value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&Self> {
        match &self.children {
            Children::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    /// Returns the position of a field, such as `spec.backends[1].weight`. A value that begins on another line than its key has the
    /// position of the key. A missing field has the position of the closest enclosing object.
    pub(crate) fn position(&self, field: &str) -> Position {
        self.find(field).0.own_position()
    }

    /// Returns the position of the key of a field. A field without a key has the position that `position` returns.
    pub(crate) fn key_position(&self, field: &str) -> Position {
        let (node, _) = self.find(field);
        node.key.unwrap_or_else(|| node.own_position())
    }

    /// Returns the text of a number, a boolean, a null, or a word such as `on` without quotes, as the file has it, such as `010`;
    /// `None` for other values and for missing fields.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        let (node, is_whole_path) = self.find(field);
        node.text.as_deref().filter(|_| is_whole_path)
    }

    fn own_position(&self) -> Position {
        match self.key {
            Some(key) if key.line != self.position.line || self.text.as_deref() == Some("") => key,
            _ => self.position,
        }
    }

    /// Follows a path as far as it exists. Returns the value there, and whether the whole path exists.
    fn find(&self, field: &str) -> (&Self, bool) {
        let mut node = self;
        let mut rest = field;
        while !rest.is_empty() {
            let Some((child, remaining)) = node.step(rest) else {
                return (node, false);
            };
            node = child;
            rest = after_label(remaining);
        }
        (node, true)
    }

    /// Follows the first step of a path: `key`, `.key`, `["key"]` or `[0]`. Returns the child and the rest of the path.
    fn step<'p>(&self, path: &'p str) -> Option<(&Self, &'p str)> {
        match &self.children {
            Children::Scalar => None,
            Children::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, rest))
            }
            Children::Map(entries) => {
                if let Some(quoted) = path.strip_prefix('[') {
                    let (quoted, rest) = Quoted::split(quoted)?;
                    let (_, child) = entries.iter().find(|(key, _)| quoted.is_quote_of(key))?;
                    return Some((child, rest.strip_prefix(']')?));
                }
                let path = path.strip_prefix('.').unwrap_or(path);
                // A key may contain dots: the longest key wins.
                let matching = entries.iter().filter_map(|(key, child)| {
                    let rest = path.strip_prefix(key.as_str())?;
                    (rest.is_empty() || rest.starts_with(['.', '[', ' '])).then_some((child, rest))
                });
                matching.min_by_key(|(_, rest)| rest.len())
            }
        }
    }
}

/// Returns the path after the name of a match, as in `spec.matches[0] "name".headers`.
fn after_label(path: &str) -> &str {
    path.strip_prefix(' ').and_then(Quoted::split).map_or(path, |(_, rest)| rest)
}

// === impl Quoted ===

impl<'p> Quoted<'p> {
    /// Splits a path after the quoted text at its beginning.
    fn split(path: &'p str) -> Option<(Self, &'p str)> {
        let inner = path.strip_prefix('"')?;
        let mut is_escaped = false;
        let end = inner.find(|char| {
            let is_end = char == '"' && !is_escaped;
            is_escaped = char == '\\' && !is_escaped;
            is_end
        })?;
        let (text, rest) = (inner.get(..end)?, inner.get(end + 1..)?);
        Some(match rest.strip_prefix('…') {
            Some(rest) => (Self { text, is_cut: true }, rest),
            None => (Self { text, is_cut: false }, rest),
        })
    }

    fn is_quote_of(&self, key: &str) -> bool {
        let key = key.escape_debug().to_string();
        if self.is_cut { key.starts_with(self.text) } else { key == self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::SourceMap;
    use crate::yaml;

    #[track_caller]
    fn source(text: &str) -> SourceMap {
        let mut documents = yaml::read(text.as_bytes()).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0).source
    }

    #[test]
    fn fields_of_block_and_flow_style_have_positions() {
        let source = source(
            "kind: TrafficSplit
metadata:
  annotations:
    traffic-split/mirror: v2=10
    \"quoted \\\"key\\\"\": a
spec:
  backends:
  - service: v1
    weight: 50
  - {service: v2, weight: 010}
  matches:
  - name: api
    headers:
      x: '[0-9]'
      y:
",
        );
        for (field, position) in [
            ("", "1:1"),
            ("kind", "1:7"),
            ("metadata", "2:1"),
            ("metadata.annotations[\"traffic-split/mirror\"]", "4:27"),
            ("metadata.annotations[\"quoted \\\"key\\\"\"]", "5:23"),
            ("metadata.name", "2:1"),
            ("spec.backends", "7:3"),
            ("spec.backends[0]", "8:5"),
            ("spec.backends[0].weight", "9:13"),
            ("spec.backends[1]", "10:5"),
            ("spec.backends[1].weight", "10:27"),
            ("spec.backends[1].unknown", "10:5"),
            ("spec.backends[2].weight", "7:3"),
            ("spec.matches[0] \"api\".headers[\"x\"]", "14:10"),
            ("spec.matches[0] \"api\".headers[\"y\"]", "15:7"),
            ("spec.matches[0] \"api\".pathRegex", "12:5"),
            ("spec.weights", "6:1"),
            ("status.conditions", "1:1"),
        ] {
            assert_eq!(source.position(field).to_string(), position, "{field}");
        }
        for (field, position) in [("kind", "1:1"), ("spec.backends[1].weight", "10:19"), ("spec.matches[0]", "12:5")] {
            assert_eq!(source.key_position(field).to_string(), position, "{field}");
        }
    }

    #[test]
    fn positions_do_not_depend_on_line_ends_or_a_byte_order_mark() {
        for text in ["# c\nä: 1\nb: [1, 2]\n", "# c\r\nä: 1\r\nb: [1, 2]\r\n", "\u{feff}# c\nä: 1\nb: [1, 2]\n"] {
            let source = source(text);
            assert_eq!(source.position("ä").to_string(), "2:4");
            assert_eq!(source.position("b[1]").to_string(), "3:8");
        }
    }

    #[test]
    fn aliases_and_merge_keys_lead_to_the_text_that_defines_the_value() {
        let source = source("a: &a\n  k: 1\nb: *a\nc:\n  <<: *a\n  d: 2\n");
        for (field, position) in [("b", "3:1"), ("b.k", "2:6"), ("c.k", "2:6"), ("c.d", "6:6"), ("c.missing", "4:1")] {
            assert_eq!(source.position(field).to_string(), position, "{field}");
        }
    }

    #[test]
    fn long_keys_and_keys_with_dots_are_found() {
        let long = "x".repeat(90);
        let source = source(&format!("d.e: 1\na: {{b: 2, b.c: 3}}\nhosts: {{{long}: 1}}\n"));
        let cut = format!("hosts[\"{}\"…]", "x".repeat(80));
        for (field, position) in [("d.e", "1:6"), ("a.b.c", "2:16"), (&cut, "3:101")] {
            assert_eq!(source.position(field).to_string(), position, "{field}");
        }
    }

    #[test]
    fn numbers_booleans_and_nulls_keep_their_text() {
        let source = source("{a: 010, b: 0x1F, c: ~, d: true, e: '010', f: x, g: [1.50]}");
        for (field, text) in [
            ("a", Some("010")),
            ("b", Some("0x1F")),
            ("c", Some("~")),
            ("d", Some("true")),
            ("e", None),
            ("f", None),
            ("g", None),
            ("g[0]", Some("1.50")),
            ("g[1]", None),
            ("a.b", None),
        ] {
            assert_eq!(source.text(field), text, "{field}");
        }
    }
}
