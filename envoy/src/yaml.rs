//! YAML and JSON, read strictly and written plainly.

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, UserMessageFormatter};
use traffic_split::Strict;

/// Why serialising a configuration cannot fail.
pub(crate) const ALWAYS_JSON: &str = "a configuration is made of strings, numbers, lists and maps with string keys";

/// Deeper than anything of ours, shallow enough for any stack.
const MAX_DEPTH: usize = 100;

/// All documents of a text, YAML or JSON, save for empty ones. The error says line and column.
pub(crate) fn read(text: &[u8]) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            // A big cluster has many objects. What a few aliases make of them is limited elsewhere.
            max_documents: usize::MAX,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
        },
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::Reject,
        // A Service may be called `on`.
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_slice_multiple_with_options::<Strict>(text, options) {
        Ok(documents) => Ok(documents.into_iter().map(|Strict(value)| value).collect()),
        Err(why) => Err(explain(why.without_snippet())),
    }
}

/// What is wrong, in the words of the rest of our messages, after line and column.
fn explain(why: &Error) -> String {
    let message = match why {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key {key:?} stands twice"),
        Error::NonFiniteFloat { value, .. } => format!("{value} is not a finite number"),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => format!("is nested deeper than {MAX_DEPTH}"),
        Error::Budget { .. } => "holds more than can be read, perhaps by its aliases".into(),
        Error::InvalidUtf8Input => "is not UTF-8".into(),
        other => {
            let message = other.render_with_formatter(&UserMessageFormatter);
            // Of what only aliases can bring about, it tells in words of its own.
            if message.contains("limits breached") {
                return "holds more than can be read, by its aliases".into();
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

/// A JSON value as YAML: what an object is stands before what it has.
pub(crate) fn write(value: &Value) -> String {
    // A folded string is legible to nobody when it is JSON.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&Ordered(value), options).expect("every JSON value is YAML")
}

/// A value whose objects begin with `@type` and `name`; all other keys are in alphabetical order.
/// That is done here because serde_json's `preserve_order` would be on for the whole workspace,
/// the filter too.
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

/// Text that came from a file, fit for one line on a terminal: without control characters, and without those that
/// turn the direction of writing.
pub fn one_line(text: &str) -> String {
    let turns = |char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|char| if char.is_control() || turns(char) { ' ' } else { char }).collect()
}
