//! The bootstrap of a bare Envoy that is a client's sidecar.

use crate::document::Protocol;
use crate::wiring::{self, FILTER, SplitRoute};
use crate::yaml;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use traffic_split::{Configuration, GivenPort, is_label, is_subdomain, port_of_request};

/// Options of [`bootstrap`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BootstrapOptions {
    /// The client's namespace: node metadata `NAMESPACE`. The configuration's `namespace` takes precedence.
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
    /// The route of split requests.
    pub route: SplitRoute,
    /// The HTTP version of Services, by `namespace/name` and port, where known.
    pub protocols: BTreeMap<String, BTreeMap<u16, Protocol>>,
}

/// A host name or IP address and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A DNS name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The address of a Service; parsed from `SERVICE.NAMESPACE[:PORT]=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The Service's name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// The Service's port; absent means all ports.
    pub port: Option<u16>,
    /// The destination of requests.
    pub address: Address,
}

/// Another host and its address; parsed from `NAME=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalHost {
    /// The name in `Host`, without a port.
    pub name: String,
    /// The destination of requests.
    pub address: Address,
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
        yaml::one_line(&options.ecds),
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

// === impl Plan ===

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

    fn connection_manager(&self) -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound",
            // Without this, Envoy answers 403 to an upgrade to WebSocket.
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "early_header_mutation_extensions": [wiring::early_header_mutation(self.configuration)],
            "route_config": {
                "name": "outbound",
                // As in the filter, the port in `Host` does not select the Service.
                "ignore_port_in_host_matching": true,
                "virtual_hosts": self.virtual_hosts(),
            },
            "http_filters": [
                {"name": FILTER, "config_discovery": self.config_discovery()},
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                },
            ],
        })
    }

    fn config_discovery(&self) -> Value {
        let directory = Path::new(&self.options.ecds).parent().map(|path| path.display().to_string());
        let directory = directory.filter(|path| !path.is_empty()).unwrap_or_else(|| ".".into());
        wiring::config_discovery(json!({
            "path_config_source": {"path": self.options.ecds, "watched_directory": {"path": directory}},
            "resource_api_version": "V3",
        }))
    }

    fn virtual_hosts(&self) -> Vec<Value> {
        let mut taken = BTreeSet::new();
        let mut virtual_hosts = Vec::new();
        let mut add = |name: String, names: Vec<String>, fall_through: Vec<Value>| {
            let domains: Vec<_> = names
                .into_iter()
                .flat_map(|name| [name.clone(), format!("{name}.")])
                .filter(|domain| taken.insert(domain.clone()))
                .collect();
            if !domains.is_empty() {
                virtual_hosts.push(self.virtual_host(name, domains, fall_through));
            }
        };
        for known in self.services.values() {
            let name = format!("{}/{}", known.namespace, known.service);
            add(name, self.names(known), self.service_routes(known, GivenPort::None));
        }
        for (name, known, port, hosts) in self.configured_hosts() {
            add(name, hosts, self.service_routes(known, GivenPort::Configured(port)));
        }
        for host in &self.options.hosts {
            let routes = vec![self.route(json!({"prefix": "/"}), &host_cluster(&host.name))];
            add(host.name.clone(), vec![host.name.clone()], routes);
        }
        let none = json!({
            "match": {"prefix": "/"},
            "direct_response": {
                "status": 404,
                "body": {"inline_string": "no such host in this sidecar's configuration\n"},
            },
        });
        virtual_hosts.push(self.virtual_host("other hosts".into(), vec!["*".into()], vec![none]));
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

    /// Returns the names in `hosts` of each Service and port, with the name of their virtual host. They have virtual hosts
    /// of their own, because the port in the client's `Host` is ignored.
    fn configured_hosts(&self) -> Vec<(String, &ReachableService<'a>, Option<u16>, Vec<String>)> {
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

    fn virtual_host(&self, name: String, domains: Vec<String>, fall_through: Vec<Value>) -> Value {
        let mut routes = vec![wiring::split_route(self.configuration, &self.options.route)];
        routes.extend(fall_through);
        json!({"name": name, "domains": domains, "routes": routes})
    }

    /// Returns the routes of requests that are not split: to the port that the filter would select, else to the lowest
    /// port. `given` is the port of a host without a port.
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
        json!({
            "match": matches,
            "route": {"cluster": cluster, "timeout": "0s", "retry_policy": wiring::retry_policy(SplitRoute::default().retries)},
        })
    }

    fn cluster_name(&self, known: &ReachableService<'_>, port: u16) -> String {
        self.configuration.cluster_name(known.service, known.namespace, port)
    }

    fn clusters(&self) -> Vec<Value> {
        let mut taken = BTreeSet::new();
        let mut clusters = Vec::new();
        for known in self.services.values() {
            for &port in &known.ports {
                let name = self.cluster_name(known, port);
                if taken.insert(name.clone()) {
                    let service = format!("{}/{}", known.namespace, known.service);
                    let protocol = self.options.protocols.get(&service).and_then(|ports| ports.get(&port));
                    clusters.push(cluster(&name, &self.addresses(known, port), protocol.copied()));
                }
            }
        }
        for host in &self.options.hosts {
            let name = host_cluster(&host.name);
            if taken.insert(name.clone()) {
                let same = self.options.hosts.iter().filter(|other| other.name == host.name);
                clusters.push(cluster(&name, &same.map(|host| host.address.clone()).collect::<Vec<_>>(), None));
            }
        }
        clusters
    }

    fn addresses(&self, known: &ReachableService<'_>, port: u16) -> Vec<Address> {
        let ReachableService { service, namespace, .. } = known;
        let given: Vec<_> = (self.options.endpoints.iter())
            .filter(|endpoint| endpoint.service == *service && endpoint.namespace == *namespace)
            .filter(|endpoint| endpoint.port.is_none_or(|only| only == port))
            .map(|endpoint| endpoint.address.clone())
            .collect();
        if !given.is_empty() {
            return given;
        }
        let service_known = self.configuration.services.get(&format!("{namespace}/{service}"));
        let mapped = service_known.and_then(|known| known.ports.as_ref()?.get(&port)?.parse().ok());
        let host = format!("{service}.{namespace}.svc.{}", self.configuration.cluster_domain);
        vec![Address { host, port: mapped.unwrap_or(port) }]
    }
}

