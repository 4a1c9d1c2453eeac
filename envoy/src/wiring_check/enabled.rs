//! Reads where a per-route configuration enables or disables a filter.

use super::values::type_name;
use serde_json::Value;

const FILTER_CONFIG: &str = "envoy.config.route.v3.FilterConfig";

/// Returns whether the `typed_per_filter_config` of a virtual host or a route configuration enables (`true`) or disables (`false`) a
/// filter.
pub(super) fn enabled_by(scope: &Value, filter: &str) -> Option<bool> {
    let config = config(scope, filter)?;
    Some(type_name(config) != FILTER_CONFIG || !is_true(config, "disabled"))
}

/// Returns whether Envoy refuses the routes, because the Wasm filter has no per-route configuration.
pub(super) fn is_refused(scope: &Value, filter: &str) -> bool {
    config(scope, filter).is_some_and(|config| {
        type_name(config) == FILTER_CONFIG && !is_true(config, "disabled") && !is_true(config, "is_optional")
    })
}

fn config<'v>(scope: &'v Value, filter: &str) -> Option<&'v Value> {
    scope.get("typed_per_filter_config")?.get(filter)
}

fn is_true(config: &Value, key: &str) -> bool {
    config.get(key) == Some(&Value::Bool(true))
}
