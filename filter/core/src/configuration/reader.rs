//! Reading fields of a JSON value one by one, so that every problem is found, not only the
//! first.

use crate::configuration::problem::{Object, Problem};
use serde_json::{Map, Value};

/// The most problems that are kept of one configuration: a list without an end would exhaust the filter's memory.
const MAX_PROBLEMS: usize = 1000;

/// Reads the fields of one object and notes what is wrong with them.
///
/// `null` is the same as absent, as for Kubernetes.
pub(crate) struct Reader<'p> {
    pub(crate) object: Object,
    pub(crate) problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    pub(crate) fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let (field, message) = match self.problems.len() {
            ..MAX_PROBLEMS => (field.into(), message.into()),
            MAX_PROBLEMS => (String::new(), "more problems are not listed; fix the listed ones first".into()),
            _ => return,
        };
        self.problems.push(Problem { object: self.object.clone(), field, message });
    }

    /// A problem unless `value` is an object.
    pub(crate) fn map<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v Map<String, Value>> {
        if !value.is_object() {
            self.problem(field, format!("is {}, but must be an object", kind(value)));
        }
        value.as_object()
    }

    pub(crate) fn list<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v [Value]> {
        if !value.is_array() {
            self.problem(field, format!("is {}, but must be a list", kind(value)));
        }
        value.as_array().map(Vec::as_slice)
    }

    pub(crate) fn string<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v str> {
        if !value.is_string() {
            self.problem(field, format!("is {}, but must be a string", kind(value)));
        }
        value.as_str()
    }

    pub(crate) fn bool(&mut self, value: &Value, field: &str) -> Option<bool> {
        if !value.is_boolean() {
            self.problem(field, format!("is {}, but must be true or false", kind(value)));
        }
        value.as_bool()
    }

    /// A field that must be there; says so if it isn't.
    pub(crate) fn required<'v>(&mut self, map: &'v Map<String, Value>, key: &str, field: &str) -> Option<&'v Value> {
        let value = get(map, key);
        if value.is_none() {
            self.problem(field, "is missing");
        }
        value
    }

    /// What was read and parsed; a problem if that failed.
    pub(crate) fn fine<T>(&mut self, parsed: Option<Result<T, String>>, field: &str) -> Option<T> {
        match parsed? {
            Ok(value) => Some(value),
            Err(why) => {
                self.problem(field, why);
                None
            }
        }
    }

    /// An object's `apiVersion`, which must be one of these, and its `kind`.
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

    /// The string at `key`, if `is` says yes to it; else a problem that says what it must be.
    pub(crate) fn name<'v>(
        &mut self,
        value: &'v Value,
        field: &str,
        is: fn(&str) -> bool,
        must: &str,
    ) -> Option<&'v str> {
        let text = self.string(value, field)?;
        if !is(text) {
            self.problem(field, format!("{} is not {must}", quote(text)));
            return None;
        }
        Some(text)
    }
}

/// A header's name, for people.
pub(crate) const A_TOKEN: &str = "the name of an HTTP header (an RFC 9110 token)";
/// A DNS label, for people.
pub(crate) const A_LABEL: &str = "a DNS label (lower-case letters, digits and `-`, 63 at most)";
/// A DNS subdomain, for people.
pub(crate) const A_SUBDOMAIN: &str = "a DNS name (lower-case letters, digits, `-` and `.`, 253 at most)";

/// The value at `key`; `null` is absent.
pub(crate) fn get<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// What kind of value it is, for people.
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

/// `text` in quotes, without control characters and not at length: fit for one line of a log.
pub(crate) fn quote(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
