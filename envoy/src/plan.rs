//! What sidecars get of what there is in a Kubernetes cluster, and what is said of each TrafficSplit. One that is wrong
//! never holds up the others.

use crate::admission::{Admission, AdmissionResult, GroupVersions, SplitCandidate, claimed_root, group_keys};
use crate::condition::Condition;
use crate::istio::IstioOptions;
use crate::istio_rules::IstioRules;
use crate::snapshot::{
    ClusterSnapshot, MAX_MESSAGE_CHARACTERS, Message, ServiceFacts, Services, SplitObject, one_line,
};
use crate::wiring;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use traffic_split::{Budget, Configuration, Cost, Exceeded, Ledger, Resource, Scope, Service, TrafficSplit};

pub use crate::admission::ServedVersion;

/// What sidecars get, and what is said of each TrafficSplit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EnvoyFilterPlan {
    /// What sidecars get: no more than they need.
    pub configuration: Configuration,
    /// By `namespace/name`.
    pub statuses: BTreeMap<String, SplitStatus>,
}

/// What is said of a TrafficSplit. The words are those of the Gateway API's conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitStatus {
    /// Whether the object, as it stands, is one that can be served.
    pub accepted: Condition,
    /// Whether sidecars are given it, as it stands.
    pub programmed: Condition,
    /// Whether what it names is there.
    pub resolved: Condition,
    /// Whether what Istio's objects say of its Services is so for split requests too.
    pub rules_apply: Condition,
    /// Whether clients that see the root see all backends.
    pub reachable: Condition,
    /// The weights that are served, e.g. `httpbin-v1 50, httpbin-v2 50`; empty if it isn't.
    pub backends: String,
    /// Which version of it is served.
    pub served_version: ServedVersion,
}

/// Why sidecars aren't given a valid object as it stands.
enum Withheld<'c> {
    /// It, or a group that it names, exceeds a limit.
    TooLarge(Exceeded),
    /// The API server refuses the EnvoyFilter, and this is its message.
    Refused(&'c str),
}

/// Plans what sidecars get of a cluster. `base` is what the operator says of the filter: header names, cluster names and
/// so on. All that is given out fits into `max_bytes` of an EnvoyFilter and into the filter's own budget; what does not
/// fit stays as it is served, or out, as [`admission`](crate::admission) decides.
///
/// Several splits of one root: those with matches come in the order of their age, then their name; the oldest without
/// matches comes last, and others without are in conflict with it.
#[must_use]
pub fn plan(
    base: &Configuration,
    istio: &IstioOptions,
    cluster: &ClusterSnapshot,
    max_bytes: usize,
) -> EnvoyFilterPlan {
    let planner = Planner::new(base, istio, cluster);
    let candidates = planner.candidates();
    let max_bytes = u64::try_from(istio.max_configuration_bytes(max_bytes)).unwrap_or(u64::MAX);
    // What sidecars have stays if the limit is lowered.
    let budget = Budget::with_bytes(max_bytes.max(cost(&cluster.served).bytes));
    let service = |namespace: &str, name: &str, is_backend: bool| planner.service(namespace, name, is_backend);
    let mut admission =
        Admission::new(&candidates, &planner.groups, Ledger::new(budget, planner.base.base_cost()), service);
    let admitted = admission.run();
    let splits = candidates.iter().zip(&admitted).filter_map(|(candidate, admitted)| match admitted.served_version {
        ServedVersion::Current => Some((candidate, candidate.current?)),
        ServedVersion::LastGood => Some((candidate, candidate.served?)),
        ServedVersion::NotServed => None,
    });
    let mut splits: Vec<_> = splits.collect();
    splits.sort_by_key(|(candidate, split)| (split.spec.matches.is_empty(), candidate.age()));
    let mut configuration = planner.base.clone();
    configuration.traffic_splits = splits.into_iter().map(|(_, split)| split.clone()).collect();
    configuration.http_route_groups = admission.chosen_groups.values().map(|(group, _)| (*group).clone()).collect();
    configuration.services = std::mem::take(&mut admission.services);
    let outcomes = admitted.into_iter().map(|AdmissionResult { served_version, exceeded, conflict }| {
        (served_version, exceeded.map(Withheld::TooLarge), conflict)
    });
    planner.plan(&candidates, outcomes, configuration)
}

