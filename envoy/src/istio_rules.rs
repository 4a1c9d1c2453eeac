//! What else Istio's objects say of a split's Services: rules that a split request bypasses, and clients that see the root
//! but not a backend. The words and patterns are those of Istio's reference for VirtualService, DestinationRule, Sidecar and
//! `networking.istio.io/exportTo`.

use crate::condition::Said;
use crate::document::{name, text};
use crate::snapshot::ClusterSnapshot;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use traffic_split::TrafficSplit;

/// Where a Service may be exported to: the annotation's key.
pub const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Istio's objects, read once for all splits: a mesh has thousands of either.
pub(crate) struct IstioRules<'c> {
    /// The cluster's, by `namespace/name`.
    services: &'c BTreeMap<String, &'c Value>,
    /// The Kubernetes cluster's DNS domain.
    domain: &'c str,
    /// What split requests bypass, and what to do about it.
    bypassed: Vec<(String, &'static str)>,
    /// Which of these name a host, by its DNS name.
    named: HashMap<String, Vec<usize>>,
    /// The same by the DNS name's end.
    wildcards: HashMap<&'c str, Vec<usize>>,
    /// The names of all Sidecars.
    sidecars: Vec<String>,
    /// The Sidecars whose egress lists a host, by the host's namespace (or `*`) and its DNS name.
    visible: HashMap<(&'c str, &'c str), Vec<usize>>,
    /// The same by the DNS name's end.
    visible_ends: HashMap<(&'c str, &'c str), Vec<usize>>,
    /// The lengths of all ends.
    end_lengths: BTreeSet<usize>,
}

/// The most objects that a message lists: other tenants may write any number of them.
const MAX_LISTED: usize = 10;

/// A Service, as rules name it.
struct Host<'s> {
    service: &'s str,
    namespace: &'s str,
    /// Its DNS name.
    full: String,
}

// === impl IstioRules ===

impl<'c> IstioRules<'c> {
    /// By `hash_header` split requests are hashed already.
    pub(crate) fn new(
        cluster: &'c ClusterSnapshot,
        services: &'c BTreeMap<String, &'c Value>,
        domain: &'c str,
        hash_header: Option<&str>,
    ) -> Self {
        let mut rules = Self {
            services,
            domain,
            bypassed: Vec::new(),
            named: HashMap::new(),
            wildcards: HashMap::new(),
            sidecars: cluster.sidecars.iter().map(|sidecar| name(sidecar)).collect(),
            visible: HashMap::new(),
            visible_ends: HashMap::new(),
            end_lengths: BTreeSet::new(),
        };
        for (number, sidecar) in cluster.sidecars.iter().enumerate() {
            rules.add_sidecar(number, sidecar);
        }
        for rule in &cluster.virtual_services {
            let gateways = strings(rule, "/spec/gateways");
            let is_of_mesh = gateways.is_empty() || gateways.contains(&"mesh");
            let has_routes = rule.pointer("/spec/http").and_then(Value::as_array).is_some_and(|http| !http.is_empty());
            if is_of_mesh && has_routes {
                let said = format!("the routes of VirtualService {}", name(rule));
                rules.add((said, ""), rule, strings(rule, "/spec/hosts"));
            }
        }
        for rule in cluster.destination_rules.iter().filter(|rule| hashes(rule, hash_header)) {
            let said = format!("consistentHash of DestinationRule {}", name(rule));
            rules.add((said, " (--hash-header has its effect)"), rule, text(rule, "/spec/host"));
        }
        rules
    }

