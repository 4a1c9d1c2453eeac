//! Plans the EnvoyFilter's configuration for all TrafficSplits of a Kubernetes cluster, and each split's conditions. An invalid
//! split never affects other splits.

use crate::admission::{Admission, AdmissionResult, GroupVersions, SplitCandidate, claimed_root, group_keys};
use crate::condition::Condition;
use crate::istio::{IstioOptions, enabled_for_all_hosts};
use crate::istio_rules::IstioRules;
use crate::known_services::{KnownServices, ServedPorts, served_ports};
use crate::message::{Message, list_problems};
use crate::service_problems::service_problems;
use crate::snapshot::{ClusterSnapshot, SplitObject};
use crate::wiring;
use std::collections::{BTreeMap, BTreeSet};
use traffic_split::{Budget, Configuration, Cost, Exceeded, Ledger, Resource, Scope, TrafficSplit};

pub use crate::admission::ServedVersion;

/// The configuration for sidecars, and the status of each TrafficSplit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EnvoyFilterPlan {
    /// The configuration, without Services and HTTPRouteGroups that no split names.
    pub configuration: Configuration,
    /// The status of each TrafficSplit, by `namespace/name`.
    pub statuses: BTreeMap<String, SplitStatus>,
}

/// The conditions of a TrafficSplit, and the served weights. Names and reasons follow the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitStatus {
    /// Whether the object is valid.
    pub accepted: Condition,
    /// Whether the configuration contains the current version of the object.
    pub programmed: Condition,
    /// Whether the Services, ports and HTTPRouteGroups that the split names exist.
    pub resolved: Condition,
    /// Whether VirtualServices and DestinationRules of the split's Services also apply to split requests.
    pub rules_apply: Condition,
    /// Whether all clients that see the root also see all backends.
    pub reachable: Condition,
    /// The served weights, e.g. `httpbin-v1 50, httpbin-v2 50`; empty if the split is not served.
    pub backends: String,
    /// The version in the configuration.
    pub served_version: ServedVersion,
}

/// The end of a message about a split of which sidecars have no version.
const NOT_SERVED: &str = "this split is not served";

/// Why the configuration does not contain the current version of a valid object.
enum Withheld<'c> {
    /// The split, or a group that it names, exceeds a limit.
    TooLarge(Exceeded),
    /// The API server refuses the EnvoyFilter with this message.
    Refused(&'c str),
}

/// Plans the configuration of a cluster's sidecars. `base` holds the operator's settings: header names, cluster names and so on.
///
/// The configuration fits into `max_bytes` of an EnvoyFilter and into the filter's own budget. [`admission`](crate::admission)
/// decides which splits that do not fit keep their served version and which are left out.
///
/// Splits of one root with matches come first, ordered by age, then by name. The oldest split without matches comes last;
/// other splits without matches conflict with this split.
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
    // A lower limit removes no split that sidecars have.
    let budget = Budget::with_bytes(max_bytes.max(cost(&cluster.served).bytes));
    let service = |namespace: &str, name: &str, is_backend: bool| planner.services.entry(namespace, name, is_backend);
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

/// Plans the conditions after the API server refused the new EnvoyFilter with the message `why`: sidecars keep the served
/// configuration.
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
        // A split in conflict waits for the older split, not for the API server.
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

/// Returns the size of a configuration in an EnvoyFilter, in bytes: a JSON string, escaped as the API server stores it.
#[must_use]
pub fn stored_bytes(configuration: &Configuration) -> usize {
    let text = serde_json::to_string(configuration);
    text.map_or(usize::MAX, |text| text.len() + traffic_split::escape_bytes(text.as_bytes()) + 2)
}

/// Returns the cost of a configuration: the sum of its parts.
fn cost(configuration: &Configuration) -> Cost {
    let splits = configuration.traffic_splits.iter().map(Cost::of_split);
    let groups = configuration.http_route_groups.iter().map(Cost::of_group);
    let services = configuration.services.iter().map(|(key, service)| Cost::of_service(key, service));
    splits.chain(groups).chain(services).fold(configuration.base_cost(), Cost::plus)
}

