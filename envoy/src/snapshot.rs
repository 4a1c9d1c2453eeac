//! The Kubernetes objects that the planner works from, each parsed and validated once for each of its versions.

use crate::document::{self, text};
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use traffic_split::{Configuration, Cost, HttpRouteGroup, Object, Problem, TrafficSplit};

/// The objects of one Kubernetes cluster at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterSnapshot {
    /// TrafficSplits of any version.
    pub traffic_splits: Vec<Arc<SplitObject>>,
    /// HTTPRouteGroups of any version.
    pub http_route_groups: Vec<Arc<GroupObject>>,
    /// Services: metadata, and of the spec `type`, `clusterIP` and `ports`.
    pub services: Vec<Arc<Value>>,
    /// Istio's VirtualServices.
    pub virtual_services: Vec<Arc<Value>>,
    /// Istio's DestinationRules.
    pub destination_rules: Vec<Arc<Value>>,
    /// Istio's Sidecars.
    pub sidecars: Vec<Arc<Value>>,
    /// Namespaces whose clients pass everything through.
    pub excluded_namespaces: BTreeSet<String>,
    /// The configuration that sidecars have now: the source of each split's last good version.
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
    /// The names of the HTTPRouteGroups in `spec.matches`, also of a split that is not valid.
    pub group_names: Vec<String>,
    /// The validated split, or all its problems in one line.
    pub split: Result<TrafficSplit, String>,
    /// What the split costs by itself, if it is valid.
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
    /// What the group costs, if it is valid.
    pub cost: Cost,
}

// === impl SplitObject ===

impl SplitObject {
    /// Validates a TrafficSplit. `cluster_domain` is the Kubernetes cluster's DNS domain.
    #[must_use]
    pub fn new(value: &Value, cluster_domain: &str) -> Self {
        let matches = value.pointer("/spec/matches").and_then(Value::as_array);
        let group_names = matches.into_iter().flatten().filter_map(|group| text(group, "/name"));
        let split = TrafficSplit::from_value(value, cluster_domain).map_err(|problems| one_line(&problems));
        // Explicit, so that sidecars don't warn of weights that are missing.
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

    /// A TrafficSplit of which only the metadata and the status can be read; `why` becomes the message of its condition.
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
        let group = HttpRouteGroup::from_value(value).map_err(|problems| one_line(&problems));
        let cost = group.as_ref().map(Cost::of_group).unwrap_or_default();
        Self { key: document::key(value), group, cost }
    }

    /// An HTTPRouteGroup of which only the metadata can be read; `why` becomes part of the messages of the splits that name
    /// it.
    #[must_use]
    pub fn unreadable(value: &Value, why: String) -> Self {
        Self { key: document::key(value), group: Err(why), cost: Cost::default() }
    }
}

/// The longest message of a condition. The API server takes 32,768 bytes at most, and refuses the whole status otherwise.
pub(crate) const MAX_MESSAGE_CHARACTERS: usize = 8000;

/// The most problems of one object that a message lists.
const MAX_LISTED_PROBLEMS: usize = 20;

/// Room for `…; and N more`.
const RESERVED_CHARACTERS: usize = 32;

/// Returns problems in one line, each with its field: at most 20, and at most 8,000 characters.
pub(crate) fn one_line(problems: &[Problem]) -> String {
    let one = |problem: &Problem| match (&problem.object, problem.field.as_str()) {
        (Object::Configuration, _) => problem.to_string(),
        (_, "") => problem.message.clone(),
        (_, field) => format!("{field}: {}", problem.message),
    };
    let mut message = Message::new(MAX_MESSAGE_CHARACTERS - RESERVED_CHARACTERS);
    let mut listed = 0;
    for problem in problems.iter().take(MAX_LISTED_PROBLEMS) {
        listed += 1;
        if !message.push(&[&one(problem)]) {
            break;
        }
    }
    let mut text = message.text;
    if listed < problems.len() {
        text.push_str(&format!("; and {} more", problems.len() - listed));
    }
    text.shrink_to_fit();
    text
}

/// A message of items that `; ` separates. It never holds more than its room.
pub(crate) struct Message {
    text: String,
    /// The characters that are left.
    room: usize,
}

