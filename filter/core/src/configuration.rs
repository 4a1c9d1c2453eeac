//! The plugin configuration: what a control plane writes and the filter reads.

use crate::budget::{Budget, Cost, Ledger};
use crate::cluster::{Cluster, ClusterTemplate};
use crate::http_route_group::{HttpRouteGroup, cost_of_group};
use crate::json::Strict;
use crate::name;
use crate::problem::{Object, Problem};
use crate::read::{A_LABEL, A_SUBDOMAIN, A_TOKEN, Reader, quote};
use crate::traffic_split::{TrafficSplit, object_name};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The plugin configuration, valid as a whole: only [`Configuration::from_json`] and
/// [`Configuration::from_value`] make one, and they find every problem. It serialises to what
/// they read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Configuration {
    /// Request header that carries the picked cluster's name; the route reads it. Lower case.
    pub cluster_header: String,
    /// A backend's Envoy cluster name, for those that `services` has none for.
    pub cluster: ClusterTemplate,
    /// The Kubernetes cluster's DNS domain.
    pub cluster_domain: String,
    /// The client's own namespace; absent: the node metadata says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A sidecar whose own namespace is listed passes everything through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    /// Request header that gets the picked backend's Service name; absent: not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_header: Option<String>,
    /// Request header that carries the cluster to mirror to.
    pub mirror_header: String,
    /// Request header that carries the Set-Cookie value for the response.
    pub set_cookie_header: String,
    /// Envoy strips our headers from clients' requests before routing, so the filter need not
    /// remove `clusterHeader` where there is no split. Absent counts as false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_stripped: Option<bool>,
    /// The splits. Those of one root stand in the order in which they are tried, and all but the
    /// last have matches.
    pub traffic_splits: Vec<TrafficSplit>,
    /// The groups of requests that the splits' matches name; no two of one name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_route_groups: Vec<HttpRouteGroup>,
    /// What is known of Services, by `namespace/name`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Service>,
    /// Further authorities of a root, by host name: lower case, without a trailing dot.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, HostRoot>,
}

/// The root that a name in `hosts` stands for. Serialised as `namespace/name`, or as an object if it has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostRoot {
    /// The root Service: `namespace/name`.
    pub service: String,
    /// The root's port for all requests to this host. The port in a client's `Host` never counts: it would let clients
    /// of a gateway reach ports of the Service that the gateway does not expose.
    pub port: Option<u16>,
}

/// What a control plane knows of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Service {
    /// The value of `{port}` for each port that clients may use; absent: nothing is known.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_ports")]
    pub ports: Option<BTreeMap<u16, String>>,
    /// Its Envoy cluster, instead of the template's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// The longest text of a configuration, in bytes, with white space and fields that are ignored.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// The keys of a plugin configuration.
const KEYS: [&str; 13] = [
    "backendHeader",
    "cluster",
    "clusterDomain",
    "clusterHeader",
    "excludedNamespaces",
    "headersStripped",
    "hosts",
    "httpRouteGroups",
    "mirrorHeader",
    "namespace",
    "services",
    "setCookieHeader",
    "trafficSplits",
];

// === impl Configuration ===

impl Default for Configuration {
    /// What `{}` means: no splits, Istio's cluster names.
    fn default() -> Self {
        Self {
            cluster_header: "x-traffic-split-cluster".into(),
            cluster: ClusterTemplate::default(),
            cluster_domain: "cluster.local".into(),
            namespace: None,
            excluded_namespaces: Vec::new(),
            backend_header: None,
            mirror_header: "x-traffic-split-mirror".into(),
            set_cookie_header: "x-traffic-split-set-cookie".into(),
            headers_stripped: None,
            traffic_splits: Vec::new(),
            http_route_groups: Vec::new(),
            services: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }
}

impl Configuration {
    /// Reads a plugin configuration from JSON text.
    ///
    /// # Errors
    /// Every problem found, in the order of the text's fields; at least one. Text that isn't
    /// JSON is one problem, with line and column.
    pub fn from_json(text: &[u8]) -> Result<Self, Vec<Problem>> {
        let whole =
            |message: String| Err(vec![Problem { object: Object::Configuration, field: String::new(), message }]);
        if text.iter().all(u8::is_ascii_whitespace) {
            return whole("is empty; the configuration without splits is {}".into());
        }
        if text.len() > MAX_TEXT_BYTES {
            return whole(format!("has {} bytes, and may have {MAX_TEXT_BYTES}; remove splits", text.len()));
        }
        match serde_json::from_slice::<Strict>(text) {
            Ok(Strict(value)) => Self::from_value(&value),
            Err(why) => whole(format!("is not valid JSON: {why}")),
        }
    }