/// Plans what is to be said if sidecars keep what they have, because the API server refuses another EnvoyFilter with the
/// message `why`.
#[must_use]
pub fn plan_after_refusal(
    base: &Configuration,
    istio: &IstioOptions,
    cluster: &ClusterSnapshot,
    why: &str,
) -> EnvoyFilterPlan {
    let planner = Planner::new(base, istio, cluster);
    let candidates = planner.candidates();
    let mut order: Vec<_> = (0..candidates.len()).collect();
    order.sort_by_key(|&index| candidates[index].age());
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for &index in &order {
        if let Some(root) = candidates[index].served.and_then(claimed_root) {
            owners.entry(root).or_insert(index);
        }
    }
    let outcomes = candidates.iter().map(|candidate| {
        let SplitCandidate { current, served, .. } = candidate;
        let is_same = planner.is_served(candidate);
        let served_version = match (is_same, served) {
            (true, _) => ServedVersion::Current,
            (false, Some(_)) => ServedVersion::LastGood,
            (false, None) => ServedVersion::NotServed,
        };
        // The younger of two that want a root waits for the older, and not for the API server.
        let root = served.or(*current).and_then(claimed_root);
        let older = root.and_then(|root| owners.get(&root)).map(|&index| &candidates[index]);
        let conflict = older.filter(|older| older.age() < candidate.age()).map(|older| older.object.key.clone());
        match conflict {
            Some(conflict) => (ServedVersion::NotServed, None, Some(conflict)),
            None => (served_version, (!is_same && current.is_some()).then_some(Withheld::Refused(why)), None),
        }
    });
    let outcomes: Vec<_> = outcomes.collect();
    planner.plan(&candidates, outcomes, Configuration::clone(&cluster.served))
}

/// Returns the bytes that a configuration takes in an EnvoyFilter, where it is a string, as the API server stores it.
#[must_use]
pub fn stored_bytes(configuration: &Configuration) -> usize {
    let text = serde_json::to_string(configuration);
    text.map_or(usize::MAX, |text| text.len() + traffic_split::escape_bytes(text.as_bytes()) + 2)
}

/// What a configuration costs as the sum of its parts.
fn cost(configuration: &Configuration) -> Cost {
    let splits = configuration.traffic_splits.iter().map(Cost::of_split);
    let groups = configuration.http_route_groups.iter().map(Cost::of_group);
    let services = configuration.services.iter().map(|(key, service)| Cost::of_service(key, service));
    splits.chain(groups).chain(services).fold(configuration.base_cost(), Cost::plus)
}

struct Planner<'c> {
    cluster: &'c ClusterSnapshot,
    istio: &'c IstioOptions,
    /// All of the configuration but splits, groups and Services.
    base: Configuration,
    /// What the operator says of Services.
    known_services: &'c BTreeMap<String, Service>,
    groups: GroupVersions<'c>,
    services: Services<'c>,
    /// What sidecars have, by `namespace/name`.
    served: BTreeMap<String, &'c TrafficSplit>,
}

// === impl Planner ===

