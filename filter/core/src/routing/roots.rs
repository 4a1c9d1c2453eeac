//! Root lookup: the root Service that a request's host names.

use crate::configuration::names;
use crate::routing::authority::{Authority, Port};
use crate::routing::matching::MatchGroup;
use crate::routing::port::GivenPort;
use crate::routing::split::Split;
use rpds::HashTrieMapSync;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A root Service.
#[derive(Debug, PartialEq)]
pub(crate) struct Root {
    /// `service.namespace`.
    pub(crate) name: Arc<str>,
    /// Its ports in ascending order; `None` if unknown.
    pub(crate) ports: Option<Box<[u16]>>,
    /// In the order in which they are tried: the first that accepts a request decides.
    pub(crate) splits: Box<[Arc<Split>]>,
}

/// All roots by host name. The cost of a lookup does not depend on the number of splits.
#[derive(Debug)]
pub(crate) struct RootTable {
    cluster_domain: Arc<str>,
    entries: HashTrieMapSync<Arc<str>, Entry>,
}

/// An entry of a [`RootTable`]. One map holds all kinds, because each type of map adds 15 kB to the filter.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// By a Service name that clients use: `service.namespace`, and in the client's own namespace also `service`.
    Root(Arc<Root>),
    /// By a name in `hosts`, with the port that the operator configured.
    Host(Arc<Root>, Option<u16>),
    /// By `namespace/name`, which is not a host name. Kept only so that later rules can share the group.
    Group(MatchGroup),
}

// === impl RootTable ===

impl RootTable {
    /// Creates a table. The table shares memory with `base` where entries of both are the same allocation.
    pub(crate) fn new(base: Option<&Self>, cluster_domain: &str, entries: BTreeMap<Arc<str>, Entry>) -> Self {
        let mut map = base.map_or_else(HashTrieMapSync::new_sync, |base| base.entries.clone());
        let removed: Vec<_> = map.keys().filter(|&key| !entries.contains_key(key)).cloned().collect();
        for key in removed {
            map.remove_mut(&key);
        }
        for (key, entry) in entries {
            if !map.get(&key).is_some_and(|known| known.ptr_eq(&entry)) {
                map.insert_mut(key, entry);
            }
        }
        let base_domain = base.map(|base| base.cluster_domain.clone()).filter(|known| **known == *cluster_domain);
        Self { cluster_domain: base_domain.unwrap_or_else(|| cluster_domain.into()), entries: map }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the root of a request's authority, and the port that `Host` or `hosts` specifies.
    pub(crate) fn find(&self, authority: &Authority<'_>) -> Option<(&Root, GivenPort)> {
        let (root, configured_port) = self.find_host(&authority.host)?;
        let given = match (configured_port, authority.port) {
            (_, Port::Invalid) => GivenPort::Invalid,
            (Some(port), _) => GivenPort::Configured(port),
            (None, Port::Number(port)) => GivenPort::Host(port),
            (None, Port::None) => GivenPort::None,
        };
        Some((root, given))
    }

    /// Returns the root of a host name. For a name in `hosts`, returns the operator's port too.
    fn find_host(&self, host: &str) -> Option<(&Root, Option<Option<u16>>)> {
        let mut labels = host.splitn(3, '.');
        let service = labels.next()?;
        let by_domain = match (labels.next(), labels.next()) {
            (Some(namespace), Some(tail)) if names::is_service_domain(tail, &self.cluster_domain) => {
                self.by_service_name(host.get(..service.len() + 1 + namespace.len())?)
            }
            _ => None,
        };
        match by_domain {
            Some(root) => Some((root, None)),
            None => match self.entries.get(host)? {
                Entry::Root(root) => Some((root, None)),
                Entry::Host(root, port) => Some((root, Some(*port))),
                Entry::Group(_) => None,
            },
        }
    }

    /// Returns the root with the Service name `service.namespace`. Ignores `hosts`.
    pub(crate) fn by_service_name(&self, name: &str) -> Option<&Arc<Root>> {
        match self.entries.get(name)? {
            Entry::Root(root) if *root.name == *name => Some(root),
            _ => None,
        }
    }

    /// Returns the root of a name in `hosts`.
    pub(crate) fn by_configured_host(&self, host: &str) -> Option<&Root> {
        match self.entries.get(host)? {
            Entry::Host(root, _) => Some(root),
            Entry::Root(_) | Entry::Group(_) => None,
        }
    }

    /// Returns the group `namespace/name`.
    pub(crate) fn group(&self, key: &str) -> Option<&MatchGroup> {
        match self.entries.get(key)? {
            Entry::Group(group) => Some(group),
            Entry::Root(_) | Entry::Host(..) => None,
        }
    }
}

// === impl Entry ===

impl Entry {
    fn ptr_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Root(own), Self::Root(other)) => Arc::ptr_eq(own, other),
            (Self::Host(own, port), Self::Host(other, other_port)) => Arc::ptr_eq(own, other) && port == other_port,
            (Self::Group(own), Self::Group(other)) => own.ptr_eq(other),
            _ => false,
        }
    }
}
