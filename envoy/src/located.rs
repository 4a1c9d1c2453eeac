//! Deserialization of values with their positions.

use crate::diagnostic::Position;
use crate::number_text::is_boolean_of_yaml_1_1;
use crate::source_map::{Children, SourceMap};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// A YAML value with its position. Like [`Strict`](traffic_split::Strict), it has no duplicate keys and no number that is not
/// finite.
pub(crate) struct Located(Spanned<Node>);

enum Node {
    Scalar(Value),
    List(Vec<Located>),
    Map(Vec<(Spanned<String>, Located)>),
}

struct NodeVisitor;

// === impl Located ===

impl Located {
    /// Returns the value and the map of its positions. `text` is the part of a file that was parsed, and begins at `start`.
    pub(crate) fn split(self, text: &str, start: Position) -> (Value, SourceMap) {
        let Self(Spanned { value: node, defined, .. }) = self;
        let (value, own_text, children) = match node {
            Node::Scalar(value @ Value::String(_)) => {
                let word = text_at(text, &defined).filter(|word| is_boolean_of_yaml_1_1(word));
                (value, word, Children::Scalar)
            }
            Node::Scalar(value) => (value, text_at(text, &defined), Children::Scalar),
            Node::List(items) => {
                let (values, maps) = items.into_iter().map(|item| item.split(text, start)).unzip();
                (Value::Array(values), None, Children::List(maps))
            }
            Node::Map(entries) => {
                let entries = entries.into_iter().map(|(key, value)| {
                    let (value, map) = value.split(text, start);
                    ((key.value.clone(), value), (key.value, map.with_key(position(key.defined, start))))
                });
                let (values, maps): (Map<_, _>, _) = entries.unzip();
                (Value::Object(values), None, Children::Map(maps))
            }
        };
        (value, SourceMap::new(position(defined, start), own_text, children))
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

// === impl Node ===

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

// === impl NodeVisitor ===

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number is not finite"))?;
        Ok(Node::Scalar(number.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map: Vec<(Spanned<String>, Located)> = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

/// Returns the position in the file of a location in a part of the file that begins at `start`.
pub(crate) fn position(at: Location, start: Position) -> Position {
    let number = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let (line, column) = (number(at.line()), number(at.column()));
    match line {
        0 | 1 => Position { line: start.line, column: (start.column + column).saturating_sub(1) },
        _ => Position { line: start.line.saturating_add(line - 1), column },
    }
}

/// Returns the text at a location.
fn text_at(text: &str, at: &Location) -> Option<Box<str>> {
    let (start, len) = (at.span().byte_offset()?, at.span().byte_len()?);
    let start = usize::try_from(start).ok()?;
    text.get(start..start.checked_add(usize::try_from(len).ok()?)?).map(Into::into)
}
