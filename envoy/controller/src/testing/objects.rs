//! Objects for tests, and the parts of objects that tests look at.

use super::api_server::MockApiServer;
use fixtures::TrafficSplit;
use serde_json::{Value, json};
use traffic_split::Configuration;
use traffic_split_envoy::{served_configuration, served_vm_epoch};

/// The `namespace/name` of the controller's EnvoyFilter.
pub(crate) const FILTER: &str = "istio-system/traffic-split";

/// Returns a split of the root `web-NAME` with these backends.
pub(crate) fn split(namespace: &str, name: &str, backends: &[(&str, u32)]) -> Value {
    TrafficSplit::new(name, &format!("web-{name}")).namespace(namespace).backends(backends).build()
}

/// Returns a Service with port 80.
pub(crate) fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "protocol": "TCP"}]},
    })
}

/// Returns an array in an array and so on.
pub(crate) fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// Returns the condition of this type in an object's status.
#[track_caller]
pub(crate) fn condition(object: &Value, name: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().unwrap_or_else(|| panic!("no conditions: {object}"));
    conditions.iter().find(|condition| condition["type"] == name).unwrap().clone()
}

impl MockApiServer {
    /// Returns a server with one split, `ns/a`, that serves `v1`, and its Services.
    pub(crate) fn with_split() -> Self {
        let server = Self::new();
        for name in ["web-a", "v1", "v2"] {
            server.put(&service("ns", name));
        }
        server.put(&split("ns", "a", &[("v1", 100), ("v2", 0)]));
        server
    }

    /// Returns a split.
    #[track_caller]
    pub(crate) fn split(&self, key: &str) -> Value {
        self.get("trafficsplits", key).unwrap_or_else(|| panic!("no TrafficSplit {key}"))
    }

    /// Returns a condition of a split.
    #[track_caller]
    pub(crate) fn condition(&self, key: &str, name: &str) -> Value {
        condition(&self.split(key), name)
    }

    /// Returns the configuration in the EnvoyFilter.
    #[track_caller]
    pub(crate) fn served(&self) -> Configuration {
        served_configuration(&self.get("envoyfilters", FILTER).expect("no EnvoyFilter")).expect("no configuration")
    }

    /// Returns the served weights of a split, e.g. `v1 100, v2 0`; empty if the split is not served.
    #[track_caller]
    pub(crate) fn weights(&self, key: &str) -> String {
        let served = self.served();
        let split = served.traffic_splits.iter().find(|split| split.key() == key);
        let backends = split.map(|split| split.spec.backends.as_slice()).unwrap_or_default();
        let weight =
            |backend: &traffic_split::Backend| format!("{} {}", backend.service, backend.weight.unwrap_or_default());
        backends.iter().map(weight).collect::<Vec<_>>().join(", ")
    }

    /// Returns the epoch of the VM in the EnvoyFilter.
    #[track_caller]
    pub(crate) fn vm_epoch(&self) -> u64 {
        served_vm_epoch(&self.get("envoyfilters", FILTER).expect("no EnvoyFilter")).expect("no VM epoch")
    }

    /// Returns the Events as `TYPE REASON note`, in the order of creation.
    pub(crate) fn events(&self) -> Vec<String> {
        let mut events = self.all("events");
        events.sort_by_key(|event| event["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line =
            |event: &Value| format!("{} {} {}", text(&event["type"]), text(&event["reason"]), text(&event["note"]));
        events.iter().map(line).collect()
    }
}