fn host_cluster(name: &str) -> String {
    format!("host|{name}")
}

fn cluster(name: &str, addresses: &[Address], protocol: Option<Protocol>) -> Value {
    let all_ip = addresses.iter().all(|address| address.host.parse::<IpAddr>().is_ok());
    let endpoints: Vec<_> =
        addresses.iter().map(|at| json!({"endpoint": {"address": socket(&at.host, at.port)}})).collect();
    let mut cluster = json!({"name": name, "type": "STATIC", "connect_timeout": "1s"});
    if !all_ip {
        cluster["type"] = "STRICT_DNS".into();
        // The default would use only IPv6 for a name with addresses of both families, such as localhost.
        cluster["dns_lookup_family"] = "V4_PREFERRED".into();
    }
    cluster["load_assignment"] = json!({"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]});
    let mut http = match protocol {
        // Envoy's default.
        Some(Protocol::Http1) => return cluster,
        Some(Protocol::Http2) => json!({"explicit_http_config": {"http2_protocol_options": {}}}),
        // The client's protocol, as in Istio, so that gRPC works on undeclared ports. Envoy mirrors such requests by HTTP/1.1.
        None => json!({"use_downstream_protocol_config": {"http2_protocol_options": {}}}),
    };
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    http["@type"] = format!("type.googleapis.com/{OPTIONS}").into();
    cluster["typed_extension_protocol_options"] = json!({OPTIONS: http});
    cluster
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
            route: SplitRoute::default(),
            protocols: BTreeMap::new(),
        }
    }
}

// === impl Address ===

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if is_host_name(host) => host.to_ascii_lowercase(),
            None => return Err(wrong()),
        };
        Ok(Self { host, port: parse_port(port)? })
    }
}

// === impl Endpoint ===

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not SERVICE.NAMESPACE[:PORT]=HOST:PORT");
        let (service, address) = text.split_once('=').ok_or_else(wrong)?;
        let (service, port) = match service.split_once(':') {
            Some((service, port)) => (service, Some(parse_port(port)?)),
            None => (service, None),
        };
        let (service, namespace) = service.split_once('.').ok_or_else(wrong)?;
        if !is_label(service) || !is_label(namespace) {
            return Err(wrong());
        }
        Ok(Self { service: service.into(), namespace: namespace.into(), port, address: address.parse()? })
    }
}

// === impl ExternalHost ===

impl FromStr for ExternalHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not NAME=HOST:PORT");
        let (name, address) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_host_name(name) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_ascii_lowercase(), address: address.parse()? })
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("`{text}` is not a port (1–65535)"))
}

fn is_host_name(text: &str) -> bool {
    is_subdomain(&text.to_ascii_lowercase())
}
