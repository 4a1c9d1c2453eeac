//! The Kubernetes objects that the planner works from, each parsed and validated once for each of its versions.

use crate::document::{self, text};
use crate::message::list_problems;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use traffic_split::{Configuration, Cost, HttpRouteGroup, TrafficSplit};

/// The objects of one Kubernetes cluster at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterSnapshot {
    /// TrafficSplits of any version.
    pub traffic_splits: Vec<Arc<SplitObject>>,
    /// HTTPRouteGroups of any version.
    pub http_route_groups: Vec<Arc<GroupObject>>,
    /// Services, with their metadata and `type`, `clusterIP` and `ports` of their spec.
    pub services: Vec<Arc<Value>>,
    /// Istio's VirtualServices.
    pub virtual_services: Vec<Arc<Value>>,
    /// Istio's DestinationRules.
    pub destination_rules: Vec<Arc<Value>>,
    /// Istio's Sidecars.
    pub sidecars: Vec<Arc<Value>>,
    /// Namespaces whose sidecars split no requests.
    pub excluded_namespaces: BTreeSet<String>,
    /// The configuration that sidecars have now; it holds each split's last good version.
    pub served: Arc<Configuration>,
}

/// A TrafficSplit as the API server stores it, with the result of validating it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SplitObject {
    /// `namespace/name`.
    pub key: String,
    /// `metadata.creationTimestamp`: RFC 3339, or empty.
    pub created: String,
    /// The object without its spec: `apiVersion`, `kind`, `metadata` and `status`.
    pub object: Value,
    /// The names of the HTTPRouteGroups in `spec.matches`, also if the split is invalid.
    pub group_names: Vec<String>,
    /// The validated split, or all its problems in one line.
    pub split: Result<TrafficSplit, String>,
    /// The cost of the split without its groups and Services; zero if the split is invalid.
    pub cost: Cost,
}

/// An HTTPRouteGroup as the API server stores it, with the result of validating it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GroupObject {
    /// `namespace/name`.
    pub key: String,
    /// The validated group, or all its problems in one line.
    pub group: Result<HttpRouteGroup, String>,
    /// The cost of the group; zero if the group is invalid.
    pub cost: Cost,
}

// === impl SplitObject ===

impl SplitObject {
    /// Validates a TrafficSplit. `cluster_domain` is the Kubernetes cluster's DNS domain.
    #[must_use]
    pub fn new(value: &Value, cluster_domain: &str) -> Self {
        let matches = value.pointer("/spec/matches").and_then(Value::as_array);
        let group_names = matches.into_iter().flatten().filter_map(|group| text(group, "/name"));
        let split = TrafficSplit::from_value(value, cluster_domain).map_err(|problems| list_problems(&problems));
        // With explicit weights, sidecars do not warn of missing weights.
        let split = split.map(|mut split| {
            for backend in &mut split.spec.backends {
                backend.weight.get_or_insert_default();
            }
            split
        });
        let cost = split.as_ref().map(Cost::of_split).unwrap_or_default();
        let group_names = group_names.map(str::to_owned).collect();
        Self { group_names, split, cost, ..Self::unreadable(value, String::new()) }
    }

    /// Returns a TrafficSplit of which only the metadata and the status can be read. `why` becomes the message of its condition.
    #[must_use]
    pub fn unreadable(value: &Value, why: String) -> Self {
        let kept = ["apiVersion", "kind", "metadata", "status"];
        let kept: Map<_, _> =
            kept.into_iter().filter_map(|key| Some((key.to_owned(), value.get(key)?.clone()))).collect();
        Self {
            key: document::key(value),
            created: text(value, "/metadata/creationTimestamp").unwrap_or_default().into(),
            object: Value::Object(kept),
            group_names: Vec::new(),
            split: Err(why),
            cost: Cost::default(),
        }
    }
}

// === impl GroupObject ===

impl GroupObject {
    /// Validates an HTTPRouteGroup.
    #[must_use]
    pub fn new(value: &Value) -> Self {
        let group = HttpRouteGroup::from_value(value).map_err(|problems| list_problems(&problems));
        let cost = group.as_ref().map(Cost::of_group).unwrap_or_default();
        Self { key: document::key(value), group, cost }
    }

    /// Returns an HTTPRouteGroup of which only the metadata can be read. `why` becomes part of the messages of the splits that
    /// name the group.
    #[must_use]
    pub fn unreadable(value: &Value, why: String) -> Self {
        Self { key: document::key(value), group: Err(why), cost: Cost::default() }
    }
}