    /// Reads a plugin configuration from a JSON value.
    ///
    /// # Errors
    /// Every problem found; at least one.
    pub fn from_value(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let configuration = Self::read(value, &mut problems);
        if problems.is_empty() { Ok(configuration) } else { Err(problems) }
    }

    /// The Envoy cluster of a Service of `namespace` for `port` of the root: the one that
    /// `services` names, else the template's.
    pub fn cluster_name(&self, service: &str, namespace: &str, port: u16) -> String {
        let known = self.services.get(&format!("{namespace}/{service}"));
        let value = known.and_then(|known| known.ports.as_ref()?.get(&port).cloned());
        self.cluster_of(service, namespace).name(&value.unwrap_or_else(|| port.to_string())).into_owned()
    }

    /// The same for any port.
    pub(crate) fn cluster_of(&self, service: &str, namespace: &str) -> Cluster {
        match self.services.get(&format!("{namespace}/{service}")).and_then(|known| known.cluster.as_deref()) {
            Some(cluster) => Cluster::literal(cluster),
            None => self.cluster.cluster(service, namespace, &self.cluster_domain),
        }
    }

    /// What could be read; a default stands for what couldn't, so that the rest is checked too.
    fn read(value: &Value, problems: &mut Vec<Problem>) -> Self {
        let mut configuration = Self::default();
        let mut reader = Reader { object: Object::Configuration, problems };
        let Some(map) = reader.map(value, "") else {
            return configuration;
        };
        // Splits are read by the domain, wherever it stands.
        if let Some(value) = crate::read::get(map, "clusterDomain")
            && let Some(domain) = reader.name(value, "clusterDomain", name::is_subdomain, A_SUBDOMAIN)
        {
            configuration.cluster_domain = domain.into();
        }
        // The places of the splits that could be read, and the names of all groups.
        let (mut places, mut groups) = (Vec::new(), BTreeSet::new());
        for (key, value) in map {
            if value.is_null() && KEYS.contains(&key.as_str()) {
                continue;
            }
            let reader = &mut Reader { object: Object::Configuration, problems: &mut *reader.problems };
            match key.as_str() {
                "clusterDomain" => {}
                "clusterHeader" => read_header(value, key, reader, &mut configuration.cluster_header),
                "mirrorHeader" => read_header(value, key, reader, &mut configuration.mirror_header),
                "setCookieHeader" => read_header(value, key, reader, &mut configuration.set_cookie_header),
                "backendHeader" => {
                    read_header(value, key, reader, configuration.backend_header.get_or_insert_default())
                }
                "cluster" => {
                    if let Some(template) =
                        reader.name(value, key, name::is_visible, "a cluster name: it must be visible ASCII, not empty")
                    {
                        match ClusterTemplate::parse(template) {
                            Ok(template) => configuration.cluster = template,
                            Err(why) => reader.problem(key, format!("{} {why}", quote(template))),
                        }
                    }
                }
                "namespace" => {
                    configuration.namespace = reader.name(value, key, name::is_label, A_LABEL).map(Into::into)
                }
                "excludedNamespaces" => {
                    for (index, value) in reader.list(value, key).unwrap_or_default().iter().enumerate() {
                        let namespace = reader.name(value, &format!("{key}[{index}]"), name::is_label, A_LABEL);
                        configuration.excluded_namespaces.extend(namespace.map(str::to_owned));
                    }
                }
                "headersStripped" => configuration.headers_stripped = reader.bool(value, key),
                "trafficSplits" => {
                    for (index, value) in reader.list(value, key).unwrap_or_default().iter().enumerate() {
                        let split = TrafficSplit::read(index, value, &configuration.cluster_domain, reader.problems);
                        places.extend(split.is_some().then_some(index));
                        configuration.traffic_splits.extend(split);
                    }
                }
                "httpRouteGroups" => {
                    let list = reader.list(value, key).unwrap_or_default();
                    // Before anything is compiled.
                    let cost = list.iter().map(cost_of_group).fold(Cost::default(), Cost::plus);
                    if let Err(why) = Budget::FILTER.check_total(cost) {
                        reader.problem(key, why.to_string());
                        continue;
                    }
                    for (index, value) in list.iter().enumerate() {
                        let name = object_name(value);
                        let group = HttpRouteGroup::read(index, value, reader.problems);
                        if group.is_some() && groups.contains(&name) {
                            reader.object = Object::HttpRouteGroup { index, name: name.clone() };
                            reader.problem("metadata.name", "stands in the list twice");
                        }
                        // One that is wrong is there all the same, for the splits that name it.
                        groups.insert(name);
                        configuration.http_route_groups.extend(group);
                    }
                }
                "services" => {
                    for (key, value) in reader.map(value, key).into_iter().flatten() {
                        // What isn't a name is quoted: it may be anything.
                        let name = if is_service_key(key) { key.clone() } else { quote(key) };
                        reader.object = Object::Service { name };
                        if !is_service_key(key) {
                            reader.problem("", "is not a Service's `namespace/name`");
                        }
                        if let Some(service) = Service::read(value, reader) {
                            configuration.services.insert(key.clone(), service);
                        }
                    }
                }
                "hosts" => {
                    for (host, value) in reader.map(value, key).into_iter().flatten() {
                        let field = format!("hosts[{}]", quote(host));
                        let Some(root) = HostRoot::read(value, &field, reader) else { continue };
                        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                        if !name::is_subdomain(&name) {
                            reader.problem(field, "is not a host name (without a port)");
                        } else if name::is_ip_address(&name) {
                            reader.problem(field, "is an IP address, which is never the name of a root");
                        } else if configuration.hosts.get(&name).is_some_and(|other| *other != root) {
                            reader.problem(field, "is duplicated with a different root; remove one of them");
                        } else {
                            configuration.hosts.insert(name, root);
                        }
                    }
                }
                _ => reader.problem("", format!("the key {} is unknown; known are {}", quote(key), KEYS.join(", "))),
            }
        }
        configuration.check_headers_differ(&mut reader);
        configuration.check_splits(&places, &groups, reader.problems);
        if problems.is_empty() {
            configuration.check_budget(&Budget::FILTER, problems);
        }
        configuration
    }

