//! Reads the Kubernetes objects of a document, and the parts of a Service that a configuration needs.

use crate::diagnostic::Position;
use crate::source_map::SourceMap;
use crate::yaml::{LocatedValue, one_line};
use serde_json::Value;
use std::collections::BTreeMap;

/// A Kubernetes object.
#[derive(Debug)]
pub(crate) enum Document {
    TrafficSplit(Value),
    HttpRouteGroup(Value),
    Service(Value),
    /// An object of another kind: its kind and name.
    Other(String),
}

/// The HTTP version that a Service's port declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which includes gRPC.
    Http2,
}

/// Why a document is not a Kubernetes object.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) position: Position,
}

/// Returns the objects of a document in order, with their positions: the document itself, or the items of a list.
pub(crate) fn unpack(document: LocatedValue) -> Result<Vec<(Document, SourceMap)>, Refused> {
    let LocatedValue { value, source } = document;
    let refused = |field: &str, message: &str| {
        Err(Refused { field: field.into(), message: message.into(), position: source.position(field) })
    };
    let kind = match value.get("kind") {
        _ if !value.is_object() => return refused("", "is not a Kubernetes object; write a map with a `kind`"),
        Some(Value::String(kind)) => kind.clone(),
        None | Some(Value::Null) if value.get("trafficSplits").is_some() || value.get("clusterHeader").is_some() => {
            return refused("", "is a plugin configuration, not a Kubernetes object; pass the file to --config");
        }
        None | Some(Value::Null) => return refused("", "is not a Kubernetes object; add a `kind`"),
        Some(_) => return refused("kind", "must be a string"),
    };
    let api_version = text(&value, "/apiVersion").unwrap_or_default().to_owned();
    if let Some(kind_of_items) = kind.strip_suffix("List")
        && value.is_object()
    {
        return unpack_list(value, &source, kind_of_items, &api_version);
    }
    let object = match kind.as_str() {
        // The core reports a mistyped kind or apiVersion; the object is not of another kind.
        "TrafficSplit" => Document::TrafficSplit(value),
        _ if api_version.starts_with("split.smi-spec.io/") => Document::TrafficSplit(value),
        "HTTPRouteGroup" => Document::HttpRouteGroup(value),
        "Service" if matches!(api_version.as_str(), "v1" | "") => Document::Service(value),
        _ => Document::Other(format!("{} {}", plain(&kind), name(&value)).trim_end().into()),
    };
    Ok(vec![(object, source)])
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

/// The known keys of a match of an HTTPRouteGroup.
pub(crate) const MATCH_CONDITIONS: [&str; 4] = ["name", "pathRegex", "methods", "headers"];

/// Returns the unknown keys of an HTTPRouteGroup's matches: field and key. A match with a mistyped condition accepts more
/// requests than its author means.
pub(crate) fn unknown_match_conditions(group: &Value) -> Vec<(String, String)> {
    let mut unknown = Vec::new();
    for (field, pointer) in [("matches", "/matches"), ("spec.matches", "/spec/matches")] {
        let matches = group.pointer(pointer).and_then(Value::as_array);
        for (index, one) in matches.into_iter().flatten().enumerate() {
            let keys = one.as_object().into_iter().flat_map(|one| one.keys());
            let keys = keys.filter(|key| !MATCH_CONDITIONS.contains(&key.as_str()));
            unknown.extend(keys.map(|key| (format!("{field}[{index}]"), plain(key))));
        }
    }
    unknown
}

/// Returns `namespace/name`, or as much of it as exists, as one short line.
pub(crate) fn name(value: &Value) -> String {
    plain(&key(value))
}

/// Returns `namespace/name`, or as much of it as exists: the identity of an object among those of its kind.
pub(crate) fn key(value: &Value) -> String {
    let name = text(value, "/metadata/name").unwrap_or_default();
    match text(value, "/metadata/namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.into(),
    }
}

/// Returns the TCP ports of a Service; `None` if the Service lists no ports, as headless and ExternalName Services may. The error
/// holds field and message of each invalid port.
pub(crate) fn service_ports(service: &Value) -> Result<Option<Vec<u16>>, Vec<(String, String)>> {
    let list = match service.pointer("/spec/ports") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(vec![("spec.ports".into(), "must be a list".into())]),
    };
    let mut ports = Vec::new();
    let mut problems = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        if entry.get("protocol").and_then(Value::as_str).is_some_and(|protocol| protocol != "TCP") {
            continue;
        }
        let port = entry.get("port");
        match port.and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            Some(port) => ports.push(port),
            None => {
                let message = match port {
                    None => "is missing".into(),
                    Some(port) => format!("{} is not a port (1–65535)", plain(&port.to_string())),
                };
                problems.push((format!("spec.ports[{index}].port"), message));
            }
        }
    }
    match problems.is_empty() {
        true => Ok((!list.is_empty()).then_some(ports)),
        false => Err(problems),
    }
}