struct Planner<'c> {
    cluster: &'c ClusterSnapshot,
    istio: &'c IstioOptions,
    /// The operator's settings, without splits, groups and Services.
    base: Configuration,
    groups: GroupVersions<'c>,
    services: KnownServices<'c>,
    /// The splits that sidecars have, by `namespace/name`.
    served: BTreeMap<String, &'c TrafficSplit>,
}

// === impl Planner ===

impl<'c> Planner<'c> {
    fn new(base: &'c Configuration, istio: &'c IstioOptions, cluster: &'c ClusterSnapshot) -> Self {
        let excluded = base.excluded_namespaces.iter().chain(&cluster.excluded_namespaces);
        let excluded: BTreeSet<_> = excluded.cloned().collect();
        let mut settings = wiring::filter_configuration(base);
        settings.excluded_namespaces = excluded.into_iter().collect();
        settings.traffic_splits.clear();
        settings.http_route_groups.clear();
        settings.services.clear();
        Self {
            cluster,
            istio,
            base: settings,
            groups: GroupVersions::new(cluster.http_route_groups.iter().map(|group| &**group), &cluster.served),
            services: KnownServices::of_cluster(cluster.services.iter().map(|service| &**service), &base.services),
            served: cluster.served.traffic_splits.iter().map(|split| (split.key(), split)).collect(),
        }
    }