    /// Notes what is wrong with splits, which stand at these places, beside what else there is:
    /// other splits, the groups, our own headers.
    fn check_splits(&self, places: &[usize], groups: &BTreeSet<String>, problems: &mut Vec<Problem>) {
        let mut keys = BTreeSet::new();
        // The split of each root that takes all requests that reach it.
        let mut last: BTreeMap<(&str, &str), &TrafficSplit> = BTreeMap::new();
        for (split, &index) in self.traffic_splits.iter().zip(places) {
            let key = split.key();
            let reader =
                &mut Reader { object: Object::TrafficSplit { index, name: key.clone() }, problems: &mut *problems };
            let namespace = &split.metadata.namespace;
            let root = &split.spec.service;
            if keys.contains(&key) {
                reader.problem("metadata.name", "stands in the list twice");
                continue;
            }
            keys.insert(key);
            match last.get(&(namespace.as_str(), root.as_str())) {
                Some(other) if split.spec.matches.is_empty() => reader.problem(
                    "spec.service",
                    format!("the root {root} already has the split {}; only one may be without matches", other.key()),
                ),
                Some(other) => reader.problem(
                    "spec.service",
                    format!("no request gets here: {} takes all of the root {root}; put it last", other.key()),
                ),
                None if split.spec.matches.is_empty() => _ = last.insert((namespace, root), split),
                None => {}
            }
            self.check_references(split, |name| groups.contains(&format!("{namespace}/{name}")), reader);
        }
    }

