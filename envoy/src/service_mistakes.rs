//! Mistakes in Service objects of files that the API server refuses. The Services of a cluster cannot have these mistakes.

use crate::document::{plain, text};
use serde_json::Value;
use std::collections::HashMap;
use traffic_split::is_label;

/// Maximum number of characters of the name of a Service or namespace.
const MAX_LABEL: usize = 63;

/// Returns field and message for each mistake in the names and ports of a Service, in addition to those of
/// [`crate::service_ports::service_ports`].
pub(crate) fn service_mistakes(service: &Value) -> Vec<(String, String)> {
    let names = ["namespace", "name"].into_iter().filter_map(|field| {
        let message = name_mistake(text(service, &format!("/metadata/{field}")))?;
        Some((format!("metadata.{field}"), message))
    });
    names.chain(port_mistakes(service)).collect()
}

fn name_mistake(name: Option<&str>) -> Option<String> {
    match name {
        None => Some("is missing; add it".into()),
        Some(name) if is_label(name) => None,
        Some(name) if name.len() > MAX_LABEL => {
            Some(format!("has {} characters; use {MAX_LABEL} at most", name.chars().count()))
        }
        Some(_) => Some("is not a DNS label; use lower-case letters, digits and `-`, 63 at most".into()),
    }
}

fn port_mistakes(service: &Value) -> Vec<(String, String)> {
    let mut mistakes = Vec::new();
    let mut first = HashMap::new();
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        let protocol = text(port, "/protocol").filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
        if !["TCP", "UDP", "SCTP"].contains(&protocol) {
            let message = format!(
                "`{}` is not a transport protocol; use TCP, UDP or SCTP, and name the application protocol in `appProtocol`",
                plain(protocol)
            );
            mistakes.push((format!("spec.ports[{index}].protocol"), message));
        }
        let Some(number) = port.get("port").and_then(Value::as_u64) else { continue };
        match first.get(&(number, protocol)) {
            None => _ = first.insert((number, protocol), index),
            Some(first) => {
                let message = format!("{number} duplicates spec.ports[{first}]; remove one of them");
                mistakes.push((format!("spec.ports[{index}].port"), message));
            }
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::service_mistakes;
    use serde_json::json;

    #[test]
    fn duplicated_ports_and_unknown_protocols_are_mistakes() {
        let ports = json!([
            {"port": 53, "protocol": "UDP"}, {"port": 53}, {"port": 80, "protocol": "http"}, {"port": 53, "protocol": "TCP"},
        ]);
        let service = json!({"metadata": {"name": "a".repeat(64), "namespace": "shop"}, "spec": {"ports": ports}});
        let mistakes = service_mistakes(&service);
        let fields: Vec<_> = mistakes.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["metadata.name", "spec.ports[2].protocol", "spec.ports[3].port"]);
        assert_eq!(mistakes[0].1, "has 64 characters; use 63 at most");
        assert_eq!(mistakes[2].1, "53 duplicates spec.ports[1]; remove one of them");
    }
}
