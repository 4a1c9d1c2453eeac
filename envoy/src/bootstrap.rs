//! The bootstrap of a bare Envoy that is a client's sidecar.

mod address;
mod clusters;
mod connection_manager;

pub use address::{Address, Endpoint, ExternalHost};

use crate::safe_text::one_line;
use crate::service_ports::Protocol;
use crate::split_route::SplitRoute;
use crate::yaml;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use traffic_split::Configuration;

/// Options of [`bootstrap`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BootstrapOptions {
    /// The client's namespace: the node metadata `NAMESPACE`. The configuration's `namespace` takes precedence.
    pub namespace: String,
    /// The address of the listener for client requests.
    pub listen: SocketAddr,
    /// The address of Envoy's admin interface.
    pub admin: SocketAddr,
    /// The port of Services whose ports are unknown. Defaults to the port of `listen`.
    pub port: Option<u16>,
    /// The path of the file that [`ecds`](crate::ecds()) renders.
    pub ecds: String,
    /// Addresses of Services; other Services are resolved by DNS.
    pub endpoints: Vec<Endpoint>,
    /// Other hosts that clients may call.
    pub hosts: Vec<ExternalHost>,
    /// Accepts HTTP/1.0 requests. Defaults to `false`: Envoy answers HTTP/1.0 requests with 426.
    pub accept_http_10: bool,
    /// The route of split requests.
    pub route: SplitRoute,
    /// The HTTP version of Services, by `namespace/name` and port, where known.
    pub protocols: BTreeMap<String, BTreeMap<u16, Protocol>>,
}

/// Renders a bootstrap: a listener whose virtual hosts begin with the route of split requests, the filter with its
/// configuration from a watched file, and a cluster for each Service and port.
pub fn bootstrap(configuration: &Configuration, options: &BootstrapOptions) -> String {
    let plan = BootstrapPlan::new(configuration, options);
    // Prometheus labels, taken from the name of the filter's counter.
    let stats_tags =
        ["split", "backend", "reason"].map(|tag| json!({"tag_name": tag, "regex": format!(r"({tag}=\.=(.*?);\.;)")}));
    let envoy = json!({
        "node": {
            "id": plan.namespace,
            "cluster": plan.namespace,
            "metadata": {"NAMESPACE": plan.namespace},
        },
        "admin": {"address": socket(&options.admin.ip().to_string(), options.admin.port())},
        "stats_config": {
            "stats_tags": stats_tags,
        },
        "static_resources": {
            "listeners": [{
                "name": "outbound",
                "address": socket(&options.listen.ip().to_string(), options.listen.port()),
                "filter_chains": [{
                    "filters": [{
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": plan.connection_manager(),
                    }],
                }],
            }],
            "clusters": plan.clusters(),
        },
    });
    format!(
        "# A bare Envoy sidecar with the filter. Change weights in {}.\n\
         # Envoy does not start without that file. While the file is empty, the root Services serve.\n{}",
        one_line(&options.ecds),
        yaml::write(&envoy)
    )
}

/// A Service that clients may call.
struct ReachableService<'a> {
    service: &'a str,
    namespace: &'a str,
    ports: BTreeSet<u16>,
}

struct BootstrapPlan<'a> {
    configuration: &'a Configuration,
    options: &'a BootstrapOptions,
    namespace: &'a str,
    /// By namespace and name.
    services: BTreeMap<(&'a str, &'a str), ReachableService<'a>>,
}

// === impl BootstrapPlan ===

impl<'a> BootstrapPlan<'a> {
    fn new(configuration: &'a Configuration, options: &'a BootstrapOptions) -> Self {
        let namespace = configuration.namespace.as_deref().unwrap_or(&options.namespace);
        let mut plan = Self { configuration, options, namespace, services: BTreeMap::new() };
        for split in &configuration.traffic_splits {
            let namespace = &split.metadata.namespace;
            let root = &split.spec.service;
            let ports = plan.known_ports(root, namespace).unwrap_or_else(|| [plan.port()].into());
            plan.add(root, namespace, ports.clone());
            for backend in &split.spec.backends {
                let mut ports = ports.clone();
                // A backend receives no requests to a port that it lacks.
                if let Some(known) = plan.known_ports(&backend.service, namespace) {
                    ports.retain(|port| known.contains(port));
                }
                plan.add(&backend.service, namespace, ports);
            }
        }
        // A Service may become a backend while Envoy runs.
        for (key, service) in &configuration.services {
            if let Some((namespace, name)) = key.split_once('/') {
                let ports = service.ports.as_ref().map(|ports| ports.keys().copied().collect());
                plan.add(name, namespace, ports.unwrap_or_else(|| [plan.port()].into()));
            }
        }
        for endpoint in &options.endpoints {
            let port = endpoint.port.unwrap_or(plan.port());
            let known = plan.known_ports(&endpoint.service, &endpoint.namespace);
            plan.add(&endpoint.service, &endpoint.namespace, known.unwrap_or_else(|| [port].into()));
        }
        plan
    }

    fn add(&mut self, service: &'a str, namespace: &'a str, ports: BTreeSet<u16>) {
        if !ports.is_empty() {
            let new = || ReachableService { service, namespace, ports: BTreeSet::new() };
            self.services.entry((namespace, service)).or_insert_with(new).ports.extend(ports);
        }
    }

    fn port(&self) -> u16 {
        self.options.port.unwrap_or(self.options.listen.port())
    }

    fn known_ports(&self, service: &str, namespace: &str) -> Option<BTreeSet<u16>> {
        let known = self.configuration.services.get(&format!("{namespace}/{service}"))?;
        Some(known.ports.as_ref()?.keys().copied().collect())
    }

    fn cluster_name(&self, known: &ReachableService<'_>, port: u16) -> String {
        self.configuration.cluster_name(known.service, known.namespace, port)
    }
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

// === impl BootstrapOptions ===

impl Default for BootstrapOptions {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            namespace: "curl".into(),
            listen: local(14001),
            admin: local(15000),
            port: None,
            ecds: "/etc/traffic-split/ecds.yaml".into(),
            endpoints: Vec::new(),
            hosts: Vec::new(),
            accept_http_10: false,
            route: SplitRoute::default(),
            protocols: BTreeMap::new(),
        }
    }
}
