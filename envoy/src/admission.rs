//! Decides which splits are served, and in which version, if not all fit into the budget.
//!
//! Splits are admitted one by one, always from the namespace with the smallest share so far (progressive filling by dominant
//! share, as in Ghodsi et al., *Dominant Resource Fairness*, NSDI 2011). A namespace that needs little gets all it needs, and
//! other namespaces share the rest. Within a namespace, served splits come first, then older splits. If the current version of
//! a split no longer fits, its served version stays.

use crate::snapshot::{GroupObject, SplitObject};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use traffic_split::{Configuration, Cost, Exceeded, HttpRouteGroup, Ledger, Service, TrafficSplit};

/// The versions of HTTPRouteGroups, by `namespace/name`.
#[derive(Default)]
pub(crate) struct GroupVersions<'c> {
    objects: BTreeMap<&'c str, &'c GroupObject>,
    served: BTreeMap<String, &'c HttpRouteGroup>,
}

/// A split that may be served.
pub(crate) struct SplitCandidate<'c> {
    pub(crate) object: &'c SplitObject,
    /// The current version of the object, if it is valid.
    pub(crate) current: Option<&'c TrafficSplit>,
    /// The version that sidecars have, if any.
    pub(crate) served: Option<&'c TrafficSplit>,
}

/// The version of a split in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedVersion {
    /// The current version of the object.
    Current,
    /// An earlier version, which sidecars already have.
    LastGood,
    /// No version.
    NotServed,
}

/// The decision about a candidate.
pub(crate) struct AdmissionResult {
    pub(crate) served_version: ServedVersion,
    /// The limit that the current version of the object, or of a group that it names, exceeds.
    pub(crate) exceeded: Option<Exceeded>,
    /// The older split without matches of the same root: `namespace/name`.
    pub(crate) conflict: Option<String>,
}

/// A Service's namespace and name, and whether a split uses it as a backend.
type ServiceUse<'c> = (&'c str, &'c str, bool);

/// Assigns the budget to candidates.
pub(crate) struct Admission<'c, S> {
    candidates: &'c [SplitCandidate<'c>],
    groups: &'c GroupVersions<'c>,
    /// Returns the entry of `services` for a Service, by namespace, name and whether it is a backend.
    service: S,
    /// The results of `service` with their cost, cached because splits share Services and a Service may have many ports.
    priced: HashMap<ServiceUse<'c>, Option<(Service, Cost)>>,
    /// The Services in `services`, and whether each is used as a backend.
    admitted: HashMap<(&'c str, &'c str), bool>,
    ledger: Ledger,
    results: Vec<Option<AdmissionResult>>,
    /// The candidates with a version without matches, by `namespace/root`, the oldest first.
    claimants: BTreeMap<String, Vec<usize>>,
    /// The split that takes all requests of a root, by `namespace/root`.
    owners: BTreeMap<String, usize>,
    /// The served groups, and whether each is the current version of its object.
    pub(crate) chosen_groups: BTreeMap<String, (&'c HttpRouteGroup, bool)>,
    pub(crate) services: BTreeMap<String, Service>,
}

// === impl GroupVersions ===

impl<'c> GroupVersions<'c> {
    pub(crate) fn new(objects: impl IntoIterator<Item = &'c GroupObject>, served: &'c Configuration) -> Self {
        let key = |group: &HttpRouteGroup| format!("{}/{}", group.metadata.namespace, group.metadata.name);
        Self {
            objects: objects.into_iter().map(|group| (group.key.as_str(), group)).collect(),
            served: served.http_route_groups.iter().map(|group| (key(group), group)).collect(),
        }
    }

    /// Returns the problems of a group; `None` if the group is valid or does not exist.
    pub(crate) fn problems(&self, key: &str) -> Option<&'c str> {
        self.objects.get(key)?.group.as_ref().err().map(String::as_str)
    }

    pub(crate) fn exists(&self, key: &str) -> bool {
        self.objects.contains_key(key)
    }

    pub(crate) fn current(&self, key: &str) -> Option<&'c HttpRouteGroup> {
        self.objects.get(key)?.group.as_ref().ok()
    }

    pub(crate) fn served(&self, key: &str) -> Option<&'c HttpRouteGroup> {
        self.served.get(key).copied()
    }

    /// Returns the version of a group for a split: the current version, else the served version. The current version of a
    /// split uses the served version of a group only while the group's object exists.
    fn version(&self, key: &str, for_served: bool) -> Option<&'c HttpRouteGroup> {
        self.current(key).or_else(|| self.served(key).filter(|_| for_served || self.exists(key)))
    }

    /// Returns the cost of a version of a group.
    fn cost(&self, key: &str, group: &HttpRouteGroup) -> Cost {
        match self.objects.get(key) {
            Some(object) if object.group.as_ref().is_ok_and(|current| std::ptr::eq(current, group)) => object.cost,
            _ => Cost::of_group(group),
        }
    }

    /// Returns whether the current version of a split may name this group.
    pub(crate) fn resolves(&self, key: &str) -> bool {
        self.version(key, false).is_some()
    }
}

