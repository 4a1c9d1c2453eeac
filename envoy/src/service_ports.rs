//! The ports of a Service: their numbers, and the protocols that they declare by Istio's rules.

use crate::document::{plain, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The HTTP version that a Service's port declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which includes gRPC.
    Http2,
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
                    None => "is missing; add it".into(),
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

/// Returns the protocols that a Service's TCP ports declare, e.g. `mysql, tls`, if Istio routes none of the ports as HTTP. Returns
/// `None` if the Service has no TCP ports, or one of them is a port for HTTP or of an unknown protocol, which Istio detects.
pub(crate) fn non_http_protocols(service: &Value) -> Option<String> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array)?;
    let tcp = ports.iter().filter(|port| text(port, "/protocol").is_none_or(|protocol| protocol == "TCP"));
    let protocols: Option<BTreeSet<_>> = tcp.map(non_http_protocol).collect();
    let protocols: Vec<_> = protocols?.into_iter().collect();
    (!protocols.is_empty()).then(|| protocols.join(", "))
}

/// Returns the protocol that a port declares, if it is not HTTP.
///
/// Source: `ConvertProtocol` in `istio.io/istio/pkg/config/kube`.
fn non_http_protocol(port: &Value) -> Option<&'static str> {
    const NON_HTTP: [&str; 6] = ["tcp", "tls", "https", "mongo", "redis", "mysql"];
    // SMTP, DNS, MySQL and MongoDB: applications that Istio does not examine, because the server sends first.
    const SERVER_FIRST: [u64; 4] = [25, 53, 3306, 27017];
    let app_protocol = text(port, "/appProtocol");
    if app_protocol == Some("kubernetes.io/wss") {
        return Some("https");
    }
    let name = text(port, "/name").unwrap_or_default();
    let declared = declared_protocol(app_protocol, name);
    match NON_HTTP.into_iter().find(|known| *known == declared) {
        None if Protocol::of(app_protocol, name).is_none() => {
            let number = port.get("port").and_then(Value::as_u64)?;
            SERVER_FIRST.contains(&number).then_some("tcp")
        }
        found => found,
    }
}

/// Returns the protocol that a port declares: its `appProtocol`, else its name, up to the first dash, in lower case.
fn declared_protocol(app_protocol: Option<&str>, name: &str) -> String {
    app_protocol.unwrap_or(name).split('-').next().unwrap_or_default().to_ascii_lowercase()
}

// === impl Protocol ===

impl Protocol {
    /// Returns the HTTP version by Istio's rule.
    fn of(app_protocol: Option<&str>, name: &str) -> Option<Self> {
        match (app_protocol, declared_protocol(app_protocol, name).as_str()) {
            (Some("kubernetes.io/h2c"), _) | (_, "grpc" | "http2") => Some(Self::Http2),
            (Some("kubernetes.io/ws"), _) | (_, "http") => Some(Self::Http1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, non_http_protocols, service_protocols};
    use serde_json::{Value, json};

    #[test]
    fn service_without_a_port_that_istio_routes_as_http_names_its_protocols() {
        for (ports, protocols) in [
            (json!([{"port": 80, "name": "tcp"}]), Some("tcp")),
            (json!([{"port": 80, "name": "TCP-web"}]), Some("tcp")),
            (json!([{"port": 443, "name": "https-web"}, {"port": 80, "name": "tls"}]), Some("https, tls")),
            (json!([{"port": 80, "name": "http", "appProtocol": "redis"}]), Some("redis")),
            (json!([{"port": 80, "appProtocol": "kubernetes.io/wss"}]), Some("https")),
            (json!([{"port": 3306, "name": "db"}]), Some("tcp")),
            (json!([{"port": 3306}]), Some("tcp")),
            (json!([{"port": 80, "name": "tcp"}, {"port": 53, "name": "http", "protocol": "UDP"}]), Some("tcp")),
            (json!([{"port": 3306, "name": "http"}]), None),
            (json!([{"port": 80, "name": "tcp"}, {"port": 81, "name": "grpc-api"}]), None),
            (json!([{"port": 80, "name": "tcp"}, {"port": 81, "name": "web"}]), None),
            (json!([{"port": 80, "name": "tcp", "appProtocol": "http"}]), None),
            (json!([{"port": 80, "name": "mongodb"}]), None),
            (json!([{"port": 80}]), None),
            (json!([{"port": 53, "name": "tcp", "protocol": "UDP"}]), None),
            (json!([]), None),
            (json!(null), None),
        ] {
            let found = non_http_protocols(&json!({"spec": {"ports": ports}}));
            assert_eq!(found.as_deref(), protocols, "{ports}");
        }
    }

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