impl<'c> Planner<'c> {
    fn new(base: &'c Configuration, istio: &'c IstioOptions, cluster: &'c ClusterSnapshot) -> Self {
        let excluded = base.excluded_namespaces.iter().chain(&cluster.excluded_namespaces);
        let excluded: BTreeSet<_> = excluded.cloned().collect();
        let mut whole = wiring::filter_configuration(base);
        whole.excluded_namespaces = excluded.into_iter().collect();
        whole.traffic_splits.clear();
        whole.http_route_groups.clear();
        whole.services.clear();
        Self {
            cluster,
            istio,
            base: whole,
            known_services: &base.services,
            groups: GroupVersions::new(cluster.http_route_groups.iter().map(|group| &**group), &cluster.served),
            services: ServiceFacts::all(&cluster.services),
            served: cluster.served.traffic_splits.iter().map(|split| (split.key(), split)).collect(),
        }
    }

    /// All splits of the cluster, with the versions that may be given out.
    fn candidates(&self) -> Vec<SplitCandidate<'c>> {
        let splits = self.cluster.traffic_splits.iter();
        let candidate = |object: &'c SplitObject| SplitCandidate {
            object,
            current: object.split.as_ref().ok().filter(|split| self.check(split).is_ok()),
            served: self.served.get(&object.key).copied(),
        };
        splits.map(|object| candidate(object)).collect()
    }

    /// Checks a valid split beside the groups and the operator's configuration.
    fn check(&self, split: &TrafficSplit) -> Result<(), String> {
        let namespace = &split.metadata.namespace;
        let has_group = |name: &str| self.groups.resolves(&format!("{namespace}/{name}"));
        self.base.check_split(split, has_group).map_err(|problems| one_line(&problems))
    }

    /// All that is wrong with a split, with what is wrong with the groups that it names; empty if nothing is.
    fn problems(&self, object: &SplitObject) -> String {
        let checked;
        let own = match &object.split {
            Ok(split) => match self.check(split) {
                Ok(()) => return String::new(),
                Err(problems) => {
                    checked = problems;
                    &checked
                }
            },
            Err(problems) => problems,
        };
        let mut message = Message::new(MAX_MESSAGE_CHARACTERS - 1);
        message.push(&[own]);
        let namespace = object.key.split('/').next().unwrap_or_default();
        for name in &object.group_names {
            let key = format!("{namespace}/{name}");
            if let Some(why) = self.groups.problems(&key).filter(|_| self.groups.served(&key).is_none())
                && !message.push(&["HTTPRouteGroup ", name, ": ", why])
            {
                break;
            }
        }
        message.into_text()
    }

    /// Whether sidecars have a split, and the groups that it names, as the objects stand.
    fn is_served(&self, candidate: &SplitCandidate<'_>) -> bool {
        candidate.current.is_some_and(|current| {
            candidate.served == Some(current)
                && group_keys(current).all(|key| match self.groups.current(&key) {
                    Some(group) => self.groups.served(&key) == Some(group),
                    None => true,
                })
        })
    }

    /// What sidecars get to know of a Service: what the operator says comes before what the cluster says.
    fn service(&self, namespace: &str, name: &str, is_backend: bool) -> Option<Service> {
        let known = self.known_services.get(&format!("{namespace}/{name}"));
        let ports = match is_backend && self.no_traffic_reason(namespace, name).is_some() {
            true => Some([].as_slice()),
            false => self.services.get(&(namespace, name)).and_then(ServiceFacts::ports),
        };
        let ports = ports.map(|ports| ports.iter().map(|port| (*port, port.to_string())).collect());
        if known.is_none() && ports.is_none() {
            return None;
        }
        let mut service = known.cloned().unwrap_or_default();
        service.ports = service.ports.or(ports);
        Some(service)
    }

    /// This configuration, and what is said of each split.
    fn plan(
        &self,
        candidates: &[SplitCandidate<'c>],
        outcomes: impl IntoIterator<Item = (ServedVersion, Option<Withheld<'c>>, Option<String>)>,
        configuration: Configuration,
    ) -> EnvoyFilterPlan {
        let hash_header = self.istio.route.hash_header.as_deref();
        let rules = IstioRules::new(self.cluster, &self.services, &configuration.cluster_domain, hash_header);
        let served_ports = served_ports(&configuration);
        let status =
            |(candidate, outcome): (&SplitCandidate<'c>, (ServedVersion, Option<Withheld<'c>>, Option<String>))| {
                let (served_version, withheld, conflict) = outcome;
                let problems = self.problems(candidate.object);
                let split = match served_version {
                    ServedVersion::LastGood => candidate.served,
                    ServedVersion::Current | ServedVersion::NotServed => candidate.current.or(candidate.served),
                };
                let status = match (split, conflict) {
                    (Some(split), Some(winner)) if problems.is_empty() => {
                        SplitStatus::conflict(&split.spec.service, &winner)
                    }
                    (Some(split), None) if problems.is_empty() || served_version != ServedVersion::NotServed => {
                        self.split_status(split, served_version, problems, withheld, &served_ports, &rules)
                    }
                    _ => SplitStatus::invalid(problems),
                };
                (candidate.object.key.clone(), status)
            };
        let statuses = candidates.iter().zip(outcomes).map(status).collect();
        drop((served_ports, rules));
        EnvoyFilterPlan { configuration, statuses }
    }

    /// Why a backend gets nothing, in words that follow its name.
    fn no_traffic_reason(&self, namespace: &str, name: &str) -> Option<&'static str> {
        match self.services.get(&(namespace, name)) {
            Some(service) => service.no_traffic_reason(),
            None => Some("isn't there"),
        }
    }

    fn split_status<'r>(
        &self,
        split: &'r TrafficSplit,
        served_version: ServedVersion,
        problems: String,
        withheld: Option<Withheld<'_>>,
        served_ports: &ServedPorts<'_>,
        rules: &IstioRules<'r>,
    ) -> SplitStatus {
        let keep = match served_version {
            ServedVersion::NotServed => "clients are served as if it weren't there",
            ServedVersion::Current | ServedVersion::LastGood => "sidecars keep what they have of it",
        };
        let programmed = match (withheld, served_version) {
            (Some(Withheld::TooLarge(why)), _) => {
                let is_carrier = why.scope == Scope::Configuration && why.resource == Resource::Bytes;
                let operator = if is_carrier { ", or raise --max-bytes of the controller" } else { "" };
                Condition::unmet("TooLarge", format!("{}{operator}; {keep}", why.limit_text()))
            }
            (Some(Withheld::Refused(why)), _) => {
                Condition::unmet("Refused", format!("the API server doesn't take the EnvoyFilter: {why}; {keep}"))
            }
            (None, ServedVersion::LastGood) => {
                Condition::unmet("LastGoodVersion", "sidecars have its last good version".into())
            }
            (None, ServedVersion::Current | ServedVersion::NotServed) => Condition::met("Programmed"),
        };
        let accepted =
            if problems.is_empty() { Condition::met("Accepted") } else { Condition::unmet("Invalid", problems) };
        let backends: Vec<_> = (split.spec.backends.iter())
            .filter(|_| served_version != ServedVersion::NotServed)
            .map(|backend| format!("{} {}", backend.service, backend.weight.unwrap_or_default()))
            .collect();
        SplitStatus {
            accepted,
            programmed,
            resolved: self.resolved(split, served_ports),
            rules_apply: rules.apply(split),
            reachable: rules.reachable(split),
            backends: backends.join(", "),
            served_version,
        }
    }

    /// What it names, and isn't there.
    fn resolved(&self, split: &TrafficSplit, served_ports: &ServedPorts<'_>) -> Condition {
        let namespace = split.metadata.namespace.as_str();
        let root = split.spec.service.as_str();
        let mut missing = Message::new(MAX_MESSAGE_CHARACTERS - 1);
        if !self.services.contains_key(&(namespace, root)) {
            missing.push(&["Service ", root, ", the root, isn't there"]);
        }
        let ports_of = |service| served_ports.get(&(namespace, service)).map(Vec::as_slice).unwrap_or_default();
        let root_ports = ports_of(root);
        // One without weight gets nothing anyway: canary tools delete and make them as they like.
        for backend in split.spec.backends.iter().filter(|backend| backend.has_weight()) {
            let service = backend.service.as_str();
            let ports = ports_of(service);
            // Unless the operator says that it has ports.
            if let Some(why) = self.no_traffic_reason(namespace, service)
                && ports.is_empty()
            {
                missing.push(&["Service ", service, " ", why, ": it gets nothing"]);
            } else if let Some(lacks) = lacking(root_ports, ports) {
                missing.push(&["Service ", service, " has no port ", &lacks, ": it gets nothing there"]);
            }
            if missing.is_full() {
                break;
            }
        }
        for group in &split.spec.matches {
            let name = group.name.as_str();
            let key = format!("{namespace}/{name}");
            if missing.is_full() {
                break;
            } else if !self.groups.exists(&key) {
                missing.push(&["there is no HTTPRouteGroup ", name]);
            } else if let Some(why) = self.groups.problems(&key).filter(|_| self.groups.served(&key).is_some()) {
                missing.push(&["HTTPRouteGroup ", name, ": ", why, "; sidecars have its last good version"]);
            }
        }
        let missing = missing.into_text();
        if missing.is_empty() { Condition::met("ResolvedRefs") } else { Condition::unmet("RefNotFound", missing) }
    }
}