    /// Checks one split against a configuration that it is to be added to: the HTTPRouteGroups that it names exist, by
    /// `has_group` for a name in its namespace, and its annotations name none of the configuration's own headers.
    ///
    /// # Errors
    /// Every problem found; at least one.
    pub fn check_split(&self, split: &TrafficSplit, has_group: impl Fn(&str) -> bool) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let object = Object::TrafficSplit { index: 0, name: split.key() };
        self.check_references(split, has_group, &mut Reader { object, problems: &mut problems });
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_references(&self, split: &TrafficSplit, has_group: impl Fn(&str) -> bool, reader: &mut Reader<'_>) {
        let namespace = &split.metadata.namespace;
        for (place, reference) in split.spec.matches.iter().enumerate() {
            if !has_group(&reference.name) {
                let name = quote(&reference.name);
                reader.problem(
                    format!("spec.matches[{place}].name"),
                    format!("there is no HTTPRouteGroup {name} in the namespace {namespace:?}"),
                );
            }
        }
        for (field, header) in split.metadata.annotations.headers() {
            if let Some((own, _)) = self.headers().iter().find(|(_, own)| *own == header) {
                reader.problem(field, format!("{header:?} is the {own}, which clients can't send"));
            }
        }
    }

    /// What the configuration costs beside its splits, groups and Services.
    #[must_use]
    pub fn base_cost(&self) -> Cost {
        let splits = Vec::new();
        let base =
            Self { traffic_splits: splits, http_route_groups: Vec::new(), services: BTreeMap::new(), ..self.clone() };
        Cost::of_base(&base)
    }

    /// Notes the first object of each namespace and root that exceeds a limit.
    fn check_budget(&self, budget: &Budget, problems: &mut Vec<Problem>) {
        let mut ledger = Ledger::new(*budget, self.base_cost());
        let mut exceeded = Vec::new();
        let mut spend = |object: Object, namespace: &str, cost, root: Option<(&str, Cost)>| {
            if let Err(why) = ledger.spend(namespace, cost, root)
                && !exceeded.contains(&(why.scope.clone(), why.resource))
            {
                exceeded.push((why.scope.clone(), why.resource));
                problems.push(Problem { object, field: String::new(), message: why.to_string() });
            }
        };
        let mut matching = BTreeMap::new();
        for (index, group) in self.http_route_groups.iter().enumerate() {
            let namespace = group.metadata.namespace.as_str();
            let cost = Cost::of_group(group);
            matching.insert((namespace, group.metadata.name.as_str()), cost);
            let name = format!("{namespace}/{}", group.metadata.name);
            spend(Object::HttpRouteGroup { index, name }, namespace, cost, None);
        }
        for (index, split) in self.traffic_splits.iter().enumerate() {
            let namespace = split.metadata.namespace.as_str();
            let groups = split.spec.matches.iter().filter_map(|group| matching.get(&(namespace, group.name.as_str())));
            let matching = groups.copied().fold(Cost::default(), Cost::plus).of_matching();
            let root = format!("{namespace}/{}", split.spec.service);
            let object = Object::TrafficSplit { index, name: split.key() };
            spend(object, namespace, Cost::of_split(split), Some((&root, matching)));
        }
        for (key, service) in &self.services {
            let namespace = key.split('/').next().unwrap_or_default();
            spend(Object::Service { name: key.clone() }, namespace, Cost::of_service(key, service), None);
        }
    }

