//! Construction of rules from a configuration, in memory shared with the rules of earlier configurations.

use crate::configuration::plugin_configuration::Configuration;
use crate::configuration::service::HostRoot;
use crate::configuration::traffic_split::TrafficSplit;
use crate::routing::matching::MatchGroup;
use crate::routing::roots::{Entry, Root, RootTable};
use crate::routing::split::Split;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The splits of one root, before the root is complete.
struct RootDraft<'c, 'b> {
    /// `service.namespace`.
    name: String,
    first_split: &'c TrafficSplit,
    previous: Option<&'b Arc<Root>>,
    splits: Vec<Arc<Split>>,
}

/// Creates the roots of a configuration for a client in `client_namespace`. Roots, splits and groups that equal those
/// of the most similar of `others` are the same allocations.
pub(crate) fn roots<'o>(
    configuration: &Configuration,
    client_namespace: Option<&str>,
    others: impl Iterator<Item = &'o RootTable>,
) -> RootTable {
    let base = most_similar(configuration, others);
    let mut entries = groups(configuration, base);
    let (indexes, drafts) = drafts(configuration, &entries, base);
    let roots: Vec<_> = drafts.into_iter().map(|draft| finish(configuration, draft)).collect();
    // Service names are inserted last: they take precedence over names in `hosts`.
    for (host, HostRoot { service, port }) in &configuration.hosts {
        if let Some((_, root)) = indexes.get(service).and_then(|&index| roots.get(index)) {
            entries.insert((&**host).into(), Entry::Host(root.clone(), *port));
        }
    }
    for (split, root) in roots {
        if client_namespace == Some(&*split.metadata.namespace) {
            entries.insert((&*split.spec.service).into(), Entry::Root(root.clone()));
        }
        entries.insert(root.name.clone(), Entry::Root(root));
    }
    RootTable::new(base, &configuration.cluster_domain, entries)
}

/// Creates the entries of all HTTPRouteGroups, by `namespace/name`.
fn groups(configuration: &Configuration, base: Option<&RootTable>) -> BTreeMap<Arc<str>, Entry> {
    let mut entries = BTreeMap::new();
    for group in &configuration.http_route_groups {
        let key = format!("{}/{}", group.metadata.namespace, group.metadata.name);
        let known = base.and_then(|base| base.group(&key)).filter(|known| known.has_matches_of(group));
        entries.insert(key.into(), Entry::Group(known.cloned().unwrap_or_else(|| MatchGroup::new(group))));
    }
    entries
}

/// Collects the splits of each root in the order of the configuration. Returns the drafts and the index of each by
/// `namespace/service`.
fn drafts<'c, 'b>(
    configuration: &'c Configuration,
    groups: &BTreeMap<Arc<str>, Entry>,
    base: Option<&'b RootTable>,
) -> (BTreeMap<String, usize>, Vec<RootDraft<'c, 'b>>) {
    let group = |name: &str| match groups.get(name)? {
        Entry::Group(group) => Some(group.clone()),
        Entry::Root(_) | Entry::Host(..) => None,
    };
    let (mut indexes, mut drafts) = (BTreeMap::new(), Vec::new());
    for split in &configuration.traffic_splits {
        let (namespace, service) = (&*split.metadata.namespace, &*split.spec.service);
        let index = *indexes.entry(format!("{namespace}/{service}")).or_insert(drafts.len());
        if index == drafts.len() {
            let name = format!("{service}.{namespace}");
            let previous = base.and_then(|base| base.by_service_name(&name));
            drafts.push(RootDraft { name, first_split: split, previous, splits: Vec::new() });
        }
        if let Some(draft) = drafts.get_mut(index) {
            let key = split.key();
            let previous = draft.previous.and_then(|root| root.splits.iter().find(|split| *split.name == *key));
            let split = Split::new(configuration, group, split, previous.map(|split| &**split));
            draft.splits.push(match previous {
                Some(previous) if **previous == split => previous.clone(),
                _ => Arc::new(split),
            });
        }
    }
    (indexes, drafts)
}

/// Completes a root. Returns it with its first split, which has the names of its namespace and Service.
fn finish<'c>(configuration: &Configuration, draft: RootDraft<'c, '_>) -> (&'c TrafficSplit, Arc<Root>) {
    let RootDraft { name, first_split: split, previous, splits } = draft;
    let known = configuration.services.get(&format!("{}/{}", split.metadata.namespace, split.spec.service));
    let root = Root {
        name: previous.map_or_else(|| name.into(), |previous| previous.name.clone()),
        ports: known.and_then(|known| Some(known.ports.as_ref()?.keys().copied().collect())),
        splits: splits.into(),
    };
    match previous {
        Some(previous) if **previous == root => (split, previous.clone()),
        _ => (split, Arc::new(root)),
    }
}

/// Returns the table that is most similar to `configuration`, judged by a sample of its splits; `None` if no table has
/// a split of the sample. If several are equally similar, returns the first one.
fn most_similar<'o>(
    configuration: &Configuration,
    others: impl Iterator<Item = &'o RootTable>,
) -> Option<&'o RootTable> {
    const SAMPLE: usize = 16;
    const MAX_OTHERS: usize = 256;
    let splits = &configuration.traffic_splits;
    let step = splits.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<_> = (splits.iter().step_by(step))
        .map(|split| (format!("{}.{}", split.spec.service, split.metadata.namespace), split.key(), split))
        .collect();
    let mut best = None;
    let mut best_score = 0;
    for other in others.take(MAX_OTHERS) {
        let similarity = |(name, key, split): &(String, String, &TrafficSplit)| {
            let root = other.by_service_name(name)?;
            let known = root.splits.iter().find(|split| *split.name == **key)?;
            Some(if known.has_weights_of(split) { 2 } else { 1 })
        };
        let score = sample.iter().filter_map(similarity).sum();
        if score > best_score {
            (best, best_score) = (Some(other), score);
        }
        if best_score == 2 * sample.len() {
            break;
        }
    }
    best
}
