//! What else Istio's objects say of a split's Services: rules that a split request bypasses, and clients that see the root
//! but not a backend. The words and patterns are those of Istio's reference for VirtualService, DestinationRule, Sidecar and
//! `networking.istio.io/exportTo`.

use crate::document::{name, text};
use crate::plan::{Cluster, Said};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use traffic_split::TrafficSplit;

/// Where a Service may be exported to: the annotation's key.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Istio's objects, and what they are about.
pub(crate) struct IstioRules<'c> {
    pub cluster: &'c Cluster,
    /// The cluster's, by `namespace/name`.
    pub services: &'c BTreeMap<String, &'c Value>,
    /// The Kubernetes cluster's DNS domain.
    pub domain: &'c str,
}

/// A Service, as rules name it.
struct Host<'s> {
    service: &'s str,
    namespace: &'s str,
}

// === impl IstioRules ===

impl IstioRules<'_> {
    /// Whether all that Istio's objects say of the root and the backends is so for split requests too. Their route is our
    /// own, and what a VirtualService's or a hashing load balancer's would have said doesn't reach it.
    pub(crate) fn apply(&self, split: &TrafficSplit) -> Said {
        let mut bypassed = Vec::new();
        for rule in &self.cluster.virtual_services {
            let gateways = strings(rule, "/spec/gateways");
            let is_of_mesh = gateways.is_empty() || gateways.contains(&"mesh");
            let has_routes = rule.pointer("/spec/http").and_then(Value::as_array).is_some_and(|http| !http.is_empty());
            let named = hosts(split).find(|host| {
                strings(rule, "/spec/hosts").into_iter().any(|pattern| self.is_named(host, pattern, rule))
            });
            if let Some(host) = named.filter(|_| is_of_mesh && has_routes) {
                bypassed.push(format!("the routes of VirtualService {}, which names {}", name(rule), host.service));
            }
        }
        for rule in &self.cluster.destination_rules {
            let hashes = rule.pointer("/spec/trafficPolicy/loadBalancer/consistentHash").is_some();
            let host = text(rule, "/spec/host").unwrap_or_default();
            if let Some(host) = hosts(split).find(|named| hashes && self.is_named(named, host, rule)) {
                bypassed.push(format!(
                    "consistentHash of DestinationRule {}, which names {} (--hash-header has its effect)",
                    name(rule),
                    host.service
                ));
            }
        }
        if bypassed.is_empty() {
            return Said::yes("RulesApply");
        }
        Said::no("RulesBypassed", format!("split requests bypass {}", bypassed.join(", and ")))
    }

    /// Whether clients that see the root see every backend with weight. A proxy has no cluster of what it doesn't see, and
    /// answers 503.
    pub(crate) fn reachable(&self, split: &TrafficSplit) -> Said {
        let mut hidden = Vec::new();
        let backends = || {
            let backends = split.spec.backends.iter().filter(|backend| backend.has_weight());
            backends.map(|backend| Host { service: &backend.service, namespace: &split.metadata.namespace })
        };
        let root = Host { service: &split.spec.service, namespace: &split.metadata.namespace };
        for sidecar in &self.cluster.sidecars {
            let egress = sidecar.pointer("/spec/egress").and_then(Value::as_array);
            let patterns: Vec<_> = egress.into_iter().flatten().flat_map(|egress| strings(egress, "/hosts")).collect();
            // Without any, it says nothing of what its pods call.
            let sees = |host: &Host<'_>| patterns.iter().any(|pattern| self.is_seen(host, pattern, sidecar));
            if !patterns.is_empty() && sees(&root) {
                for backend in backends().filter(|backend| !sees(backend)) {
                    hidden.push(format!("{} from clients of Sidecar {}", backend.service, name(sidecar)));
                }
            }
        }
        let exported = |host: &Host<'_>| {
            let service = self.services.get(&format!("{}/{}", host.namespace, host.service))?;
            let annotations = service.pointer("/metadata/annotations")?;
            let to = annotations.get(EXPORT_TO)?.as_str()?.split(',').map(|to| to.trim().to_owned());
            // `.` is the Service's own namespace.
            Some(to.map(|to| if to == "." { host.namespace.to_owned() } else { to }).collect::<BTreeSet<_>>())
        };
        let everywhere = BTreeSet::from(["*".to_owned()]);
        let of_root = exported(&root).unwrap_or_else(|| everywhere.clone());
        for backend in backends() {
            let to = exported(&backend).unwrap_or_else(|| everywhere.clone());
            if !to.contains("*") && !of_root.is_subset(&to) {
                let to: Vec<_> = to.into_iter().collect();
                hidden.push(format!("{} from clients outside of {} ({EXPORT_TO})", backend.service, to.join(", ")));
            }
        }
        if hidden.is_empty() {
            return Said::yes("Reachable");
        }
        Said::no("BackendHidden", format!("503 for split requests: hidden is {}", hidden.join(", and ")))
    }

    /// Whether a rule's host is this Service: its DNS name, a short name by the rule's namespace, or a wildcard.
    fn is_named(&self, host: &Host<'_>, pattern: &str, rule: &Value) -> bool {
        let full = self.full_name(host);
        let namespace = text(rule, "/metadata/namespace").unwrap_or_default();
        pattern == full || matches_wildcard(pattern, &full) || (pattern == host.service && namespace == host.namespace)
    }

    /// Whether an entry of a Sidecar's egress, `NAMESPACE/HOST`, shows this Service.
    fn is_seen(&self, host: &Host<'_>, pattern: &str, sidecar: &Value) -> bool {
        let Some((namespace, pattern)) = pattern.split_once('/') else { return false };
        let is_of_namespace = match namespace {
            "*" => true,
            "." => text(sidecar, "/metadata/namespace") == Some(host.namespace),
            other => other == host.namespace,
        };
        let full = self.full_name(host);
        is_of_namespace && (pattern == full || matches_wildcard(pattern, &full))
    }

    fn full_name(&self, host: &Host<'_>) -> String {
        format!("{}.{}.svc.{}", host.service, host.namespace, self.domain)
    }
}

/// The root, and the backends.
fn hosts(split: &TrafficSplit) -> impl Iterator<Item = Host<'_>> {
    let backends = split.spec.backends.iter().map(|backend| &backend.service);
    let services = [&split.spec.service].into_iter().chain(backends.filter(|service| **service != split.spec.service));
    services.map(|service| Host { service, namespace: &split.metadata.namespace })
}

/// `*` or `*.DOMAIN`.
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    pattern.strip_prefix('*').is_some_and(|suffix| name.ends_with(suffix))
}

fn strings<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}
