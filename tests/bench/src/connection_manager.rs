//! Changes of the rendered connection manager, so that variants differ only in what splits.

use crate::variants::{BACKENDS, SPLIT_HOST};
use serde_json::{Value, json};

/// The name of the filter, of the route of split requests, and of the configuration of a virtual host.
const FILTER: &str = "traffic-split";
/// The body of a direct response on the route of split requests.
pub(crate) const SPLIT_BODY: &str = "split";
/// The body of a response of the root.
pub(crate) const ROOT_BODY: &str = "root";

/// The source of the responses of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Envoy itself, so that a request costs little more than the filter.
    Direct,
    /// Servers of this program.
    Upstreams,
}

/// A connection manager that `traffic-split render envoy` wrote.
pub(crate) struct ConnectionManager(pub(crate) Value);

// === impl ConnectionManager ===

impl ConnectionManager {
    /// Removes everything that the filter needs.
    pub(crate) fn remove_wiring(&mut self) {
        if let Some(manager) = self.0.as_object_mut() {
            manager.remove("early_header_mutation_extensions");
        }
        self.filters().retain(|filter| filter["name"] != FILTER);
        for host in self.virtual_hosts() {
            disable_on(host);
            if let Some(routes) = host["routes"].as_array_mut() {
                routes.retain(|route| route["name"] != FILTER);
            }
        }
    }

    /// Replaces the filter by a Lua script, with the same routes and the same removal of clients' headers.
    pub(crate) fn replace_filter(&mut self, script: &str) {
        self.virtual_hosts().iter_mut().for_each(disable_on);
        for filter in self.filters().iter_mut().filter(|filter| filter["name"] == FILTER) {
            *filter = json!({
                "name": "envoy.filters.http.lua",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": {"inline_string": script},
                },
            });
        }
    }

    /// Enables the filter on all virtual hosts, as where it is not disabled by default.
    pub(crate) fn enable_everywhere(&mut self) {
        self.virtual_hosts().iter_mut().for_each(disable_on);
        for filter in self.filters() {
            if let Some(filter) = filter.as_object_mut() {
                filter.remove("disabled");
            }
        }
    }

    /// Splits by Envoy's own weights: half of the requests to each cluster. A direct response has no weights, so there
    /// the first of two routes has a runtime fraction.
    pub(crate) fn add_weights(&mut self, clusters: &[String; 2], answers: Answers) {
        for routes in self.virtual_hosts().iter_mut().filter(|host| has_split(host)).map(|host| &mut host["routes"]) {
            match answers {
                Answers::Upstreams => {
                    for route in routes.as_array_mut().into_iter().flatten().map(|route| &mut route["route"]) {
                        if let Some(route) = route.as_object_mut() {
                            route.remove("cluster");
                        }
                        let clusters = clusters.each_ref().map(|name| json!({"name": name, "weight": 50}));
                        route["weighted_clusters"] = json!({"clusters": clusters});
                    }
                }
                Answers::Direct => {
                    let half = json!({"default_value": {"numerator": 50, "denominator": "HUNDRED"}});
                    *routes = json!([
                        {"match": {"prefix": "/", "runtime_fraction": half}, "direct_response": response(BACKENDS[0])},
                        {"match": {"prefix": "/"}, "direct_response": response(BACKENDS[1])},
                    ]);
                }
            }
        }
    }

    /// Lets Envoy answer each request that it would route to a cluster. The body names the route.
    pub(crate) fn answer_directly(&mut self) {
        let hosts = self.virtual_hosts();
        for route in hosts.iter_mut().filter_map(|host| host["routes"].as_array_mut()).flatten() {
            let body = if route["name"] == FILTER { SPLIT_BODY } else { ROOT_BODY };
            if let Some(fields) = route.as_object_mut()
                && fields.remove("route").is_some()
            {
                fields.insert("direct_response".to_owned(), response(body));
            }
        }
    }

    fn filters(&mut self) -> &mut Vec<Value> {
        list(&mut self.0["http_filters"])
    }

    fn virtual_hosts(&mut self) -> &mut Vec<Value> {
        list(&mut self.0["route_config"]["virtual_hosts"])
    }
}

/// Returns the list, an empty one if the value is something else.
fn list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = json!([]);
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("the value is a list"),
    }
}

/// Reports whether requests of the split's root use this virtual host.
fn has_split(host: &Value) -> bool {
    let name = SPLIT_HOST.split(':').next().unwrap_or_default();
    host["domains"].as_array().is_some_and(|domains| domains.iter().any(|domain| domain == name))
}

fn disable_on(host: &mut Value) {
    if let Some(fields) = host.as_object_mut() {
        fields.remove("typed_per_filter_config");
    }
}

fn response(body: &str) -> Value {
    json!({"status": 200, "body": {"inline_string": body}})
}