    /// Returns all splits of the cluster, each with the versions that may be served.
    fn candidates(&self) -> Vec<SplitCandidate<'c>> {
        let splits = self.cluster.traffic_splits.iter();
        let candidate = |object: &'c SplitObject| SplitCandidate {
            object,
            current: object
                .split
                .as_ref()
                .ok()
                .filter(|split| self.check(split, |key| self.groups.resolves(key)).is_ok()),
            served: self.served.get(&object.key).copied(),
        };
        splits.map(|object| candidate(object)).collect()
    }

    /// Checks a valid split against the groups and the operator's settings. `has_group` tells whether a group counts as present,
    /// by `namespace/name`.
    fn check(&self, split: &TrafficSplit, has_group: impl Fn(&str) -> bool) -> Result<(), String> {
        let namespace = &split.metadata.namespace;
        let has_group = |name: &str| has_group(&format!("{namespace}/{name}"));
        self.base.check_split(split, has_group).map_err(|problems| list_problems(&problems))
    }

    /// Returns the problems of a split and of the groups that it names; empty if there are none.
    fn problems(&self, candidate: &SplitCandidate<'_>) -> String {
        if candidate.current.is_some() {
            return String::new();
        }
        let object = candidate.object;
        let checked;
        let own = match &object.split {
            // An invalid group is not missing: its own problems follow.
            Ok(split) => {
                checked = self.check(split, |key| self.groups.exists(key)).err().unwrap_or_default();
                &checked
            }
            Err(problems) => problems,
        };
        let mut message = Message::new();
        if !own.is_empty() {
            message.push(&[own]);
        }
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

    /// Returns whether sidecars have the current version of a split and of the groups that it names.
    fn is_served(&self, candidate: &SplitCandidate<'_>) -> bool {
        candidate.current.is_some_and(|current| {
            candidate.served == Some(current)
                && group_keys(current).all(|key| match self.groups.current(&key) {
                    Some(group) => self.groups.served(&key) == Some(group),
                    None => true,
                })
        })
    }

    /// Returns the plan with this configuration, and the status of each split.
    fn plan(
        &self,
        candidates: &[SplitCandidate<'c>],
        outcomes: impl IntoIterator<Item = (ServedVersion, Option<Withheld<'c>>, Option<String>)>,
        configuration: Configuration,
    ) -> EnvoyFilterPlan {
        let hash_header = self.istio.route.hash_header.as_deref();
        let rules = IstioRules::new(self.cluster, &self.services.objects, &configuration.cluster_domain, hash_header);
        let served_ports = served_ports(&configuration);
        let hint = enabled_for_all_hosts(&configuration, self.istio).unwrap_or_default();
        let status =
            |(candidate, outcome): (&SplitCandidate<'c>, (ServedVersion, Option<Withheld<'c>>, Option<String>))| {
                let (served_version, withheld, conflict) = outcome;
                let problems = self.problems(candidate);
                let split = match served_version {
                    ServedVersion::LastGood => candidate.served,
                    ServedVersion::Current | ServedVersion::NotServed => candidate.current.or(candidate.served),
                };
                let status = match (split, conflict) {
                    (Some(split), Some(winner)) if problems.is_empty() => {
                        SplitStatus::conflict(&split.spec.service, &winner)
                    }
                    (Some(split), None) if problems.is_empty() || served_version != ServedVersion::NotServed => {
                        let mut status =
                            self.split_status(split, served_version, problems, withheld, &served_ports, &rules);
                        if status.programmed.is_met {
                            status.programmed = Condition::met_with_hint("Programmed", hint.clone());
                        }
                        status
                    }
                    _ => SplitStatus::invalid(problems),
                };
                (candidate.object.key.clone(), status)
            };
        let statuses = candidates.iter().zip(outcomes).map(status).collect();
        drop((served_ports, rules));
        EnvoyFilterPlan { configuration, statuses }
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
            ServedVersion::NotServed => NOT_SERVED,
            ServedVersion::Current | ServedVersion::LastGood => "sidecars keep the version that they have",
        };
        let programmed = match (withheld, served_version) {
            (Some(Withheld::TooLarge(why)), _) => {
                let is_carrier = why.scope == Scope::Configuration && why.resource == Resource::Bytes;
                let operator = if is_carrier { ", or raise --max-bytes of the controller" } else { "" };
                Condition::unmet("TooLarge", format!("{}{operator}; {keep}", why.limit_text()))
            }
            (Some(Withheld::Refused(why)), _) => {
                Condition::unmet("Refused", format!("the API server refused the EnvoyFilter: {why}; {keep}"))
            }
            (None, ServedVersion::LastGood) => {
                Condition::unmet("LastGoodVersion", "sidecars have the last good version".into())
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

    /// Returns the condition `ResolvedRefs`: which Services, ports and groups are missing.
    fn resolved(&self, split: &TrafficSplit, served_ports: &ServedPorts<'_>) -> Condition {
        let namespace = split.metadata.namespace.as_str();
        let mut missing = Message::new();
        for problem in service_problems(split, &self.services, served_ports) {
            if !missing.push(&[&problem.message]) {
                break;
            }
        }
        for group in &split.spec.matches {
            let name = group.name.as_str();
            let key = format!("{namespace}/{name}");
            if missing.is_cut() {
                break;
            } else if !self.groups.exists(&key) {
                missing.push(&["HTTPRouteGroup ", name, " does not exist"]);
            } else if let Some(why) = self.groups.problems(&key).filter(|_| self.groups.served(&key).is_some()) {
                missing.push(&["HTTPRouteGroup ", name, ": ", why, "; sidecars have its last good version"]);
            }
        }
        let missing = missing.into_text();
        if missing.is_empty() { Condition::met("ResolvedRefs") } else { Condition::unmet("RefNotFound", missing) }
    }
}

// === impl SplitStatus ===

impl SplitStatus {
    fn nothing(accepted: Condition) -> Self {
        Self {
            accepted,
            programmed: Condition::unmet("NotServed", NOT_SERVED.into()),
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
            format!(
                "the older split {winner} without matches has the same root {root}; add matches to one of the splits"
            ),
        ))
    }

    /// Returns `Programmed`, or the reason of the first condition that is not met: the column STATE of `kubectl get`.
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
