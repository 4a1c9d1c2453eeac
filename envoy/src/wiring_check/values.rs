//! Reads fields of Envoy's configuration.

use serde_json::Value;

/// Returns the values of a list; nothing if the list is absent.
pub(super) fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Returns the field `name`; an empty text if it is absent.
pub(super) fn name(value: &Value) -> &str {
    text(value, "name").unwrap_or_default()
}

/// Returns a field that is a text.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

/// Returns the name of the type of an `Any`; an empty text if it is absent.
pub(super) fn type_name(any: &Value) -> &str {
    text(any, "@type").and_then(|url| url.rsplit('/').next()).unwrap_or_default()
}

/// Returns the type and the content of `typed_config`, which may be wrapped in a `TypedStruct`.
pub(super) fn typed_config(value: &Value) -> Option<(&str, &Value)> {
    let typed = value.get("typed_config")?;
    match type_name(typed) {
        "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct" => {
            let name = text(typed, "type_url").and_then(|url| url.rsplit('/').next()).unwrap_or_default();
            Some((name, typed.get("value")?))
        }
        name => Some((name, typed)),
    }
}

/// Returns whether a type is that of Envoy's Wasm filter.
pub(super) fn is_wasm(type_name: &str) -> bool {
    type_name == "envoy.extensions.filters.http.wasm.v3.Wasm"
}

/// Returns the text that a Wasm filter gets as its configuration.
pub(super) fn plugin_configuration(wasm: &Value) -> Option<String> {
    match wasm.pointer("/config/configuration")? {
        Value::Object(any)
            if any.get("@type").is_some_and(|url| url.as_str().is_some_and(|url| url.ends_with("StringValue"))) =>
        {
            any.get("value").and_then(Value::as_str).map(str::to_owned)
        }
        // A Struct reaches the filter as JSON.
        Value::Object(any) => any.get("value").map(Value::to_string),
        _ => None,
    }
}
