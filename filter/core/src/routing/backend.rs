//! A backend of a split, as routing stores it.

use crate::configuration::cluster_template::ClusterName;
use crate::configuration::weight::Weight;
use crate::routing::counter::CounterIds;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, PartialEq)]
pub(crate) struct Backend {
    pub(crate) weight: Weight,
    /// Shared with the rules of earlier configurations.
    pub(crate) target: Arc<Target>,
}

/// The part of a backend that a change of weight does not change.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    /// Bare name of the Service.
    pub(crate) name: Box<str>,
    pub(crate) cluster: ClusterName,
    /// The root's ports that the backend serves, each with the value of `{port}`; `None` if unknown.
    pub(crate) ports: Option<BTreeMap<u16, String>>,
    pub(crate) counter_ids: CounterIds,
}

impl Backend {
    /// Returns the Envoy cluster name for a port of the root.
    pub(crate) fn cluster(&self, port: u16) -> Cow<'_, str> {
        match self.target.ports.as_ref().and_then(|ports| ports.get(&port)) {
            Some(value) => self.target.cluster.name(value),
            None => self.target.cluster.name(&port.to_string()),
        }
    }

    /// Returns whether the backend serves a port of the root. If its ports are unknown, it serves all ports.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.target.ports.as_ref().is_none_or(|ports| ports.contains_key(&port))
    }
}