    /// Hosts are DNS names, short names by the rule's namespace, or wildcards: `*` or `*.DOMAIN`.
    fn add(&mut self, said: (String, &'static str), rule: &Value, hosts: impl IntoIterator<Item = &'c str>) {
        let namespace = text(rule, "/metadata/namespace").unwrap_or_default();
        for host in hosts {
            if let Some(end) = host.strip_prefix('*') {
                self.end_lengths.insert(end.len());
                self.wildcards.entry(end).or_default().push(self.bypassed.len());
                continue;
            }
            let full = if host.contains('.') { host.to_owned() } else { self.host(host, namespace).full };
            self.named.entry(full).or_default().push(self.bypassed.len());
        }
        self.bypassed.push(said);
    }

    /// The entries `NAMESPACE/HOST` of a Sidecar's egress. Without any, it says nothing of what its pods call.
    fn add_sidecar(&mut self, number: usize, sidecar: &'c Value) {
        let own = text(sidecar, "/metadata/namespace").unwrap_or_default();
        let egress = sidecar.pointer("/spec/egress").and_then(Value::as_array);
        let patterns = egress.into_iter().flatten().flat_map(|egress| strings(egress, "/hosts"));
        for (namespace, host) in patterns.filter_map(|pattern| pattern.split_once('/')) {
            let namespace = if namespace == "." { own } else { namespace };
            let listed = match host.strip_prefix('*') {
                Some(end) => {
                    self.end_lengths.insert(end.len());
                    self.visible_ends.entry((namespace, end)).or_default()
                }
                None => self.visible.entry((namespace, host)).or_default(),
            };
            // One Sidecar may list a host any number of times.
            if listed.last() != Some(&number) {
                listed.push(number);
            }
        }
    }

    /// The Sidecars whose clients see a host.
    fn seen_by(&self, host: &Host<'_>) -> BTreeSet<usize> {
        let lists = [host.namespace, "*"].into_iter().flat_map(|namespace| {
            let ends = self.ends(&host.full).filter_map(move |end| self.visible_ends.get(&(namespace, end)));
            self.visible.get(&(namespace, host.full.as_str())).into_iter().chain(ends)
        });
        lists.flatten().copied().collect()
    }

    /// The ends of a DNS name that a wildcard may have.
    fn ends<'f>(&self, full: &'f str) -> impl Iterator<Item = &'f str> {
        self.end_lengths.iter().filter_map(|length| full.get(full.len().checked_sub(*length)?..))
    }

    /// Whether all that Istio's objects say of the root and the backends is so for split requests too. Their route is our
    /// own, and what a VirtualService's or a hashing load balancer's would have said doesn't reach it.
    pub(crate) fn apply(&self, split: &TrafficSplit) -> Said {
        let mut named = BTreeMap::new();
        let services = split.spec.backends.iter().map(|backend| &backend.service);
        for service in [&split.spec.service].into_iter().chain(services) {
            let full = self.host(service, &split.metadata.namespace).full;
            let wildcards = self.ends(&full).filter_map(|end| self.wildcards.get(end)).flatten();
            for rule in self.named.get(&full).into_iter().flatten().chain(wildcards).take(MAX_LISTED) {
                named.entry(*rule).or_insert(service);
            }
        }
        let bypassed = named.into_iter().map(|(rule, service)| {
            let (said, hint) = &self.bypassed[rule];
            format!("{said}, which names {service}{hint}")
        });
        let bypassed: Vec<_> = bypassed.take(MAX_LISTED).collect();
        if bypassed.is_empty() {
            return Said::yes("RulesApply");
        }
        Said::no("RulesBypassed", format!("split requests bypass {}", bypassed.join(", and ")))
    }

    /// Whether clients that see the root see every backend with weight. A proxy has no cluster of what it doesn't see, and
    /// answers 503.
    pub(crate) fn reachable(&self, split: &TrafficSplit) -> Said {
        let mut hidden = Vec::new();
        let backends = split.spec.backends.iter().filter(|backend| backend.has_weight());
        let backends = backends.map(|backend| self.host(&backend.service, &split.metadata.namespace));
        let backends: Vec<_> = backends.collect();
        let root = self.host(&split.spec.service, &split.metadata.namespace);
        let see_root = self.seen_by(&root);
        for backend in &backends {
            let see_backend = self.seen_by(backend);
            let blind = see_root.difference(&see_backend).filter_map(|number| self.sidecars.get(*number));
            let blind = blind.map(|sidecar| format!("{} from clients of Sidecar {sidecar}", backend.service));
            hidden.extend(blind.take(MAX_LISTED));
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
        for backend in &backends {
            let to = exported(backend).unwrap_or_else(|| everywhere.clone());
            if !to.contains("*") && !of_root.is_subset(&to) {
                let to: Vec<_> = to.into_iter().collect();
                hidden.push(format!("{} from clients outside of {} ({EXPORT_TO})", backend.service, to.join(", ")));
            }
        }
        if hidden.is_empty() {
            return Said::yes("Reachable");
        }
        hidden.truncate(MAX_LISTED);
        Said::no("BackendHidden", format!("503 for split requests: hidden is {}", hidden.join(", and ")))
    }

    fn host<'s>(&self, service: &'s str, namespace: &'s str) -> Host<'s> {
        Host { service, namespace, full: format!("{service}.{namespace}.svc.{}", self.domain) }
    }
}

/// Whether a DestinationRule has a load balancer, for all ports or for one, that hashes by anything but this header.
fn hashes(rule: &Value, header: Option<&str>) -> bool {
    let ports = rule.pointer("/spec/trafficPolicy/portLevelSettings").and_then(Value::as_array);
    let policies = rule.pointer("/spec/trafficPolicy").into_iter().chain(ports.into_iter().flatten());
    let mut hashes = policies.filter_map(|policy| policy.pointer("/loadBalancer/consistentHash"));
    hashes.any(|hash| {
        let by = text(hash, "/httpHeaderName");
        !by.zip(header).is_some_and(|(by, header)| by.eq_ignore_ascii_case(header))
    })
}

fn strings<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}
