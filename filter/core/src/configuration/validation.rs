//! Checks across the objects of a configuration: references, order of splits, distinct headers, budget.

use crate::configuration::budget::{Budget, Cost, Ledger};
use crate::configuration::plugin_configuration::Configuration;
use crate::configuration::problem::{Object, Problem};
use crate::configuration::reader::{Reader, quote};
use crate::configuration::traffic_split::TrafficSplit;
use std::collections::{BTreeMap, BTreeSet};

impl Configuration {
    /// Checks a split that is to be added to this configuration: the HTTPRouteGroups that it names exist, and its
    /// annotations name no header that the filter writes. `has_group` tells whether the split's namespace has a group
    /// of this name.
    ///
    /// # Errors
    /// Returns all problems, at least one.
    pub fn check_split(&self, split: &TrafficSplit, has_group: impl Fn(&str) -> bool) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let object = Object::TrafficSplit { index: 0, name: split.key() };
        check_references(self, split, has_group, &mut Reader { object, problems: &mut problems });
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Checks the filter's limits after Services were added to this configuration.
    ///
    /// # Errors
    /// Returns each limit that is exceeded, with the first object that exceeds it.
    pub fn check_budget(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        check_budget(self, &Budget::FILTER, &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Checks that split names are unique, that every split is reachable, and that its references exist. `indexes` has the
/// index of each split in `trafficSplits`, because `configuration` does not contain invalid splits.
pub(crate) fn check_splits(
    configuration: &Configuration,
    indexes: &[usize],
    groups: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) {
    let mut keys = BTreeSet::new();
    // The split without matches of each root: no split after it receives a request.
    let mut catch_all: BTreeMap<(&str, &str), &TrafficSplit> = BTreeMap::new();
    for (split, &index) in configuration.traffic_splits.iter().zip(indexes) {
        let key = split.key();
        let reader =
            &mut Reader { object: Object::TrafficSplit { index, name: key.clone() }, problems: &mut *problems };
        let namespace = &split.metadata.namespace;
        let root = &split.spec.service;
        if keys.contains(&key) {
            reader.problem("metadata.name", "is duplicated; rename or remove one of them");
            continue;
        }
        keys.insert(key);
        match catch_all.get(&(namespace.as_str(), root.as_str())).map(|other| other.key()) {
            Some(other) if split.spec.matches.is_empty() => {
                let message = format!(
                    "the root {root} already has the split {other} without matches; add matches to one of them"
                );
                reader.problem("spec.service", message);
            }
            Some(other) => {
                let message = format!(
                    "no request reaches this split: {other} has no matches and receives all requests to the root {root}; \
                     put {other} last"
                );
                reader.problem("spec.service", message);
            }
            None if split.spec.matches.is_empty() => _ = catch_all.insert((namespace, root), split),
            None => {}
        }
        check_references(configuration, split, |name| groups.contains(&format!("{namespace}/{name}")), reader);
    }
}

fn check_references(
    configuration: &Configuration,
    split: &TrafficSplit,
    has_group: impl Fn(&str) -> bool,
    reader: &mut Reader<'_>,
) {
    let namespace = &split.metadata.namespace;
    for (index, reference) in split.spec.matches.iter().enumerate() {
        if !has_group(&reference.name) {
            let name = quote(&reference.name);
            reader.problem(
                format!("spec.matches[{index}].name"),
                format!("there is no HTTPRouteGroup {name} in the namespace {namespace:?}"),
            );
        }
    }
    for (field, header) in split.metadata.annotations.headers() {
        if let Some((key, _)) = configuration.written_headers().iter().find(|(_, written)| *written == header) {
            reader.problem(field, format!("{header:?} is the {key}, which clients cannot send; use another header"));
        }
    }
}

/// Checks the budget. Reports the first object that exceeds each limit.
pub(crate) fn check_budget(configuration: &Configuration, budget: &Budget, problems: &mut Vec<Problem>) {
    let mut ledger = Ledger::new(*budget, configuration.base_cost());
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
    for (index, group) in configuration.http_route_groups.iter().enumerate() {
        let namespace = group.metadata.namespace.as_str();
        let cost = Cost::of_group(group);
        matching.insert((namespace, group.metadata.name.as_str()), cost);
        let name = format!("{namespace}/{}", group.metadata.name);
        spend(Object::HttpRouteGroup { index, name }, namespace, cost, None);
    }
    for (index, split) in configuration.traffic_splits.iter().enumerate() {
        let namespace = split.metadata.namespace.as_str();
        let groups = split.spec.matches.iter().filter_map(|group| matching.get(&(namespace, group.name.as_str())));
        let matching = groups.copied().fold(Cost::default(), Cost::plus).of_matching();
        let root = format!("{namespace}/{}", split.spec.service);
        let object = Object::TrafficSplit { index, name: split.key() };
        spend(object, namespace, Cost::of_split(split), Some((&root, matching)));
    }
    for (key, service) in &configuration.services {
        let namespace = key.split('/').next().unwrap_or_default();
        spend(Object::Service { name: key.clone() }, namespace, Cost::of_service(key, service), None);
    }
}

/// Checks that the headers that the filter writes have different names.
pub(crate) fn check_headers_differ(configuration: &Configuration, reader: &mut Reader<'_>) {
    let mut seen = BTreeMap::new();
    for (key, header) in configuration.written_headers().into_iter().filter(|(_, header)| !header.is_empty()) {
        if let Some(other) = seen.insert(header, key) {
            reader.problem(key, format!("{header:?} is also the {other}; they must differ"));
        }
    }
}
