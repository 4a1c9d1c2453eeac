//! Parses YAML and JSON strictly, and writes YAML.

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, UserMessageFormatter};
use traffic_split::Strict;

/// Why serialising a configuration cannot fail.
pub(crate) const ALWAYS_JSON: &str = "a configuration consists of strings, numbers, lists and maps with string keys";

/// Deeper than any valid document, and shallow enough for any stack.
const MAX_DEPTH: usize = 100;

/// Parses all documents of a text, YAML or JSON, and skips empty ones. The error names line and column.
pub(crate) fn read(text: &[u8]) -> Result<Vec<Value>, String> {
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
    match serde_saphyr::from_slice_multiple_with_options::<Strict>(text, options) {
        Ok(documents) => Ok(documents.into_iter().map(|Strict(value)| value).collect()),
        Err(why) => Err(explain(why.without_snippet())),
    }
}

/// Returns the message of an error, after line and column.
fn explain(why: &Error) -> String {
    let message = match why {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is duplicated; remove one"),
        Error::NonFiniteFloat { value, .. } => format!("{value} is not a finite number"),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => format!("nests deeper than {MAX_DEPTH} levels"),
        Error::Budget { .. } => "is too large, perhaps because of its aliases".into(),
        Error::InvalidUtf8Input => "is not UTF-8; save the file as UTF-8".into(),
        other => {
            let message = other.render_with_formatter(&UserMessageFormatter);
            // The library reports limits of aliases with its own text.
            if message.contains("limits breached") {
                return "is too large because of its aliases".into();
            }
            match message.rsplit_once(" at line ") {
                Some((message, _)) => message.to_owned(),
                None => message,
            }
        }
    };
    let message = one_line(&message);
    match why.location() {
        Some(at) if at.line() > 0 => format!("line {}, column {}: {message}", at.line(), at.column()),
        _ => message,
    }
}

/// Writes a JSON value as YAML. `@type` and `name` come first in each object.
pub(crate) fn write(value: &Value) -> String {
    // Folding makes embedded JSON unreadable.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&Ordered(value), options).expect("every JSON value is YAML")
}

/// A value whose objects begin with `@type` and `name`; all other keys are in alphabetical order. The feature `preserve_order` of
/// serde_json is no alternative: it would apply to the whole workspace, including the filter.
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

/// Returns text from a file as one safe line for a terminal: without control characters and bidirectional marks.
pub fn one_line(text: &str) -> String {
    let is_bidirectional =
        |char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|char| if char.is_control() || is_bidirectional(char) { ' ' } else { char }).collect()
}
