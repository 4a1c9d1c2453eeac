//! Reads the Kubernetes objects of a document.

use crate::diagnostic::Position;
use crate::foreign_format;
use crate::object_type::{Kind, ObjectType, foreign_kind, object_type};
use crate::safe_text::one_line;
use crate::source_map::SourceMap;
use crate::suggestion::{misspelled, nearest};
use crate::unknown_fields::join;
use crate::yaml::LocatedValue;
use serde_json::Value;
use traffic_split::Configuration;

/// A Kubernetes object.
#[derive(Debug)]
pub(crate) enum Document {
    /// An object of a kind that the configuration needs. Misspelled kinds and versions are corrected; `mistakes` lists field and message.
    Known { kind: Kind, value: Value, mistakes: Vec<(&'static str, String)> },
    /// An object of another kind: its kind and name.
    Other(String),
}

/// The fields of a list other than its items.
const TYPE_META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Why a document is not a Kubernetes object.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) position: Position,
}

/// Returns the objects of a document in order, with their positions: the document itself, or the items of a list.
pub(crate) fn unpack(document: LocatedValue) -> Result<Vec<(Document, SourceMap)>, Refused> {
    let LocatedValue { mut value, source } = document;
    let refused = |field: &str, message: &str| {
        Err(Refused { field: field.into(), message: message.into(), position: source.position(field) })
    };
    let kind = match value.get("kind") {
        _ if !value.is_object() => return refused("", "is not a Kubernetes object; write a map with a `kind`"),
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Null) => return refused("kind", "has no value; write for example `kind: TrafficSplit`"),
        None => {
            let (field, message) = without_kind(&value);
            return refused(&field, &message);
        }
        Some(_) => return refused("kind", "must be a string"),
    };
    let api_version = text(&value, "/apiVersion").unwrap_or_default().to_owned();
    if kind != "List" && value.get("items").is_some() && misspelled(&kind, ["List"]).is_some() {
        return refused("kind", &format!("unknown kind `{}`; did you mean `List`?", plain(&kind)));
    }
    if let Some(kind_of_items) = kind.strip_suffix("List") {
        let is_known = kind_of_items.is_empty() || object_type(kind_of_items, &api_version).is_some();
        if is_known && value.get("items").is_some_and(Value::is_null) {
            return refused("items", "has no value; add the objects, or write `items: []` for an empty list");
        }
        if is_known && value.get("items").is_none() {
            let keys = value.as_object().into_iter().flat_map(|map| map.keys()).map(String::as_str);
            let near = keys.filter(|key| !TYPE_META.contains(key)).find(|key| nearest(key, ["items"]).is_some());
            return match near {
                Some(key) => refused(key, &format!("unknown field `{}`; did you mean `items`?", plain(key))),
                None => refused("items", "is missing; add the objects, or write `items: []` for an empty list"),
            };
        }
        if value.get("items").is_some() {
            return unpack_list(value, &source, kind_of_items, &api_version);
        }
    }
    if let Some(message) = foreign_kind(&kind, &api_version) {
        return refused("apiVersion", &message);
    }
    let Some(ObjectType { kind, mistakes }) = object_type(&kind, &api_version) else {
        let other = format!("{} {}", plain(&kind), name(&value)).trim_end().into();
        return Ok(vec![(Document::Other(other), source)]);
    };
    for (field, _) in &mistakes {
        value[*field] = if *field == "kind" { kind.as_str() } else { kind.newest_version() }.into();
    }
    Ok(vec![(Document::Known { kind, value, mistakes }, source)])
}

/// Returns field and message for a map without a kind.
fn without_kind(value: &Value) -> (String, String) {
    let keys: Vec<_> = value.as_object().into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
    let has = |key: &str| keys.contains(&key);
    let message = match () {
        () if is_plugin_configuration(&keys) => {
            "is a plugin configuration, not a Kubernetes object; pass the file to --config"
        }
        () if has("static_resources") || has("dynamic_resources") => {
            "is an Envoy bootstrap, not a Kubernetes object; pass files with TrafficSplits"
        }
        () if has("resources") && (has("version_info") || has("versionInfo")) => {
            "is the output of `render ecds`, not a Kubernetes object; pass files with TrafficSplits"
        }
        () if has("resources") || has("namePrefix") || has("patches") => {
            "is a kustomization, not a Kubernetes object; pass the output of `kubectl kustomize`"
        }
        () => match keys.iter().find(|key| misspelled(key, ["kind"]).is_some()) {
            Some(key) => return ((*key).into(), format!("unknown field `{}`; did you mean `kind`?", plain(key))),
            None => "is not a Kubernetes object; add a `kind`",
        },
    };
    (String::new(), message.into())
}

/// Returns whether the keys of a map are those of a plugin configuration. The key `services` alone is not enough, because other
/// formats, such as Docker Compose, also have this key.
fn is_plugin_configuration(keys: &[&str]) -> bool {
    let is_known = |key: &&str| Configuration::FIELDS.contains(key);
    let is_distinctive = |key: &&str| is_known(key) && key.contains(|char: char| char.is_ascii_uppercase());
    keys.iter().any(is_distinctive) || (!keys.is_empty() && keys.iter().all(is_known))
}

