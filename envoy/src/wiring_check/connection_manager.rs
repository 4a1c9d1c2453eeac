//! Checks an HTTP connection manager: the order of its filters, and the removal of the filter's headers.

use super::envoy_configuration::EnvoyConfiguration;
use super::findings::{Findings, PARTS, SILENCE};
use super::values::{list, name, plugin_configuration, text, typed_config};
use crate::safe_text::one_line;
use crate::wiring::{BACKEND_HEADER, FILTER, WASM_TYPE};
use serde_json::Value;
use traffic_split::Configuration;

const MANAGER_TYPE: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER_TYPE: &str = "envoy.extensions.filters.http.router.v3.Router";
const HEADER_MUTATION_TYPE: &str = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";

/// An HTTP connection manager with its place and its routes.
pub(super) struct ConnectionManager<'a> {
    /// The listener, and the filter chain if there are several.
    pub(super) place: String,
    pub(super) config: &'a Value,
    pub(super) routes: Routes<'a>,
    envoy: &'a EnvoyConfiguration,
}

/// The routes of a connection manager.
pub(super) enum Routes<'a> {
    /// A route configuration inside the connection manager.
    Inline(&'a Value),
    /// A route configuration from RDS, which several connection managers may share.
    Rds {
        name: &'a str,
        config: Option<&'a Value>,
    },
    /// A route configuration for each request.
    Scoped,
    None,
}

// === impl ConnectionManager ===

impl<'a> ConnectionManager<'a> {
    /// Returns all connection managers of all listeners.
    pub(super) fn all(envoy: &'a EnvoyConfiguration) -> Vec<Self> {
        let mut managers = Vec::new();
        for listener in envoy.listeners() {
            let chains: Vec<_> = list(listener, "filter_chains").chain(listener.get("default_filter_chain")).collect();
            for (index, chain) in chains.iter().enumerate() {
                let mut place = format!("listener {}", one_line(name(listener)));
                if chains.len() > 1 {
                    let chain = Some(name(chain)).filter(|name| !name.is_empty());
                    let chain = chain.map_or_else(|| index.to_string(), one_line);
                    place.push_str(&format!(", filter chain {chain}"));
                }
                let managers_of_chain = list(chain, "filters").filter_map(typed_config);
                let managers_of_chain = managers_of_chain.filter(|(type_name, _)| *type_name == MANAGER_TYPE);
                managers.extend(managers_of_chain.map(|(_, config)| Self::new(place.clone(), config, envoy)));
            }
        }
        managers
    }

    fn new(place: String, config: &'a Value, envoy: &'a EnvoyConfiguration) -> Self {
        let rds = config.pointer("/rds/route_config_name").and_then(Value::as_str);
        let routes = match (config.get("route_config"), rds) {
            (Some(routes), _) => Routes::Inline(routes),
            (None, Some(name)) => Routes::Rds { name, config: envoy.route_configuration(name) },
            (None, None) if config.get("scoped_routes").is_some() => Routes::Scoped,
            (None, None) => Routes::None,
        };
        Self { place, config, routes, envoy }
    }

    /// Returns the place of the route configuration, and the route configuration, if it is known.
    pub(super) fn route_configuration(&self) -> Option<(String, &'a Value)> {
        match self.routes {
            Routes::Inline(config) => Some((self.place.clone(), config)),
            Routes::Rds { name, config } => Some((format!("route configuration {}", one_line(name)), config?)),
            Routes::Scoped | Routes::None => None,
        }
    }

    /// Returns whether the connection manager has the filter, the removal of its headers, or a route for its header.
    pub(super) fn is_wired(&self, cluster_header: &str) -> bool {
        if self.strips(cluster_header) || list(self.config, "http_filters").any(|filter| self.is_filter(filter)) {
            return true;
        }
        let Some((_, routes)) = self.route_configuration() else { return false };
        let mut routes = list(routes, "virtual_hosts").flat_map(|host| list(host, "routes"));
        routes.any(|route| {
            name(route) == FILTER
                || route.pointer("/route/cluster_header").is_some_and(|header| header == cluster_header)
        })
    }

    /// Returns the filter, with its index.
    pub(super) fn filter(&self) -> Option<(usize, &'a Value)> {
        let filters = || list(self.config, "http_filters").enumerate();
        // Another Wasm filter is probably this filter under a wrong name only if no filter has the right name.
        let found = filters().find(|(_, filter)| self.is_filter(filter));
        found.or_else(|| filters().find(|(_, filter)| loads_wasm_from_file(filter)))
    }

    /// Returns whether a filter is this project's: by its name, or by its configuration.
    fn is_filter(&self, filter: &Value) -> bool {
        is_filter_name(name(filter)) || self.envoy.wasm(filter).is_some_and(is_plugin)
    }

