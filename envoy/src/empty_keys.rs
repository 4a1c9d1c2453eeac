//! Keys of a plugin configuration without a value.

use crate::unknown_fields::join;
use serde_json::Value;
use traffic_split::{Configuration, HostRoot, Service};

/// Returns the path of each known key of a plugin configuration whose value is null. The filter takes the default of the key.
pub(crate) fn keys_without_value(configuration: &Value) -> Vec<String> {
    let is_null = |map: &Value, key: &str| map.get(key).is_some_and(Value::is_null);
    let keys = Configuration::FIELDS.iter().filter(|key| is_null(configuration, key));
    let mut paths: Vec<_> = keys.map(|key| (*key).to_owned()).collect();
    for (list, fields) in [("services", Service::FIELDS), ("hosts", HostRoot::FIELDS)] {
        for (name, entry) in configuration.get(list).and_then(Value::as_object).into_iter().flatten() {
            // A host without a Service has its own error.
            let fields = fields.iter().filter(|field| **field != "service" && is_null(entry, field));
            paths.extend(fields.map(|field| join(&join(list, name), field)));
        }
    }
    paths
}