/// Returns why a value is not a plugin configuration, if the value is a Kubernetes object or a file of Envoy.
pub(crate) fn not_a_configuration(value: &Value) -> Option<String> {
    let has = |key: &str| value.get(key).is_some();
    if has("static_resources") || has("dynamic_resources") || has("configs") {
        return Some(
            "is an Envoy bootstrap or config dump, not a plugin configuration; pass the file to `check --bootstrap`"
                .into(),
        );
    }
    if has("resources") && (has("version_info") || has("versionInfo")) {
        return Some("is the output of `render ecds`, not a plugin configuration; write one with the keys in docs/configuration.md".into());
    }
    let kind = text(value, "/kind")?;
    let is_object =
        value.get("apiVersion").is_some() || value.get("metadata").is_some() || value.get("items").is_some();
    is_object.then(|| {
        format!("is a Kubernetes object ({}), not a plugin configuration; pass the file without --config", plain(kind))
    })
}

/// Returns the items of a `List`, or of a typed list such as `TrafficSplitList`, whose items have no kind and apiVersion.
fn unpack_list(
    mut list: Value,
    source: &SourceMap,
    kind: &str,
    api_version: &str,
) -> Result<Vec<(Document, SourceMap)>, Refused> {
    let items = match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => {
            let position = source.position("items");
            return Err(Refused { field: "items".into(), message: "must be a list".into(), position });
        }
    };
    let mut documents = Vec::new();
    for (index, mut item) in items.into_iter().enumerate() {
        if !kind.is_empty()
            && let Some(item) = item.as_object_mut()
        {
            item.entry("kind").or_insert_with(|| kind.into());
            item.entry("apiVersion").or_insert_with(|| api_version.into());
        }
        let Some(source) = source.value("items").and_then(|items| items.item(index)) else { continue };
        let item = LocatedValue { value: item, source: source.clone() };
        documents.extend(unpack(item).map_err(|refused| {
            let dot = if refused.field.is_empty() { "" } else { "." };
            Refused { field: format!("items[{index}]{dot}{}", refused.field), ..refused }
        })?);
    }
    Ok(documents)
}

/// Finds an unrendered template in the fields that the configuration needs. Returns field and message.
pub(crate) fn find_template(object: &Value) -> Option<(String, String)> {
    let fields = ["metadata.name", "metadata.namespace", "spec", "matches"];
    fields
        .into_iter()
        .find_map(|field| {
            let value = object.pointer(&format!("/{}", field.replace('.', "/")))?;
            let (field, template) = template_in(value, field)?;
            let message = format!(
                "contains the template `{}`; render the template first, for example with `helm template`",
                plain(template)
            );
            Some((field, message))
        })
        .or_else(|| find_variable(object))
}

/// Finds a variable of `envsubst` in the names and numbers of an object, none of which may contain `$`. Returns field and message.
fn find_variable(object: &Value) -> Option<(String, String)> {
    let lists = [("backends", ["service", "weight"]), ("matches", ["kind", "name"]), ("ports", ["port", "name"])];
    let of_lists = lists.iter().flat_map(|(list, fields)| {
        let items = object.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map_or(0, Vec::len);
        (0..items).flat_map(move |index| {
            fields
                .iter()
                .map(move |field| (format!("/spec/{list}/{index}/{field}"), format!("spec.{list}[{index}].{field}")))
        })
    });
    let single = ["metadata.name", "metadata.namespace", "spec.service"];
    let single = single.into_iter().map(|field| (format!("/{}", field.replace('.', "/")), field.to_owned()));
    single.chain(of_lists).find_map(|(pointer, field)| {
        let variable = foreign_format::variable(text(object, &pointer)?)?;
        let message = format!(
            "contains the variable `{}`; replace the variables first, for example with `envsubst`",
            plain(variable)
        );
        Some((field, message))
    })
}

/// Returns the path of the first template in a value, and the template.
fn template_in<'v>(value: &'v Value, path: &str) -> Option<(String, &'v str)> {
    let own = |text: &'v str| Some((path.to_owned(), foreign_format::template(text)?));
    match value {
        Value::String(text) => own(text),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| template_in(item, &format!("{path}[{index}]")))
        }
        Value::Object(map) => {
            map.iter().find_map(|(key, value)| own(key).or_else(|| template_in(value, &join(path, key))))
        }
        _ => None,
    }
}

/// Sets the namespace of an object without one. Returns whether the object now has a namespace. Also returns `true` for an object
/// without metadata, because the missing metadata have their own error.
pub(crate) fn default_namespace(object: &mut Value, namespace: Option<&str>) -> bool {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return true };
    let is_absent = |value: &Value| value.is_null() || value == "";
    if !metadata.get("namespace").is_none_or(is_absent) {
        return true;
    }
    match namespace {
        Some(namespace) => _ = metadata.insert("namespace".into(), namespace.into()),
        None => _ = metadata.remove("namespace"),
    }
    namespace.is_some()
}

/// Returns `namespace/name`, or the part of it that exists, as one short line.
pub(crate) fn name(value: &Value) -> String {
    plain(&key(value))
}

/// Returns `namespace/name`, or the part of it that exists: the identity of an object among the objects of its kind.
pub(crate) fn key(value: &Value) -> String {
    let name = text(value, "/metadata/name").unwrap_or_default();
    match text(value, "/metadata/namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.into(),
    }
}

pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Returns text as one short line for a message.
pub(crate) fn plain(text: &str) -> String {
    const MAX_CHARACTERS: usize = 120;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", one_line(text.get(..end).unwrap_or_default())),
        None => one_line(text),
    }
}