    /// Our own headers, by their keys.
    fn headers(&self) -> Vec<(&'static str, &str)> {
        let headers = [
            ("clusterHeader", Some(&self.cluster_header)),
            ("backendHeader", self.backend_header.as_ref()),
            ("mirrorHeader", Some(&self.mirror_header)),
            ("setCookieHeader", Some(&self.set_cookie_header)),
        ];
        headers.into_iter().filter_map(|(key, header)| Some((key, header?.as_str()))).collect()
    }

    fn check_headers_differ(&self, reader: &mut Reader<'_>) {
        let mut seen = BTreeMap::new();
        for (key, header) in self.headers().into_iter().filter(|(_, header)| !header.is_empty()) {
            if let Some(other) = seen.insert(header, key) {
                reader.problem(key, format!("{header:?} is also the {other}; they must differ"));
            }
        }
    }
}

// === impl HostRoot ===

impl HostRoot {
    fn read(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let must = "a Service's `namespace/name`";
        let Value::Object(map) = value else {
            let service = reader.name(value, field, is_service_key, must)?;
            return Some(service.into());
        };
        for key in map.keys().filter(|key| !matches!(key.as_str(), "service" | "port")) {
            reader.problem(field, format!("the key {} is unknown; known are service and port", quote(key)));
        }
        let service_field = format!("{field}.service");
        let service = reader.required(map, "service", &service_field);
        let service = service.and_then(|value| reader.name(value, &service_field, is_service_key, must));
        let port = crate::read::get(map, "port").map(|value| read_port(value, &format!("{field}.port"), reader));
        Some(Self { service: service?.into(), port: port.flatten() })
    }
}

impl From<&str> for HostRoot {
    /// A root without a port of its own: `namespace/name`.
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
    fn read(value: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let mut service = Self::default();
        for (key, value) in reader.map(value, "")?.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "ports" => service.ports = Some(read_ports(value, reader)),
                "cluster" => {
                    let must = "a cluster name: it must be visible ASCII, not empty";
                    service.cluster = reader.name(value, "cluster", name::is_visible, must).map(Into::into);
                }
                _ => reader.problem("", format!("the key {} is unknown; known are ports and cluster", quote(key))),
            }
        }
        Some(service)
    }
}

fn read_ports(value: &Value, reader: &mut Reader<'_>) -> BTreeMap<u16, String> {
    let mut ports = BTreeMap::new();
    let mut add = |port: u16, value: u16, field: &str, reader: &mut Reader<'_>| {
        if ports.insert(port, value.to_string()).is_some() {
            reader.problem(field, format!("the port {port} stands twice"));
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let field = &format!("ports[{}]", quote(key));
                let value = read_port(value, field, reader);
                match (name::port(key), value) {
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
            reader.problem("ports", format!("is {}, must be a list of ports or a map", crate::read::kind(other)));
        }
    }
    ports
}

/// A port as a number, or as digits in a string.
fn read_port(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<u16> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => {
            reader.problem(field, format!("is {}, must be a port", crate::read::kind(other)));
            return None;
        }
    };
    let port = name::port(&text);
    if port.is_none() {
        reader.problem(field, format!("{} is not a port (1–65535)", quote(&text)));
    }
    port
}

fn read_header(value: &Value, key: &str, reader: &mut Reader<'_>, into: &mut String) {
    let Some(header) = reader.name(value, key, name::is_token, A_TOKEN) else { return };
    let header = header.to_ascii_lowercase();
    if header == "host" {
        reader.problem(key, "must not be host: the route is found by it");
        return;
    }
    *into = header;
}

fn is_service_key(text: &str) -> bool {
    text.split_once('/').is_some_and(|(namespace, service)| name::is_label(namespace) && name::is_label(service))
}

/// A list where every port is its own value, else a map.
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
