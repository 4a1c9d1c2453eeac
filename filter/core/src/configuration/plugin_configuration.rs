//! The plugin configuration: its fields, defaults and cluster names.

use crate::configuration::budget::Cost;
use crate::configuration::cluster_template::{ClusterName, ClusterTemplate};
use crate::configuration::cost;
use crate::configuration::http_route_group::HttpRouteGroup;
use crate::configuration::service::{HostRoot, Service};
use crate::configuration::traffic_split::TrafficSplit;
use serde::Serialize;
use std::collections::BTreeMap;

/// A valid plugin configuration: what a control plane writes and the filter reads.
///
/// Only [`Configuration::from_json`] and [`Configuration::from_value`] create a configuration with splits. Both parse
/// a serialized configuration to an equal value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Configuration {
    /// Request header that carries the selected backend's Envoy cluster name; the route reads it. Lower case.
    pub cluster_header: String,
    /// Template of a backend's Envoy cluster name. [`Service::cluster`] takes precedence.
    pub cluster: ClusterTemplate,
    /// DNS domain of the Kubernetes cluster.
    pub cluster_domain: String,
    /// The client's namespace. If absent, the filter reads it from the node metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Client namespaces whose requests are never split.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    /// Request header that carries the selected backend's Service name. If absent, the filter writes no such header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_header: Option<String>,
    /// Request header that carries the Envoy cluster to mirror to.
    pub mirror_header: String,
    /// Request header that carries the `Set-Cookie` value for the response.
    pub set_cookie_header: String,
    /// Whether Envoy removes these headers from client requests before routing. If `true`, the filter does not remove
    /// them. Defaults to `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_stripped: Option<bool>,
    /// The splits. Splits of the same root are tried in this order; all splits of a root except the last have matches.
    pub traffic_splits: Vec<TrafficSplit>,
    /// The HTTPRouteGroups that `spec.matches` of splits name. Names are unique within a namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_route_groups: Vec<HttpRouteGroup>,
    /// Ports and cluster names of Services, by `namespace/name`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Service>,
    /// Further host names of root Services: lower case, without a trailing dot.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, HostRoot>,
}

// === impl Configuration ===

impl Default for Configuration {
    /// Returns the configuration `{}`: no splits, and Istio's cluster names.
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
    /// Returns the Envoy cluster name of a Service for the root's port `port`: the name in `services` if it exists,
    /// else the name from the template.
    pub fn cluster_name(&self, service: &str, namespace: &str, port: u16) -> String {
        let known = self.services.get(&format!("{namespace}/{service}"));
        let value = known.and_then(|known| known.ports.as_ref()?.get(&port).cloned());
        self.cluster_of(service, namespace).name(&value.unwrap_or_else(|| port.to_string())).into_owned()
    }

    /// Returns the Envoy cluster name of a Service, without the value of `{port}`.
    pub(crate) fn cluster_of(&self, service: &str, namespace: &str) -> ClusterName {
        match self.services.get(&format!("{namespace}/{service}")).and_then(|known| known.cluster.as_deref()) {
            Some(cluster) => ClusterName::literal(cluster),
            None => self.cluster.cluster(service, namespace, &self.cluster_domain),
        }
    }

    /// Returns the cost of the configuration without its splits, groups and Services.
    #[must_use]
    pub fn base_cost(&self) -> Cost {
        // Two quotation marks around the text, and the keys of lists that are omitted while they are empty.
        const KEYS: &str = r#"""\"httpRouteGroups\":[],\"services\":{},"#;
        let base = Self {
            traffic_splits: Vec::new(),
            http_route_groups: Vec::new(),
            services: BTreeMap::new(),
            ..self.clone()
        };
        Cost { bytes: cost::escaped_bytes(&base).saturating_add(cost::count(KEYS.len())), ..Cost::default() }
    }

    /// Returns the headers that the filter writes, each with its key in the configuration, in this order: `clusterHeader`,
    /// `backendHeader` if the configuration has it, `mirrorHeader`, `setCookieHeader`.
    pub fn written_headers(&self) -> Vec<(&'static str, &str)> {
        let headers = [
            ("clusterHeader", Some(&self.cluster_header)),
            ("backendHeader", self.backend_header.as_ref()),
            ("mirrorHeader", Some(&self.mirror_header)),
            ("setCookieHeader", Some(&self.set_cookie_header)),
        ];
        headers.into_iter().filter_map(|(key, header)| Some((key, header?.as_str()))).collect()
    }
}