/// The ports that sidecars know of each Service, sorted, by namespace and name.
type ServedPorts<'s> = HashMap<(&'s str, &'s str), Vec<u16>>;

fn served_ports(configuration: &Configuration) -> ServedPorts<'_> {
    let services = configuration.services.iter();
    let services = services.filter_map(|(key, service)| Some((key.split_once('/')?, service.ports.as_ref()?)));
    services.map(|(key, ports)| (key, ports.keys().copied().collect())).collect()
}

/// Lists the ports of a root that a backend lacks, both sorted; `None` if it lacks none.
fn lacking(root: &[u16], backend: &[u16]) -> Option<String> {
    /// The most ports that a message lists of one backend.
    const MAX_LISTED_PORTS: usize = 20;
    if root == backend {
        return None;
    }
    let mut others = backend.iter().peekable();
    let lacks = root.iter().filter(|port| {
        while others.next_if(|other| other < port).is_some() {}
        others.peek() != Some(port)
    });
    let mut lacks: Vec<_> = lacks.take(MAX_LISTED_PORTS + 1).map(u16::to_string).collect();
    if let Some(last) = lacks.get_mut(MAX_LISTED_PORTS) {
        *last = "…".into();
    }
    (!lacks.is_empty()).then(|| lacks.join(", "))
}

// === impl SplitStatus ===

impl SplitStatus {
    fn nothing(accepted: Condition) -> Self {
        Self {
            accepted,
            programmed: Condition::unmet("NotServed", "clients are served as if it weren't there".into()),
            resolved: Condition::met("ResolvedRefs"),
            rules_apply: Condition::met("RulesApply"),
            reachable: Condition::met("Reachable"),
            backends: String::new(),
            served_version: ServedVersion::NotServed,
        }
    }

    fn invalid(problems: String) -> Self {
        Self::nothing(Condition::unmet("Invalid", problems))
    }

    fn conflict(root: &str, winner: &str) -> Self {
        Self::nothing(Condition::unmet(
            "Conflict",
            format!("the root {root} already has the split {winner}, which is older; only one may be without matches"),
        ))
    }

    /// In a word, for people who list them.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (&self.accepted, &self.programmed) {
            (accepted, _) if !accepted.is_met => accepted.reason,
            (_, programmed) if !programmed.is_met => programmed.reason,
            _ if !self.resolved.is_met => self.resolved.reason,
            _ if !self.reachable.is_met => self.reachable.reason,
            (_, programmed) => programmed.reason,
        }
    }
}
