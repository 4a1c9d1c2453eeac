//! Checks how the filter gets its configuration: from ECDS or inline, and what that configuration is.

use super::config_source;
use super::connection_manager::{self, ConnectionManager, is_filter_name};
use super::envoy_configuration::EnvoyConfiguration;
use super::findings::{Findings, SILENCE};
use super::values::{list, name, plugin_configuration, text, type_name};
use crate::safe_text::one_line;
use crate::wiring::{FILTER, NO_OP_TYPE, WASM_TYPE};
use serde_json::Value;
use traffic_split::Configuration;

/// Reports mistakes of the source and of the content of the filter's configuration.
pub(super) fn check(
    envoy: &EnvoyConfiguration,
    manager: &ConnectionManager<'_>,
    configuration: &Configuration,
    loaded: Option<&Configuration>,
    findings: &mut Findings,
) {
    let Some((_, filter)) = manager.filter() else { return };
    let (place, field) = (&manager.place, connection_manager::field(filter));
    match filter.get("config_discovery") {
        Some(discovery) => check_discovery(filter, discovery, place, findings),
        None if filter.get("typed_config").is_some() => {
            let message = "contains the filter's configuration, so each change of a weight replaces the listener and drains its \
                           connections; use `config_discovery`";
            findings.warning(place, &format!("{field}.typed_config"), message);
        }
        None => {
            let message = format!("the filter has no configuration, so {SILENCE}; add `config_discovery`");
            findings.error(place, &field, message);
        }
    }
    match envoy.wasm(filter) {
        Some(wasm) => check_wasm(wasm, configuration, loaded, place, &field, findings),
        None if envoy.has_extension(name(filter)) == Some(false) && filter.get("config_discovery").is_some() => {
            let message = format!(
                "Envoy has accepted no configuration of the filter, so {SILENCE}; read `extension_config_discovery` in Envoy's \
                 statistics, and Envoy's log"
            );
            findings.error(place, &field, message);
        }
        None => {}
    }
}

/// Reports mistakes of `config_discovery`.
pub(super) fn check_discovery(filter: &Value, discovery: &Value, place: &str, findings: &mut Findings) {
    let field = format!("{}.config_discovery", connection_manager::field(filter));
    let urls: Vec<_> = list(discovery, "type_urls").filter_map(Value::as_str).collect();
    if !urls.contains(&WASM_TYPE) {
        let message = format!(
            "lacks the type of the filter, so Envoy rejects its configuration and {SILENCE}; add `{WASM_TYPE}`"
        );
        findings.error(place, &format!("{field}.type_urls"), message);
    }
    match discovery.get("default_config") {
        None => {
            let message = format!(
                "is missing, so every request gets the status 500 while the filter's configuration is missing or invalid; add \
                 `\"@type\": {NO_OP_TYPE}`"
            );
            findings.error(place, &format!("{field}.default_config"), message);
        }
        Some(default) => {
            if discovery.get("apply_default_config_without_warming") != Some(&Value::Bool(true)) {
                let message = "is not `true`, so the listener does not start before the filter's configuration arrives, or for 15 s \
                               without one; set it to `true`";
                findings.warning(place, &format!("{field}.apply_default_config_without_warming"), message);
            }
            let default = type_name(default);
            if !urls.iter().any(|url| url.rsplit('/').next() == Some(default)) {
                let message = format!(
                    "lacks the type of `default_config`, so Envoy refuses the listener; add `type.googleapis.com/{}`",
                    one_line(default)
                );
                findings.error(place, &format!("{field}.type_urls"), message);
            }
        }
    }
    let source = discovery.get("config_source").unwrap_or(&Value::Null);
    let Some(file) = config_source::path(source) else { return };
    if !is_filter_name(name(filter)) {
        let message = format!(
            "the filter has the name `{}`, but the resource in its file is `{FILTER}`, so Envoy rejects the file and {SILENCE}; rename \
             the filter to `{FILTER}`",
            one_line(name(filter))
        );
        findings.error(place, &connection_manager::field(filter), message);
    }
    config_source::check_directory(file, source, place, &format!("{field}.config_source"), findings);
}

fn check_wasm(
    wasm: &Value,
    configuration: &Configuration,
    loaded: Option<&Configuration>,
    place: &str,
    field: &str,
    findings: &mut Findings,
) {
    let config = wasm.get("config").unwrap_or(&Value::Null);
    let is_open = config.get("fail_open") == Some(&Value::Bool(true));
    // FAIL_CLOSED is Envoy's default.
    let policy = text(config, "failure_policy").unwrap_or(if is_open { "FAIL_OPEN" } else { "FAIL_CLOSED" });
    if !matches!(policy, "FAIL_RELOAD" | "FAIL_OPEN") {
        let message = "is `FAIL_CLOSED`, so a worker whose VM fails answers every request with 503 until Envoy restarts; use `FAIL_RELOAD`";
        findings.error(place, &format!("{field}: failure_policy"), message);
    }
    let field = format!("{field}: configuration");
    let Some(loaded) = loaded else {
        let message = match plugin_configuration(wasm).map(|text| Configuration::from_json(text.as_bytes())) {
            None => format!("is missing, so {SILENCE}; render it with `traffic-split render ecds`"),
            Some(Err(problems)) => {
                let problem = problems.first().map(ToString::to_string).unwrap_or_default();
                format!("the filter refuses this configuration: {problem}; run `traffic-split check` on its objects")
            }
            Some(Ok(_)) => return,
        };
        return findings.error(place, &field, message);
    };
    for (key, used, expected) in [
        ("clusterHeader", &loaded.cluster_header, &configuration.cluster_header),
        ("mirrorHeader", &loaded.mirror_header, &configuration.mirror_header),
        ("setCookieHeader", &loaded.set_cookie_header, &configuration.set_cookie_header),
    ] {
        if used != expected {
            let message = format!(
                "{key} is `{used}`, but `{expected}` in the given configuration; pass the same --config to `check` and `render`"
            );
            findings.error(place, &field, message);
        }
    }
}
