//! Parsing of the plugin configuration. All problems are reported, not only the first.

use crate::configuration::budget::{Budget, Cost};
use crate::configuration::cluster_template::ClusterTemplate;
use crate::configuration::http_route_group::{HttpRouteGroup, cost_of_group};
use crate::configuration::names;
use crate::configuration::plugin_configuration::Configuration;
use crate::configuration::problem::{Object, Problem};
use crate::configuration::reader::{DNS_LABEL, DNS_SUBDOMAIN, HEADER_NAME, Reader, get, quote};
use crate::configuration::service::{HostRoot, Service, is_service_key};
use crate::configuration::strict_json::Strict;
use crate::configuration::traffic_split::{TrafficSplit, object_name};
use crate::configuration::validation;
use serde_json::Value;
use std::collections::BTreeSet;

/// Maximum length of a configuration text in bytes, including white space and ignored fields.
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

impl Configuration {
    /// The keys of a plugin configuration.
    pub const FIELDS: &[&str] = &KEYS;

    /// Parses a plugin configuration from JSON text of at most 16 MiB.
    ///
    /// # Errors
    /// Returns all problems, at least one. Text that is not JSON is one problem, with line and column.
    pub fn from_json(text: &[u8]) -> Result<Self, Vec<Problem>> {
        let whole =
            |message: String| Err(vec![Problem { object: Object::Configuration, field: String::new(), message }]);
        if text.iter().all(u8::is_ascii_whitespace) {
            return whole("is empty; write {} for a configuration without splits".into());
        }
        if text.len() > MAX_TEXT_BYTES {
            return whole(format!("has {} bytes, above the limit of {MAX_TEXT_BYTES}; remove splits", text.len()));
        }
        match serde_json::from_slice::<Strict>(text) {
            Ok(Strict(value)) => Self::from_value(&value),
            Err(why) => whole(format!("is not valid JSON: {why}")),
        }
    }

    /// Parses a plugin configuration from a JSON value.
    ///
    /// # Errors
    /// Returns all problems, at least one.
    pub fn from_value(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let configuration = Self::read(value, &mut problems);
        if problems.is_empty() { Ok(configuration) } else { Err(problems) }
    }

    /// Parses all fields. An invalid field gets its default, so that the other fields are checked too.
    fn read(value: &Value, problems: &mut Vec<Problem>) -> Self {
        let mut configuration = Self::default();
        let mut reader = Reader { object: Object::Configuration, problems };
        let Some(map) = reader.map(value, "") else {
            return configuration;
        };
        // Service names in splits depend on the domain, which may follow the splits in the text.
        let is_domain = |text: &str| names::is_subdomain(text.strip_suffix('.').unwrap_or(text));
        if let Some(value) = get(map, "clusterDomain")
            && let Some(domain) = reader.valid_string(value, "clusterDomain", is_domain, DNS_SUBDOMAIN)
        {
            configuration.cluster_domain = domain.strip_suffix('.').unwrap_or(domain).into();
        }
        // The indexes of the valid splits, and the names of all groups.
        let (mut indexes, mut groups) = (Vec::new(), BTreeSet::new());
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
                        reader.valid_string(value, key, names::is_visible, "a cluster name (visible ASCII, not empty)")
                    {
                        match ClusterTemplate::parse(template) {
                            Ok(template) => configuration.cluster = template,
                            Err(why) => reader.problem(key, format!("{} {why}", quote(template))),
                        }
                    }
                }
                "namespace" => {
                    configuration.namespace =
                        reader.valid_string(value, key, names::is_label, DNS_LABEL).map(Into::into)
                }
                "excludedNamespaces" => {
                    for (index, value) in reader.list(value, key).unwrap_or_default().iter().enumerate() {
                        let namespace =
                            reader.valid_string(value, &format!("{key}[{index}]"), names::is_label, DNS_LABEL);
                        configuration.excluded_namespaces.extend(namespace.map(str::to_owned));
                    }
                }
                "headersStripped" => configuration.headers_stripped = reader.bool(value, key),
                "trafficSplits" => {
                    for (index, value) in reader.list(value, key).unwrap_or_default().iter().enumerate() {
                        let split = TrafficSplit::read(index, value, &configuration.cluster_domain, reader.problems);
                        indexes.extend(split.is_some().then_some(index));
                        configuration.traffic_splits.extend(split);
                    }
                }
                "httpRouteGroups" => {
                    let list = reader.list(value, key).unwrap_or_default();
                    // Check the cost before any pattern is compiled.
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
                            reader.problem("metadata.name", "is duplicated; rename or remove one of them");
                        }
                        // An invalid group also exists: a split that names the group needs no second error.
                        groups.insert(name);
                        configuration.http_route_groups.extend(group);
                    }
                }
                "services" => {
                    for (key, value) in reader.map(value, key).into_iter().flatten() {
                        // An invalid key may contain any characters, so it is quoted.
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
                        if !names::is_subdomain(&name) {
                            let message =
                                "is not a host name; write only the name, without scheme, port, path or wildcard";
                            reader.problem(field, message);
                        } else if names::is_ip_address(&name) {
                            reader.problem(field, "is an IP address; use a host name");
                        } else if configuration.hosts.get(&name).is_some_and(|other| *other != root) {
                            reader.problem(field, "is duplicated with a different root; remove one of them");
                        } else {
                            configuration.hosts.insert(name, root);
                        }
                    }
                }
                _ => reader.problem("", format!("the key {} is unknown; use one of {}", quote(key), KEYS.join(", "))),
            }
        }
        validation::check_headers_differ(&configuration, &mut reader);
        validation::check_splits(&configuration, &indexes, &groups, reader.problems);
        if problems.is_empty() {
            validation::check_budget(&configuration, &Budget::FILTER, problems);
        }
        configuration
    }
}

fn read_header(value: &Value, key: &str, reader: &mut Reader<'_>, into: &mut String) {
    let Some(header) = reader.valid_string(value, key, names::is_token, HEADER_NAME) else { return };
    let header = header.to_ascii_lowercase();
    if header == "host" {
        reader.problem(key, "must not be host, because Envoy selects the route by it; use another header");
        return;
    }
    *into = header;
}