/// Returns the HTTP version of each port that declares one.
pub(crate) fn service_protocols(service: &Value) -> BTreeMap<u16, Protocol> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let protocol = |port: &Value| {
        let number = port.get("port")?.as_u64().and_then(|number| u16::try_from(number).ok())?;
        Some((number, Protocol::of(text(port, "/appProtocol"), text(port, "/name").unwrap_or_default())?))
    };
    ports.into_iter().flatten().filter_map(protocol).collect()
}

pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Returns text as one short line for a message.
fn plain(text: &str) -> String {
    const MAX_CHARACTERS: usize = 120;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", one_line(text.get(..end).unwrap_or_default())),
        None => one_line(text),
    }
}

// === impl Protocol ===

impl Protocol {
    /// Returns the HTTP version by Istio's rule: from `appProtocol`, else from the port's name up to the first dash.
    fn of(app_protocol: Option<&str>, name: &str) -> Option<Self> {
        let prefix = |text: &str| text.split('-').next().unwrap_or_default().to_ascii_lowercase();
        match (app_protocol, prefix(app_protocol.unwrap_or(name)).as_str()) {
            (Some("kubernetes.io/h2c"), _) | (_, "grpc" | "http2") => Some(Self::Http2),
            (Some("kubernetes.io/ws"), _) | (_, "http") => Some(Self::Http1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, service_protocols};
    use serde_json::{Value, json};

    #[test]
    fn http_version_is_that_of_app_protocol_else_of_the_ports_name() {
        use Protocol::{Http1, Http2};
        for (port, protocol) in [
            (json!({"name": "http"}), Some(Http1)),
            (json!({"name": "http-web"}), Some(Http1)),
            (json!({"name": "http2"}), Some(Http2)),
            (json!({"name": "http2-web"}), Some(Http2)),
            (json!({"name": "grpc"}), Some(Http2)),
            (json!({"name": "grpc-web"}), Some(Http2)),
            (json!({"name": "web"}), None),
            (json!({"name": "httpx"}), None),
            (json!({"name": "tcp-grpc"}), None),
            (json!({}), None),
            (json!({"appProtocol": "kubernetes.io/h2c"}), Some(Http2)),
            (json!({"appProtocol": "kubernetes.io/h2c", "name": "http"}), Some(Http2)),
            (json!({"appProtocol": "kubernetes.io/ws", "name": "grpc"}), Some(Http1)),
            (json!({"appProtocol": "GRPC", "name": "http"}), Some(Http2)),
            (json!({"appProtocol": "example.com/own", "name": "http"}), None),
            (json!({"appProtocol": 1, "name": "http"}), Some(Http1)),
        ] {
            let mut whole = port.clone();
            whole["port"] = 80.into();
            let found = service_protocols(&json!({"spec": {"ports": [whole]}}));
            assert_eq!(found.get(&80).copied(), protocol, "{port}");
        }
        for service in [json!({}), json!({"spec": {"ports": 1}}), json!({"spec": {"ports": [1, {"name": "http"}]}})] {
            assert!(service_protocols(&service).is_empty(), "{}", Value::to_string(&service));
        }
    }
}
