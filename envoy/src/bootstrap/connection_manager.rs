//! The connection manager of the bootstrap: the filter, the virtual hosts and the routes.

use super::clusters::host_cluster;
use super::{BootstrapPlan, ReachableService};
use crate::enabled_hosts;
use crate::roots::roots;
use crate::split_route::{self, SplitRoute, split_route};
use crate::wiring::{self, FILTER};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use traffic_split::{GivenPort, port_of_request};

/// The only upgrade that Envoy forwards.
const WEBSOCKET: &str = "websocket";

impl BootstrapPlan<'_> {
    pub(super) fn connection_manager(&self) -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound",
            // Otherwise Envoy ends streams and WebSocket connections that are silent for 5 minutes.
            "stream_idle_timeout": "0s",
            // Without this, Envoy answers 403 to an upgrade to WebSocket.
            "upgrade_configs": [{"upgrade_type": WEBSOCKET}],
            "http_protocol_options": self.http_1_options(),
            // The backend, not Envoy, answers `expect: 100-continue` and names itself in `server`.
            "proxy_100_continue": true,
            "server_header_transformation": "PASS_THROUGH",
            "early_header_mutation_extensions": [wiring::early_header_mutation(self.configuration)],
            "route_config": {
                "name": "outbound",
                // As in the filter, the port in `Host` does not select the Service.
                "ignore_port_in_host_matching": true,
                "virtual_hosts": self.virtual_hosts(),
            },
            "http_filters": [
                wiring::filter(FILTER, self.config_source()),
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                },
            ],
        })
    }

    fn http_1_options(&self) -> Value {
        // Servers ignore an upgrade to an unknown protocol (RFC 9110, section 7.8). By default, Envoy answers 403.
        let others = all_but(WEBSOCKET).map(|regex| json!({"safe_regex": {"regex": format!("(?i){regex}")}}));
        let mut options = json!({"ignore_http_11_upgrade": others.collect::<Vec<_>>()});
        if self.options.accept_http_10 {
            options["accept_http_10"] = true.into();
        }
        options
    }

    fn config_source(&self) -> Value {
        let directory = Path::new(&self.options.ecds).parent().map(|path| path.display().to_string());
        let directory = directory.filter(|path| !path.is_empty()).unwrap_or_else(|| ".".into());
        json!({
            "path_config_source": {"path": self.options.ecds, "watched_directory": {"path": directory}},
            "resource_api_version": "V3",
        })
    }

    fn virtual_hosts(&self) -> Vec<Value> {
        let mut taken = BTreeSet::new();
        let mut virtual_hosts = Vec::new();
        let roots = roots(self.configuration);
        // Without a split, any Service may become a root.
        let is_enabled = |known: Option<&ReachableService<'_>>| {
            known.is_some_and(|known| roots.is_empty() || roots.contains(&(known.namespace, known.service)))
        };
        let mut add = |name: String, names: Vec<String>, known, fall_through: Vec<Value>| {
            let domains: Vec<_> = names
                .into_iter()
                .flat_map(|name| [name.clone(), format!("{name}.")])
                .filter(|domain| taken.insert(domain.clone()))
                .collect();
            if !domains.is_empty() {
                virtual_hosts.push(self.virtual_host(name, domains, is_enabled(known), fall_through));
            }
        };
        for known in self.services.values() {
            let name = format!("{}/{}", known.namespace, known.service);
            add(name, self.names(known), Some(known), self.service_routes(known, GivenPort::None));
        }
        for (name, known, port, hosts) in self.configured_hosts() {
            add(name, hosts, Some(known), self.service_routes(known, GivenPort::Configured(port)));
        }
        for host in &self.options.hosts {
            let routes = vec![self.route(json!({"prefix": "/"}), &host_cluster(&host.name))];
            add(host.name.clone(), vec![host.name.clone()], None, routes);
        }
        let none = json!({
            "match": {"prefix": "/"},
            "direct_response": {
                "status": 404,
                "body": {"inline_string": "no such host in this sidecar's configuration\n"},
            },
        });
        virtual_hosts.push(self.virtual_host("other hosts".into(), vec!["*".into()], false, vec![none]));
        virtual_hosts
    }

    /// Returns the names by which clients may call a Service: those that the filter knows.
    fn names(&self, known: &ReachableService<'_>) -> Vec<String> {
        let ReachableService { service, namespace, .. } = known;
        let domain = self.configuration.cluster_domain.to_ascii_lowercase();
        let mut names = vec![
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster"),
            format!("{service}.{namespace}.svc.{domain}"),
        ];
        if *namespace == self.namespace {
            names.push((*service).into());
        }
        names
    }

    /// Returns the names in `hosts` of each Service and port, with the name of their virtual host. These names have their
    /// own virtual hosts, because the port in the client's `Host` is ignored for them.
    fn configured_hosts(&self) -> Vec<(String, &ReachableService<'_>, Option<u16>, Vec<String>)> {
        let mut hosts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (host, root) in &self.configuration.hosts {
            hosts.entry((&root.service, root.port)).or_default().push(host.clone());
        }
        let hosts = hosts.into_iter().filter_map(|((service, port), hosts)| {
            let known = self.services.get(&service.split_once('/')?)?;
            let port_text = port.map(|port| format!(", port {port}")).unwrap_or_default();
            Some((format!("hosts of {service}{port_text}"), known, port, hosts))
        });
        hosts.collect()
    }

    fn virtual_host(&self, name: String, domains: Vec<String>, is_enabled: bool, fall_through: Vec<Value>) -> Value {
        let mut routes = vec![split_route(self.configuration, &self.options.route)];
        routes.extend(fall_through);
        let mut host = json!({"name": name, "domains": domains, "routes": routes});
        if is_enabled {
            host["typed_per_filter_config"] = enabled_hosts::enabling(FILTER);
        }
        host
    }

    /// Returns the routes of requests that are not split: to the port that the filter selects, else to the lowest port.
    /// `given` is the port to use for a `Host` without a port.
    fn service_routes(&self, known: &ReachableService<'_>, given: GivenPort) -> Vec<Value> {
        let ports: Vec<_> = known.ports.iter().copied().collect();
        let port = |is_https| {
            port_of_request(&ports, given, || Some(self.options.listen.port()), || is_https).map(|(port, _)| port)
        };
        let usual = port(false).or(ports.first().copied());
        let https = port(true).filter(|port| Some(*port) != usual);
        let route = |header: Option<Value>, port| {
            let headers = header.map(|header| json!({"prefix": "/", "headers": [header]}));
            self.route(headers.unwrap_or_else(|| json!({"prefix": "/"})), &self.cluster_name(known, port))
        };
        let mut routes = Vec::new();
        if given == GivenPort::None {
            // The port in `Host` precedes the default port of the scheme.
            let by_host = ports.iter().filter(|port| https.is_some() || Some(**port) != usual);
            routes.extend(by_host.map(|port| {
                let suffix = json!({"suffix": format!(":{port}")});
                route(Some(json!({"name": ":authority", "string_match": suffix})), *port)
            }));
        }
        routes.extend(https.map(|port| {
            let scheme = json!({"exact": "https", "ignore_case": true});
            route(Some(json!({"name": "x-forwarded-proto", "string_match": scheme})), port)
        }));
        routes.extend(usual.map(|port| route(None, port)));
        routes
    }

    fn route(&self, matches: Value, cluster: &str) -> Value {
        let usual = SplitRoute::default();
        let mut route = json!({"cluster": cluster, "retry_policy": split_route::retry_policy(usual.retries)});
        split_route::set_timeout(&mut route, usual.timeout);
        json!({"match": matches, "route": route})
    }
}

/// Returns regular expressions that together match every text except `word`. RE2 has no look-ahead, and Envoy up to 1.38 rejects
/// a single expression of this size.
fn all_but(word: &str) -> impl Iterator<Item = String> {
    let shorter_or_other = word.char_indices().map(|(at, letter)| format!("{}(?:[^{letter}].*)?", &word[..at]));
    shorter_or_other.chain([format!("{word}.+")])
}
