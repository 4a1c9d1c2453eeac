//! Parses YAML and JSON strictly, and writes YAML.

use crate::diagnostic::Position;
use crate::json_stream;
use crate::located::{self, Located};
use crate::safe_text::one_line;
use crate::source_map::SourceMap;
use crate::syntax_remedy;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, UserMessageFormatter};

/// Why serializing a configuration cannot fail.
pub(crate) const ALWAYS_JSON: &str = "a configuration consists of strings, numbers, lists and maps with string keys";

/// The fields with which a Kubernetes object may begin.
const TOP_LEVEL_FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Maximum nesting: deeper than any valid document, and shallow enough for any stack.
const MAX_DEPTH: usize = 100;

/// The beginning of a text.
const FIRST: Position = Position { line: 1, column: 1 };

/// The value of a document, with the positions of its parts.
#[derive(Clone, Debug)]
pub(crate) struct LocatedValue {
    pub(crate) value: Value,
    pub(crate) source: SourceMap,
}

/// Why a text is not YAML, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
}

/// Parses all documents of a text, YAML or JSON, and skips empty ones. JSON documents may follow each other without a separator.
///
/// # Errors
/// If the text is not UTF-8, not valid YAML, too large or nested too deeply, or has a duplicate key or a number that is not finite.
pub(crate) fn read(text: &[u8]) -> Result<Vec<LocatedValue>, SyntaxError> {
    let text = str::from_utf8(text)
        .map_err(|_| SyntaxError { position: None, message: "is not UTF-8; save the file as UTF-8".into() })?;
    let mut documents = Vec::new();
    let mut start = FIRST;
    let mut parts = json_stream::parts(text).into_iter().peekable();
    while let Some(part) = parts.next() {
        documents.extend(read_part(part, start)?);
        if parts.peek().is_some() {
            start = end_of(part, start);
        }
    }
    Ok(documents)
}

/// Parses all documents of a part of a file that begins at `start`.
fn read_part(text: &str, start: Position) -> Result<Vec<LocatedValue>, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            // A large cluster has many objects. The budget of aliases is separate.
            max_documents: usize::MAX,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
        },
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::Reject,
        // `on` is a valid name of a Service.
        strict_booleans: true,
        with_snippet: false,
    };
    let documents = serde_saphyr::from_multiple_with_options::<Located>(text, options)
        .map_err(|why| explain(why.without_snippet(), text, start))?;
    let split = |document: Located| {
        let (value, source) = document.split(text, start);
        LocatedValue { value, source }
    };
    Ok(documents.into_iter().map(split).collect())
}

/// Returns the position after a part of a file that begins at `start`.
fn end_of(part: &str, start: Position) -> Position {
    match part.rsplit_once('\n') {
        Some((before, last)) => {
            Position { line: start.line + before.matches('\n').count() + 1, column: last.chars().count() + 1 }
        }
        None => Position { line: start.line, column: start.column + part.chars().count() },
    }
}

/// Returns the position in a file of a line and a column in a part of the file that begins at `start`.
fn inside(start: Position, line: usize, column: usize) -> Position {
    match line {
        1 => Position { line: start.line, column: start.column + column - 1 },
        _ => Position { line: start.line + line - 1, column },
    }
}

/// Returns message and position of an error in a part of a file, `text`, that begins at `start`.
fn explain(why: &Error, text: &str, start: Position) -> SyntaxError {
    let mut position = why.location().filter(|at| at.line() > 0).map(|at| located::position(at, start));
    let message = match why {
        Error::DuplicateMappingKey { key: Some(key), .. } => match position {
            // Two objects without a separator are one map with duplicate keys.
            Some(Position { line, column: 1 }) if TOP_LEVEL_FIELDS.contains(&key.as_str()) => format!(
                "the key `{key}` is duplicated; if another object begins here, insert a line `---` before line {line}, else \
                 remove one"
            ),
            _ => format!("the key `{key}` is duplicated; remove one"),
        },
        Error::NonFiniteFloat { value, .. } => format!("{value} is not a finite number"),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("nests deeper than {MAX_DEPTH} levels; reduce the nesting")
        }
        Error::Budget { .. } => {
            "is too large, probably because of YAML aliases; write the values without aliases, or split the file".into()
        }
        other => {
            let message = other.render_with_formatter(&UserMessageFormatter);
            // The library reports limits of aliases with its own text.
            if message.contains("limits breached") {
                "is too large because of YAML aliases; write the values without aliases".into()
            } else {
                let message = match message.rsplit_once(" at line ") {
                    Some((message, _)) => message.to_owned(),
                    None => message,
                };
                let in_text = why.location().map(|at| located::position(at, FIRST));
                match in_text.and_then(|at| syntax_remedy::mistake(text, at.line, at.column, &message)) {
                    Some(mistake) => {
                        position = Some(inside(start, mistake.line, mistake.column));
                        mistake.message
                    }
                    None => message,
                }
            }
        }
    };
    SyntaxError { position, message: one_line(&message) }
}

/// Writes a JSON value as YAML. `@type` and `name` come first in each object.
pub(crate) fn write(value: &Value) -> String {
    // Folding makes embedded JSON unreadable.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&Ordered(value), options).expect("every JSON value is YAML")
}

/// A value whose objects begin with `@type` and `name`; all other keys are in alphabetical order. The feature `preserve_order` of
/// serde_json is not an alternative, because it would apply to the whole workspace, including the filter.
struct Ordered<'v>(&'v Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(list) => serializer.collect_seq(list.iter().map(Ordered)),
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|&(key, _)| (!matches!(key.as_str(), "@type" | "name"), key));
                serializer.collect_map(entries.into_iter().map(|(key, value)| (key, Ordered(value))))
            }
            scalar => scalar.serialize(serializer),
        }
    }
}
