//! The clusters of the bootstrap: one for each Service and port, and one for each other host.

use super::address::Address;
use super::{BootstrapPlan, ReachableService, socket};
use crate::service_ports::Protocol;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The time after which Envoy probes an idle connection to a host.
const KEEPALIVE_SECONDS: u32 = 300;

impl BootstrapPlan<'_> {
    pub(super) fn clusters(&self) -> Vec<Value> {
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

/// Returns the name of the cluster of another host.
pub(super) fn host_cluster(name: &str) -> String {
    format!("host|{name}")
}

/// Returns circuit breaker thresholds without a practical limit, as in Istio. With its default of 1,024, Envoy would refuse
/// requests that succeed without a sidecar.
fn no_limits() -> Value {
    let limits = ["max_connections", "max_pending_requests", "max_requests", "max_retries"];
    limits.into_iter().map(|limit| (limit.to_owned(), Value::from(u32::MAX))).collect()
}

fn cluster(name: &str, addresses: &[Address], protocol: Option<Protocol>) -> Value {
    let all_ip = addresses.iter().all(|address| address.host.parse::<IpAddr>().is_ok());
    let endpoints: Vec<_> =
        addresses.iter().map(|at| json!({"endpoint": {"address": socket(&at.host, at.port)}})).collect();
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        // As in Istio. With a timeout of 1 s, one lost packet would make the connection fail.
        "connect_timeout": "10s",
        "circuit_breakers": {"thresholds": [no_limits()]},
        // Without these probes, a stream to a vanished host never ends, because streams have no timeout.
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": KEEPALIVE_SECONDS}},
    });
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