impl Message {
    /// An empty message of at most `room` characters and `…`.
    pub(crate) fn new(room: usize) -> Self {
        Self { text: String::new(), room }
    }

    /// Appends an item, given in parts, as far as there is room for it; returns whether there was.
    pub(crate) fn push(&mut self, parts: &[&str]) -> bool {
        let separator = if self.text.is_empty() { "" } else { "; " };
        [separator].iter().chain(parts).all(|part| self.append(part))
    }

    fn append(&mut self, part: &str) -> bool {
        // A character has at least one byte.
        let length =
            if part.len() <= self.room { part.chars().count() } else { part.chars().take(self.room + 1).count() };
        if length <= self.room {
            self.text.push_str(part);
            self.room -= length;
            return true;
        }
        if !self.is_full() {
            self.text.extend(part.chars().take(self.room));
            self.text.push('…');
            self.room = 0;
        }
        false
    }

    /// Whether an item was cut.
    pub(crate) fn is_full(&self) -> bool {
        self.room == 0 && self.text.ends_with('…')
    }

    pub(crate) fn into_text(mut self) -> String {
        self.text.shrink_to_fit();
        self.text
    }
}

/// The Services of a cluster, by namespace and name.
pub(crate) type Services<'c> = HashMap<(&'c str, &'c str), ServiceFacts<'c>>;

/// A Service. What planning derives from it is computed once in a pass, however many splits name the Service.
pub(crate) struct ServiceFacts<'c> {
    value: &'c Value,
    ports: OnceCell<Option<Vec<u16>>>,
    export: OnceCell<Export>,
}

/// The namespaces whose clients see a Service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Export {
    All,
    /// Sorted, without duplicates.
    Only(Vec<String>),
    /// The list has more than [`MAX_EXPORTS`] entries and is not evaluated.
    TooMany,
}

/// The annotation that says to which namespaces Istio exports a Service.
pub const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// The most entries of [`EXPORT_TO`] that are evaluated.
pub(crate) const MAX_EXPORTS: usize = 100;

impl<'c> ServiceFacts<'c> {
    pub(crate) fn all(services: &'c [Arc<Value>]) -> Services<'c> {
        let facts = |value: &'c Value| {
            let key = ["/metadata/namespace", "/metadata/name"].map(|pointer| text(value, pointer).unwrap_or_default());
            (key.into(), Self { value, ports: OnceCell::new(), export: OnceCell::new() })
        };
        services.iter().map(|service| facts(service)).collect()
    }

    /// The TCP ports, sorted, if the Service lists any port.
    pub(crate) fn ports(&self) -> Option<&[u16]> {
        let ports = self.ports.get_or_init(|| {
            let mut ports = document::service_ports(self.value).ok().flatten()?;
            ports.sort_unstable();
            ports.dedup();
            Some(ports)
        });
        ports.as_deref()
    }

    /// Why a backend of this Service gets nothing, in words that follow its name: proxies have no cluster of it to which a
    /// split request could go.
    pub(crate) fn no_traffic_reason(&self) -> Option<&'static str> {
        let is = |pointer, value| text(self.value, pointer) == Some(value);
        match self.ports() {
            // For Istio it is another name of a host.
            _ if is("/spec/type", "ExternalName") => Some("is an ExternalName"),
            // A request goes where its client has connected to.
            _ if is("/spec/clusterIP", "None") => Some("is headless"),
            None => Some("lists no port"),
            Some(_) => None,
        }
    }

    /// Where the Service is exported to.
    pub(crate) fn export(&self) -> &Export {
        self.export.get_or_init(|| {
            let list = self.value.pointer("/metadata/annotations").and_then(|annotations| annotations.get(EXPORT_TO));
            let Some(list) = list.and_then(Value::as_str) else { return Export::All };
            let own = text(self.value, "/metadata/namespace").unwrap_or_default();
            let entries = list.split(',').map(str::trim).take(MAX_EXPORTS + 1);
            let mut entries: Vec<_> = entries.map(|to| if to == "." { own } else { to }.to_owned()).collect();
            match entries.iter().any(|to| to == "*") {
                true => Export::All,
                false if entries.len() > MAX_EXPORTS => Export::TooMany,
                false => {
                    entries.sort_unstable();
                    entries.dedup();
                    Export::Only(entries)
                }
            }
        })
    }
}
