//! YAML and JSON, read strictly and written plainly.

use serde_json::Value;
use traffic_split::{Configuration, Strict};

/// Deeper than anything of ours, shallow enough for any stack.
const MAX_DEPTH: usize = 100;

/// All documents of a text, YAML or JSON, save for empty ones. The error says line and column.
pub(crate) fn read(text: &[u8]) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH },
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::Reject,
        // A Service may be called `on`.
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_slice_multiple_with_options::<Strict>(text, options) {
        Ok(documents) => Ok(documents.into_iter().map(|Strict(value)| value).collect()),
        Err(why) => {
            let message = one_line(&why.without_snippet().to_string());
            Err(match why.location() {
                Some(at) if !message.contains("line ") => {
                    format!("line {}, column {}: {message}", at.line(), at.column())
                }
                _ => message,
            })
        }
    }
}

/// The configuration as a JSON value.
pub(crate) fn value(configuration: &Configuration) -> Value {
    serde_json::to_value(configuration).expect("a configuration is made of strings, numbers and lists")
}

/// A JSON value as YAML.
pub(crate) fn write(value: &Value) -> String {
    // A folded string is legible to nobody when it is JSON.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).expect("every JSON value is YAML")
}

/// Text that came from a file, fit for one line on a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