// === impl SplitCandidate ===

impl SplitCandidate<'_> {
    /// Returns the sort key for age: the creation time, then `namespace/name`.
    pub(crate) fn age(&self) -> (&str, &str) {
        (&self.object.created, &self.object.key)
    }

    fn namespace(&self) -> &str {
        self.object.key.split('/').next().unwrap_or_default()
    }
}

/// Returns the key of the root whose remaining requests a split takes; `None` if the split has matches.
pub(crate) fn claimed_root(split: &TrafficSplit) -> Option<String> {
    split.spec.matches.is_empty().then(|| root_key(split))
}

fn root_key(split: &TrafficSplit) -> String {
    format!("{}/{}", split.metadata.namespace, split.spec.service)
}

pub(crate) fn group_keys(split: &TrafficSplit) -> impl Iterator<Item = String> {
    split.spec.matches.iter().map(|group| format!("{}/{}", split.metadata.namespace, group.name))
}

// === impl Admission ===

impl<'c, S: Fn(&str, &str, bool) -> Option<Service>> Admission<'c, S> {
    pub(crate) fn new(
        candidates: &'c [SplitCandidate<'c>],
        groups: &'c GroupVersions<'c>,
        ledger: Ledger,
        service: S,
    ) -> Self {
        let mut claimants: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut by_age: Vec<_> = (0..candidates.len()).collect();
        by_age.sort_by_key(|&index| candidates[index].age());
        for &index in &by_age {
            let versions = [candidates[index].current, candidates[index].served];
            let roots: BTreeSet<_> = versions.into_iter().flatten().filter_map(claimed_root).collect();
            for root in roots {
                claimants.entry(root).or_default().push(index);
            }
        }
        Self {
            candidates,
            groups,
            service,
            priced: HashMap::new(),
            admitted: HashMap::new(),
            ledger,
            results: candidates.iter().map(|_| None).collect(),
            claimants,
            owners: BTreeMap::new(),
            chosen_groups: BTreeMap::new(),
            services: BTreeMap::new(),
        }
    }

    /// Decides on every candidate. The results are in the candidates' order.
    pub(crate) fn run(&mut self) -> Vec<AdmissionResult> {
        let candidates = self.candidates;
        let mut order: Vec<_> = (0..candidates.len()).collect();
        order.sort_by_key(|&index| (candidates[index].served.is_none(), candidates[index].age()));
        let mut queues: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
        for index in order {
            queues.entry(candidates[index].namespace()).or_default().push_back(index);
        }
        // Ordered by share, then by name.
        let mut turns: BTreeSet<(u64, &str)> = queues.keys().map(|namespace| (0, *namespace)).collect();
        while let Some((_, namespace)) = turns.pop_first() {
            let Some(next) = queues.get_mut(namespace).and_then(VecDeque::pop_front) else { continue };
            self.decide(next);
            let total = self.ledger.budget().total;
            turns.insert((self.ledger.of_namespace(namespace).dominant_share(&total), namespace));
        }
        let nothing = || AdmissionResult { served_version: ServedVersion::NotServed, exceeded: None, conflict: None };
        self.results.iter_mut().map(|result| result.take().unwrap_or_else(nothing)).collect()
    }

    /// Admits the current version of a candidate, else the served version.
    fn decide(&mut self, index: usize) {
        if self.results[index].is_some() {
            return;
        }
        let candidate = &self.candidates[index];
        let mut admitted = AdmissionResult { served_version: ServedVersion::NotServed, exceeded: None, conflict: None };
        let versions = [(candidate.current, ServedVersion::Current), (candidate.served, ServedVersion::LastGood)];
        for (split, version) in versions.into_iter().filter_map(|(split, version)| Some((split?, version))) {
            let root = claimed_root(split);
            if let Some(owner) = root.as_ref().and_then(|root| self.owner(root, index)) {
                admitted.conflict = Some(self.candidates[owner].object.key.clone());
                continue;
            }
            let cost = match version {
                ServedVersion::Current => candidate.object.cost,
                ServedVersion::LastGood | ServedVersion::NotServed => Cost::of_split(split),
            };
            match self.admit(split, cost, version == ServedVersion::LastGood) {
                Ok(held) => {
                    admitted.exceeded = admitted.exceeded.or(held);
                    (admitted.served_version, admitted.conflict) = (version, None);
                    if let Some(root) = root {
                        self.owners.insert(root, index);
                    }
                    break;
                }
                Err(why) => admitted.exceeded = admitted.exceeded.or(why),
            }
        }
        self.results[index] = Some(admitted);
    }

    /// Returns the split without matches that takes the remaining requests of a root. Decides on all older candidates first.
    fn owner(&mut self, root: &str, index: usize) -> Option<usize> {
        // All candidates that are older than the owner are already decided.
        if let Some(owner) = self.owners.get(root) {
            return Some(*owner);
        }
        let claimants = self.claimants.get(root).cloned().unwrap_or_default();
        for older in claimants.into_iter().take_while(|&older| older != index) {
            self.decide(older);
        }
        self.owners.get(root).copied()
    }

    /// Spends the cost of one version of a split, with the groups and Services that no other split has paid for: the current
    /// versions of the groups, else the served ones. Returns the limit that the current version of a group exceeds.
    fn admit(
        &mut self,
        split: &'c TrafficSplit,
        cost: Cost,
        is_served: bool,
    ) -> Result<Option<Exceeded>, Option<Exceeded>> {
        // A cheap check, which refuses most splits that do not fit.
        self.ledger.check(&split.metadata.namespace, cost, None).map_err(Some)?;
        let mut exceeded = None;
        let has_groups = !split.spec.matches.is_empty();
        for prefer_served in [false, true].into_iter().take(1 + usize::from(has_groups)) {
            match self.spend(split, cost, is_served, prefer_served) {
                Ok(()) => return Ok(exceeded),
                Err(why) => exceeded = exceeded.or(why),
            }
        }
        Err(exceeded)
    }

    fn spend(
        &mut self,
        split: &'c TrafficSplit,
        mut cost: Cost,
        is_served: bool,
        prefer_served: bool,
    ) -> Result<(), Option<Exceeded>> {
        let mut matching = Cost::default();
        let mut new_groups = Vec::new();
        for key in group_keys(split) {
            let of_group = if let Some((group, _)) = self.chosen_groups.get(&key) {
                self.groups.cost(&key, group)
            } else {
                let served = self.groups.served(&key).filter(|_| prefer_served);
                // A split whose group exists in no version cannot be served.
                let group = served.or_else(|| self.groups.version(&key, is_served)).ok_or(None)?;
                let is_current = self.groups.current(&key).is_some_and(|current| std::ptr::eq(current, group));
                let of_group = self.groups.cost(&key, group);
                cost = cost.plus(of_group);
                new_groups.push((key, (group, is_current)));
                of_group
            };
            matching = matching.plus(of_group.of_matching());
        }
        let mut new_services = Vec::new();
        let namespace = &split.metadata.namespace;
        let backends = split.spec.backends.iter().map(|backend| (&backend.service, true));
        for (name, is_backend) in [(&split.spec.service, false)].into_iter().chain(backends) {
            let admitted = self.admitted.get(&(namespace.as_str(), name.as_str())).copied();
            // An entry for a backend also serves a root.
            if admitted.is_some_and(|as_backend| as_backend || !is_backend) {
                continue;
            }
            let service = &self.service;
            let priced = self.priced.entry((namespace, name, is_backend)).or_insert_with(|| {
                let service = service(namespace, name, is_backend)?;
                let cost = Cost::of_service(&format!("{namespace}/{name}"), &service);
                Some((service, cost))
            });
            let Some((_, of_service)) = priced else { continue };
            if admitted.is_none() {
                cost = cost.plus(*of_service);
            }
            new_services.push((name.as_str(), is_backend));
        }
        self.ledger.spend(namespace, cost, Some((&root_key(split), matching))).map_err(Some)?;
        self.chosen_groups.extend(new_groups);
        for (name, is_backend) in new_services {
            let Some(Some((service, _))) = self.priced.get(&(namespace.as_str(), name, is_backend)) else { continue };
            self.services.insert(format!("{namespace}/{name}"), service.clone());
            self.admitted.insert((namespace, name), is_backend);
        }
        Ok(())
    }
}