    /// Returns the plugin configuration that the filter has loaded, if it is known and valid.
    pub(super) fn loaded_configuration(&self) -> Option<Configuration> {
        let wasm = self.envoy.wasm(self.filter()?.1)?;
        Configuration::from_json(plugin_configuration(wasm)?.as_bytes()).ok()
    }

    fn strips(&self, header: &str) -> bool {
        self.removed_headers().any(|removed| removed.eq_ignore_ascii_case(header))
    }

    /// Returns the headers that the connection manager removes before it selects a route.
    fn removed_headers(&self) -> impl Iterator<Item = &'a str> {
        list(self.config, "early_header_mutation_extensions")
            .filter_map(typed_config)
            .filter(|(type_name, _)| *type_name == HEADER_MUTATION_TYPE)
            .flat_map(|(_, config)| list(config, "mutations"))
            .filter_map(|mutation| text(mutation, "remove"))
    }
}

/// Reports mistakes of the filters and of the removal of headers.
pub(super) fn check(manager: &ConnectionManager<'_>, configuration: &Configuration, findings: &mut Findings) {
    check_order(manager, findings);
    check_removed_headers(manager, configuration, findings);
}

fn check_order(manager: &ConnectionManager<'_>, findings: &mut Findings) {
    const FIELD: &str = "http_filters";
    let place = &manager.place;
    let is_router = |filter: &Value| {
        typed_config(filter).is_some_and(|(type_name, _)| type_name == ROUTER_TYPE)
            || name(filter) == "envoy.filters.http.router"
    };
    let router = list(manager.config, FIELD).position(is_router);
    if router.is_none() {
        let message =
            "the router is missing, so Envoy refuses the listener; add `envoy.filters.http.router` as the last filter";
        findings.error(place, FIELD, message);
    }
    let Some((index, filter)) = manager.filter() else {
        let message = format!("the filter is missing, so {SILENCE}; add the filter `{FILTER}` before the router");
        return findings.error(place, FIELD, message);
    };
    let field = field(filter);
    if router.is_some_and(|router| router < index) {
        let message = "the filter follows the router, so Envoy refuses the listener; move the filter before the router";
        findings.error(place, &field, message);
    }
    let mut others = list(manager.config, FIELD).skip(index + 1);
    if others.any(|other| manager.is_filter(other)) {
        let message = "the filter is duplicated, so each request is split and counted twice; remove one";
        findings.warning(place, FIELD, message);
    }
}

fn check_removed_headers(manager: &ConnectionManager<'_>, configuration: &Configuration, findings: &mut Findings) {
    const FIELD: &str = "early_header_mutation_extensions";
    let place = &manager.place;
    if manager.removed_headers().next().is_none() {
        let message = format!(
            "the filter's headers are not removed from client requests, so any client can choose any cluster; \
             add the extension of {PARTS} a"
        );
        return findings.error(place, FIELD, message);
    }
    let backend = configuration.backend_header.as_deref();
    for (header, effect) in [
        (configuration.cluster_header.as_str(), "any client can choose any cluster"),
        (&configuration.mirror_header, "any client can send copies of its requests to any cluster"),
        (&configuration.set_cookie_header, "any client can set cookies of the response"),
        (backend.unwrap_or(BACKEND_HEADER), "any client can write the name of the picked backend"),
    ] {
        if !manager.strips(header) {
            let message = format!(
                "the header `{header}` is not removed from client requests, so {effect}; add `- remove: {header}` to `mutations`"
            );
            findings.error(place, FIELD, message);
        }
    }
}

/// Returns the field of a filter.
pub(super) fn field(filter: &Value) -> String {
    format!("http_filters[{}]", one_line(name(filter)))
}

/// Returns whether a filter has a name that `render` writes: `traffic-split`, or `NAMESPACE.traffic-split` in Istio.
pub(super) fn is_filter_name(name: &str) -> bool {
    name.strip_suffix(FILTER).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Returns whether the configuration of a Wasm filter is for this project's module.
fn is_plugin(wasm: &Value) -> bool {
    text(&wasm["config"], "name") == Some(FILTER)
        || plugin_configuration(wasm).is_some_and(|text| text.contains("\"trafficSplits\""))
}

/// Returns whether a filter is a Wasm filter whose configuration comes from a file.
fn loads_wasm_from_file(filter: &Value) -> bool {
    let Some(discovery) = filter.get("config_discovery") else { return false };
    let is_file = discovery.pointer("/config_source/path_config_source").is_some()
        || discovery.pointer("/config_source/path").is_some();
    is_file && list(discovery, "type_urls").any(|url| url == WASM_TYPE)
}
