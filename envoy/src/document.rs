//! Which Kubernetes objects a document holds, and what of them goes into a configuration.

use crate::yaml::one_line;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A Kubernetes object that counts here, or doesn't.
#[derive(Debug)]
pub(crate) enum Document {
    TrafficSplit(Value),
    HttpRouteGroup(Value),
    Service(Value),
    /// Something else; its kind and name.
    Other(String),
}

/// Which HTTP a Service's port says it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as gRPC does.
    Http2,
}

/// The objects in a document, in order: itself, or the items of a list. The error says why it
/// isn't a Kubernetes object.
pub(crate) fn unpack(value: Value) -> Result<Vec<Document>, String> {
    let kind = match value.get("kind") {
        _ if !value.is_object() => return Err("is not a Kubernetes object: it must be a map with a kind".into()),
        Some(Value::String(kind)) => kind.clone(),
        None | Some(Value::Null) if value.get("trafficSplits").is_some() || value.get("clusterHeader").is_some() => {
            return Err("is not a Kubernetes object (it has no kind); a plugin configuration goes to --config".into());
        }
        None | Some(Value::Null) => return Err("is not a Kubernetes object: it has no kind".into()),
        Some(_) => return Err("kind: must be a string".into()),
    };
    let api_version = text(&value, "/apiVersion").unwrap_or_default().to_owned();
    if let Some(kind_of_items) = kind.strip_suffix("List")
        && let Value::Object(mut list) = value
    {
        return unpack_list(&mut list, kind_of_items, &api_version);
    }
    Ok(vec![match kind.as_str() {
        // A mistyped group or kind is a mistake to report, not another kind of object.
        "TrafficSplit" => Document::TrafficSplit(value),
        _ if api_version.starts_with("split.smi-spec.io/") => Document::TrafficSplit(value),
        "HTTPRouteGroup" => Document::HttpRouteGroup(value),
        "Service" if matches!(api_version.as_str(), "v1" | "") => Document::Service(value),
        _ => Document::Other(format!("{} {}", plain(&kind), name(&value)).trim_end().into()),
    }])
}

/// The items of `List`, or of the API server's `TrafficSplitList` and the like, whose items
/// leave out what the list says already.
fn unpack_list(list: &mut Map<String, Value>, kind: &str, api_version: &str) -> Result<Vec<Document>, String> {
    let items = match list.remove("items") {
        Some(Value::Array(items)) => items,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err("items: must be a list".into()),
    };
    let mut documents = Vec::new();
    for (index, mut item) in items.into_iter().enumerate() {
        if !kind.is_empty()
            && let Some(item) = item.as_object_mut()
        {
            item.entry("kind").or_insert_with(|| kind.into());
            item.entry("apiVersion").or_insert_with(|| api_version.into());
        }
        documents.extend(unpack(item).map_err(|why| format!("items[{index}]: {why}"))?);
    }
    Ok(documents)
}

/// What may stand in a match of an HTTPRouteGroup.
pub(crate) const MATCH_CONDITIONS: [&str; 4] = ["name", "pathRegex", "methods", "headers"];

/// What stands in an HTTPRouteGroup's matches beside those: field and key. Whoever mistypes a condition has a match for
/// every request.
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

/// `namespace/name`, as far as they are there, fit for a message.
pub(crate) fn name(value: &Value) -> String {
    plain(&key(value))
}

/// The same as it is: what tells an object from others of its kind.
pub(crate) fn key(value: &Value) -> String {
    let name = text(value, "/metadata/name").unwrap_or_default();
    match text(value, "/metadata/namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.into(),
    }
}

/// What is known of a Service's ports: the TCP ones; `None` if it lists none (it may be
/// headless, or an ExternalName).
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

/// What a Service says of its ports' protocols.
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

/// Fit for a message: one line, not at length.
fn plain(text: &str) -> String {
    const MAX_CHARACTERS: usize = 120;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", one_line(text.get(..end).unwrap_or_default())),
        None => one_line(text),
    }
}

// === impl Protocol ===

impl Protocol {
    /// By Istio's rule: the port's `appProtocol`, or else its name up to the first dash.
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
    fn a_port_speaks_what_its_app_protocol_says_or_else_its_name() {
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
