//! Parses single parts of a Kubernetes object's JSON and skips the rest, so that no nesting, number or type elsewhere in the
//! object causes an error.

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An object in JSON, of which only the identifying metadata has been parsed.
#[derive(Clone, Debug)]
pub(crate) struct RawObject<'a> {
    /// The whole object.
    pub(crate) json: &'a RawValue,
    /// The object's `metadata`.
    pub(crate) metadata: &'a RawValue,
    /// Empty if the object has no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `metadata.uid` and `metadata.resourceVersion`: objects with the same version are equal.
    pub(crate) version: String,
    /// `metadata.resourceVersion`, or empty.
    pub(crate) resource_version: String,
}

impl<'a> RawObject<'a> {
    /// Returns `None` if the value has no `metadata.name`.
    pub(crate) fn new(json: &'a RawValue) -> Option<Self> {
        let [metadata] = fields(json, ["metadata"]);
        let metadata = metadata?;
        let [name, namespace, uid, resource_version] =
            fields(metadata, ["name", "namespace", "uid", "resourceVersion"]).map(|field| field.and_then(text));
        let resource_version = resource_version.unwrap_or_default();
        Some(Self {
            json,
            metadata,
            namespace: namespace.unwrap_or_default(),
            name: name?,
            version: format!("{} {resource_version}", uid.unwrap_or_default()),
            resource_version,
        })
    }

    /// `namespace/name`, or the name alone.
    pub(crate) fn key(&self) -> String {
        match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

/// Returns the JSON value in a text. Fails only for a syntax error, because values are skipped without recursion.
pub(crate) fn raw(text: &str) -> Result<&RawValue, serde_json::Error> {
    serde_json::from_str(text)
}

/// Returns the members with these names of a JSON object. A member that is absent or null is `None`, and so is every member of
/// a value that is not an object. The last of several members with one name counts, as in the API server.
pub(crate) fn fields<'a, const N: usize>(object: &'a RawValue, names: [&str; N]) -> [Option<&'a RawValue>; N] {
    let mut found = [None; N];
    each_field(object, |key, value| {
        if let Some(index) = names.iter().position(|name| *name == key) {
            found[index] = Some(value).filter(|value| value.get() != "null");
        }
    });
    found
}

/// Calls `visit` with each member of a JSON object, in order.
pub(crate) fn each_field<'a>(object: &'a RawValue, visit: impl FnMut(&str, &'a RawValue)) {
    struct Members<F>(F);

    impl<'a, F: FnMut(&str, &'a RawValue)> Visitor<'a> for Members<F> {
        type Value = ();

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
            // A key as text would fail for surrogates that are not a pair.
            while let Some(key) = map.next_key::<&RawValue>()? {
                match string(key) {
                    Some(key) => (self.0)(&key, map.next_value()?),
                    None => _ = map.next_value::<IgnoredAny>()?,
                }
            }
            Ok(())
        }
    }

    if object.get().starts_with('{') {
        let mut json = serde_json::Deserializer::from_str(object.get());
        // The syntax has been checked, so every member has been visited.
        _ = json.deserialize_map(Members(visit));
    }
}

/// Returns the elements of a JSON array; none for a value that is not an array.
pub(crate) fn elements(array: &RawValue) -> Vec<&RawValue> {
    if !array.get().starts_with('[') {
        return Vec::new();
    }
    serde_json::from_str(array.get()).unwrap_or_default()
}

/// Returns a JSON string's text; `None` for another value, or if surrogates in it are not a pair.
pub(crate) fn text(value: &RawValue) -> Option<String> {
    string(value).map(Cow::into_owned)
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get().strip_prefix('"')?.strip_suffix('"')?;
    match quoted.contains('\\') {
        false => Some(Cow::Borrowed(quoted)),
        true => serde_json::from_str::<String>(value.get()).ok().map(Cow::Owned),
    }
}

/// Returns a string, number or boolean; `None` for another value, and for a value that Rust's types cannot represent.
pub(crate) fn scalar(value: &RawValue) -> Option<Value> {
    match value.get().as_bytes().first()? {
        b'{' | b'[' | b'n' => None,
        _ => serde_json::from_str(value.get()).ok(),
    }
}

/// Parses a whole value.
///
/// # Errors
/// If the value nests more than 127 levels deep, or contains a number or text that Rust's types cannot represent.
pub(crate) fn parse(value: &RawValue) -> Result<Value, String> {
    serde_json::from_str(value.get()).map_err(|why| match why.to_string() {
        text if text.starts_with("recursion limit") => "nests more than 127 levels deep".into(),
        text => format!("cannot be read: {text}"),
    })
}

#[cfg(test)]
mod tests {
    use super::{RawObject, each_field, elements, fields, parse, raw, scalar, text};

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":[".repeat(levels / 2), "]}".repeat(levels / 2))
    }

    #[test]
    fn fields_are_found_beside_deeply_nested_values() {
        for levels in [130, 10_000, 100_000] {
            let deep = nested(levels);
            let json =
                format!(r#"{{"x":{deep},"metadata":{{"labels":{deep},"name":"n","namespace":"ns"}},"spec":{deep}}}"#);
            let object = RawObject::new(raw(&json).unwrap()).unwrap();
            assert_eq!((object.key().as_str(), object.version.as_str()), ("ns/n", " "));
            let [spec] = fields(object.json, ["spec"]);
            assert_eq!(parse(spec.unwrap()).unwrap_err(), "nests more than 127 levels deep");
        }
        assert!(parse(raw(&nested(126)).unwrap()).is_ok());
    }

    #[test]
    fn invalid_members_do_not_hide_other_members() {
        let json = r#"{"\ud800":1,"a":"\ud800","n":1e999,"metadata":1,"metadata":{"n\u0061me":"x","name":null,"name":"y"},"z":null}"#;
        let json = raw(json).unwrap();
        let object = RawObject::new(json).unwrap();
        assert_eq!(object.key(), "y");
        let [a, n, z, missing] = fields(json, ["a", "n", "z", "missing"]);
        assert_eq!((text(a.unwrap()), scalar(n.unwrap())), (None, None));
        assert!(z.is_none() && missing.is_none());
        assert!(parse(n.unwrap()).unwrap_err().contains("number out of range"));
    }

    #[test]
    fn value_of_another_type_has_no_fields_and_no_elements() {
        for json in ["1", "\"{}\"", "null", "true", "[{\"a\":1}]"] {
            assert!(fields(raw(json).unwrap(), ["a"])[0].is_none(), "{json}");
            assert!(RawObject::new(raw(json).unwrap()).is_none(), "{json}");
        }
        assert!(elements(raw("{\"a\":[1]}").unwrap()).is_empty());
        assert_eq!(elements(raw("[1, {\"a\":[2]}]").unwrap()).len(), 2);
    }

    #[test]
    fn fields_are_visited_in_order() {
        let mut seen = Vec::new();
        each_field(raw(r#"{"b":1,"a":[2],"b":{}}"#).unwrap(), |key, value| seen.push(format!("{key}{value}")));
        assert_eq!(seen, ["b1", "a[2]", "b{}"]);
    }
}
