//! Entries of `services` and `hosts`: a Service's ports and cluster, and further host names of a root.

use crate::configuration::names;
use crate::configuration::reader::{Reader, get, kind, quote};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The root that a name in `hosts` stands for. Serialised as `namespace/name`, or as an object if it has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostRoot {
    /// The root Service: `namespace/name`.
    pub service: String,
    /// The root's port for all requests to this host. The port in a client's `Host` is ignored: otherwise, clients
    /// of a gateway could reach ports of the Service that the gateway does not expose.
    pub port: Option<u16>,
}

/// The ports and the Envoy cluster of a Service, as the control plane knows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Service {
    /// The Service's ports, each with the value of `{port}` in the cluster name. If absent, all ports are accepted.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_ports")]
    pub ports: Option<BTreeMap<u16, String>>,
    /// The Service's Envoy cluster. Takes precedence over the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

// === impl HostRoot ===

impl HostRoot {
    /// The keys of an entry of `hosts`.
    pub const FIELDS: &[&str] = &["service", "port"];

    pub(crate) fn read(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let expected = "a Service's `namespace/name`";
        let Value::Object(map) = value else {
            let service = reader.valid_string(value, field, is_service_key, expected)?;
            return Some(service.into());
        };
        for key in map.keys().filter(|key| !Self::FIELDS.contains(&key.as_str())) {
            reader.problem(field, format!("the key {} is unknown; use service or port", quote(key)));
        }
        let service_field = format!("{field}.service");
        let service = reader.required(map, "service", &service_field);
        let service = service.and_then(|value| reader.valid_string(value, &service_field, is_service_key, expected));
        let port = get(map, "port").map(|value| read_port(value, &format!("{field}.port"), reader));
        Some(Self { service: service?.into(), port: port.flatten() })
    }
}

impl From<&str> for HostRoot {
    /// Creates a root without a port. `service` is its `namespace/name`.
    fn from(service: &str) -> Self {
        Self { service: service.into(), port: None }
    }
}

impl Serialize for HostRoot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(port) = self.port else { return serializer.serialize_str(&self.service) };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("service", &self.service)?;
        map.serialize_entry("port", &port)?;
        map.end()
    }
}

// === impl Service ===

impl Service {
    /// The keys of an entry of `services`.
    pub const FIELDS: &[&str] = &["ports", "cluster"];

    pub(crate) fn read(value: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let mut service = Self::default();
        for (key, value) in reader.map(value, "")?.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "ports" => service.ports = Some(read_ports(value, reader)),
                "cluster" => {
                    let expected = "a cluster name (visible ASCII, not empty)";
                    service.cluster =
                        reader.valid_string(value, "cluster", names::is_visible, expected).map(Into::into);
                }
                _ => reader.problem("", format!("the key {} is unknown; use ports or cluster", quote(key))),
            }
        }
        Some(service)
    }
}

fn read_ports(value: &Value, reader: &mut Reader<'_>) -> BTreeMap<u16, String> {
    let mut ports = BTreeMap::new();
    let mut add = |port: u16, value: u16, field: &str, reader: &mut Reader<'_>| {
        if ports.insert(port, value.to_string()).is_some() {
            reader.problem(field, format!("the port {port} is duplicated; remove one of them"));
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let field = &format!("ports[{}]", quote(key));
                let value = read_port(value, field, reader);
                match (names::port(key), value) {
                    (None, _) => reader.problem(field.as_str(), "is not a port (1–65535)"),
                    (Some(port), Some(value)) => add(port, value, field, reader),
                    (Some(_), None) => {}
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                let field = &format!("ports[{index}]");
                if let Some(port) = read_port(value, field, reader) {
                    add(port, port, field, reader);
                }
            }
        }
        other => {
            reader.problem("ports", format!("is {}, but must be a list of ports or a map", kind(other)));
        }
    }
    ports
}

/// Parses a port: a number, or digits in a string.
fn read_port(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<u16> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => {
            reader.problem(field, format!("is {}, but must be a port", kind(other)));
            return None;
        }
    };
    let port = names::port(&text);
    if port.is_none() {
        reader.problem(field, format!("{} is not a port (1–65535)", quote(&text)));
    }
    port
}

/// Returns whether `text` is a Service's `namespace/name`.
pub(crate) fn is_service_key(text: &str) -> bool {
    text.split_once('/').is_some_and(|(namespace, service)| names::is_label(namespace) && names::is_label(service))
}

/// Serialises ports as a list if every port is its own value, else as a map.
fn serialize_ports<S: Serializer>(ports: &Option<BTreeMap<u16, String>>, serializer: S) -> Result<S::Ok, S::Error> {
    let ports = ports.as_ref().into_iter().flatten();
    if ports.clone().all(|(port, value)| port.to_string() == *value) {
        return serializer.collect_seq(ports.map(|(port, _)| port));
    }
    let mut map = serializer.serialize_map(None)?;
    for (port, value) in ports {
        map.serialize_entry(&port.to_string(), value)?;
    }
    map.end()
}
