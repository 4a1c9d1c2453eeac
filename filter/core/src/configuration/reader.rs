//! Reads the fields of a JSON value one by one, so that all problems are reported, not only the first.

use crate::configuration::problem::{Object, Problem};
use serde_json::{Map, Value};

/// Maximum number of problems reported for one configuration. Without a limit they could exhaust the filter's memory.
const MAX_PROBLEMS: usize = 1000;

/// Reads the fields of one object and records their problems.
///
/// `null` means absent, as in Kubernetes.
pub(crate) struct Reader<'p> {
    pub(crate) object: Object,
    pub(crate) problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    /// Records a problem of the object. Problems above [`MAX_PROBLEMS`] are dropped, which one last problem reports.
    pub(crate) fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let (field, message) = match self.problems.len() {
            ..MAX_PROBLEMS => (field.into(), message.into()),
            MAX_PROBLEMS => (String::new(), "more problems are not listed; fix the listed ones first".into()),
            _ => return,
        };
        self.problems.push(Problem { object: self.object.clone(), field, message });
    }

    /// Returns the map of a value, or records a problem if the value is not an object.
    pub(crate) fn map<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v Map<String, Value>> {
        if !value.is_object() {
            self.problem(field, format!("is {}, but must be an object", kind(value)));
        }
        value.as_object()
    }

    /// Returns the items of a value, or records a problem if the value is not a list.
    pub(crate) fn list<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v [Value]> {
        if !value.is_array() {
            self.problem(field, format!("is {}, but must be a list", kind(value)));
        }
        value.as_array().map(Vec::as_slice)
    }

    /// Returns the text of a value, or records a problem if the value is not a string.
    pub(crate) fn string<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v str> {
        if !value.is_string() {
            self.problem(field, format!("is {}, but must be a string", kind(value)));
        }
        value.as_str()
    }

    /// Returns the boolean of a value, or records a problem if the value is not a boolean.
    pub(crate) fn bool(&mut self, value: &Value, field: &str) -> Option<bool> {
        if !value.is_boolean() {
            self.problem(field, format!("is {}, but must be true or false", kind(value)));
        }
        value.as_bool()
    }

    /// Returns the value at `key`, or records a problem if it is absent.
    pub(crate) fn required<'v>(&mut self, map: &'v Map<String, Value>, key: &str, field: &str) -> Option<&'v Value> {
        let value = get(map, key);
        if value.is_none() {
            self.problem(field, "is missing; add it");
        }
        value
    }

    /// Returns a parsed value, or records its error as a problem.
    pub(crate) fn parsed<T>(&mut self, parsed: Option<Result<T, String>>, field: &str) -> Option<T> {
        match parsed? {
            Ok(value) => Some(value),
            Err(why) => {
                self.problem(field, why);
                None
            }
        }
    }

    /// Reads an object's `apiVersion` and `kind`. Records a problem if they are not one of `api_versions` and `kind`.
    pub(crate) fn type_meta<'v>(
        &mut self,
        map: &'v Map<String, Value>,
        kind: &str,
        api_versions: &[&str],
    ) -> (&'v str, &'v str) {
        let mut text = |key| {
            let value = self.required(map, key, key);
            value.and_then(|value| self.string(value, key))
        };
        let (api_version, own_kind) = (text("apiVersion"), text("kind"));
        if let Some(api_version) = api_version.filter(|api_version| !api_versions.contains(api_version)) {
            let (first, last) = (api_versions.first().unwrap_or(&""), api_versions.last().unwrap_or(&""));
            let last = last.rsplit('/').next().unwrap_or_default();
            self.problem("apiVersion", format!("{} is not supported; use {first} to {last}", quote(api_version)));
        }
        if let Some(own_kind) = own_kind.filter(|own_kind| *own_kind != kind) {
            self.problem("kind", format!("{} is not supported; use {kind}", quote(own_kind)));
        }
        (api_version.unwrap_or_default(), own_kind.unwrap_or_default())
    }

    /// Returns the text of a value if `is_valid` accepts it; else records the problem that it is not `expected`.
    pub(crate) fn valid_string<'v>(
        &mut self,
        value: &'v Value,
        field: &str,
        is_valid: fn(&str) -> bool,
        expected: &str,
    ) -> Option<&'v str> {
        let text = self.string(value, field)?;
        if !is_valid(text) {
            self.problem(field, format!("{} is not {expected}", quote(text)));
            return None;
        }
        Some(text)
    }
}

/// The expected value of a header name, in messages.
pub(crate) const HEADER_NAME: &str = "the name of an HTTP header (an RFC 9110 token)";
/// The expected value of a DNS label, in messages.
pub(crate) const DNS_LABEL: &str = "a DNS label (lower-case letters, digits and `-`, 63 at most)";
/// The expected value of a DNS subdomain, in messages.
pub(crate) const DNS_SUBDOMAIN: &str = "a DNS name (lower-case letters, digits, `-` and `.`, 253 at most)";

/// Returns the value at `key`; `null` means absent.
pub(crate) fn get<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// Returns the type of a value, with its article, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Quotes a text for one line of a log: control characters are escaped, and text after 80 characters is cut off.
pub(crate) fn quote(text: &str) -> String {
    const MAX_CHARACTERS: usize = 80;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
