//! The Services that splits may name, and the one place that decides which of them receive requests as backends.

use crate::service_facts::{ServiceFacts, Services};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use traffic_split::{Configuration, Service};

/// The Services of a Kubernetes cluster, or of files, and the operator's entries of `services`, which take precedence.
pub(crate) struct KnownServices<'c> {
    pub(crate) objects: Services<'c>,
    operator: &'c BTreeMap<String, Service>,
    /// The names of the Services in files and in the operator's entries, by namespace; `None` for a cluster, whose Services are
    /// all known.
    names: Option<BTreeMap<&'c str, BTreeSet<&'c str>>>,
    /// The namespaces of which files have all Services.
    complete: BTreeSet<&'c str>,
}

/// The ports of each Service in a configuration, sorted, by namespace and name. A Service without an entry has unknown ports.
pub(crate) type ServedPorts<'s> = HashMap<(&'s str, &'s str), Vec<u16>>;

/// Returns the ports of each Service whose ports a configuration knows.
pub(crate) fn served_ports(configuration: &Configuration) -> ServedPorts<'_> {
    let services = configuration.services.iter();
    let services = services.filter_map(|(key, service)| Some((key.split_once('/')?, service.ports.as_ref()?)));
    services.map(|(key, ports)| (key, ports.keys().copied().collect())).collect()
}

// === impl KnownServices ===

impl<'c> KnownServices<'c> {
    /// Returns the Services of a Kubernetes cluster: a Service that is not among them does not exist.
    pub(crate) fn of_cluster(
        services: impl IntoIterator<Item = &'c Value>,
        operator: &'c BTreeMap<String, Service>,
    ) -> Self {
        Self { objects: ServiceFacts::all(services), operator, names: None, complete: BTreeSet::new() }
    }

    /// Returns the Services of files. `roots` are the roots of the splits. If the files have a Service object that is not a root,
    /// assumes that they have all Services of its namespace. (Users pass only the root's Service to specify its ports.) In other
    /// namespaces, any Service may exist. An entry of the operator adds only its own Service.
    pub(crate) fn of_files(
        services: impl IntoIterator<Item = &'c Value>,
        operator: &'c BTreeMap<String, Service>,
        roots: &BTreeSet<(&str, &str)>,
    ) -> Self {
        let objects = ServiceFacts::all(services);
        let mut names: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (namespace, name) in objects.keys().copied().chain(operator.keys().filter_map(|key| key.split_once('/'))) {
            names.entry(namespace).or_default().insert(name);
        }
        let others = objects.keys().filter(|&service| !roots.contains(service));
        let complete = others.map(|(namespace, _)| *namespace).collect();
        Self { objects, operator, names: Some(names), complete }
    }

    /// Returns whether all Services of a namespace are known, so that an unknown Service does not exist.
    pub(crate) fn is_complete(&self, namespace: &str) -> bool {
        self.names.is_none() || self.complete.contains(namespace)
    }

    /// Returns the names of the Services of a namespace in files, sorted; none for a cluster.
    pub(crate) fn names(&self, namespace: &str) -> impl Iterator<Item = &'c str> {
        self.names.as_ref().and_then(|names| names.get(namespace)).into_iter().flatten().copied()
    }

    /// Returns whether there is no Service of this name, neither as an object nor in the operator's entries.
    pub(crate) fn is_missing(&self, namespace: &str, name: &str) -> bool {
        !self.objects.contains_key(&(namespace, name))
            && self.operator_entry(namespace, name).is_none()
            && self.is_complete(namespace)
    }

    /// Returns why a backend receives no requests, as a predicate of the Service. The operator's entry takes precedence: the
    /// entry declares that proxies have a cluster of the Service.
    pub(crate) fn no_traffic_reason(&self, namespace: &str, name: &str) -> Option<&'static str> {
        if self.operator_entry(namespace, name).is_some() {
            return None;
        }
        match self.objects.get(&(namespace, name)) {
            Some(service) => service.no_traffic_reason(),
            None => self.is_complete(namespace).then_some("does not exist"),
        }
    }

    /// Returns whether the operator has an entry for a Service.
    pub(crate) fn has_entry(&self, namespace: &str, name: &str) -> bool {
        self.operator_entry(namespace, name).is_some()
    }

    /// Returns the entry of `services` for a Service. A backend that receives no requests has an empty list of ports, so that
    /// the filter ignores it; the list also counts where the Service is a root.
    pub(crate) fn entry(&self, namespace: &str, name: &str, is_backend: bool) -> Option<Service> {
        let ports = match is_backend && self.no_traffic_reason(namespace, name).is_some() {
            true => Some([].as_slice()),
            false => self.objects.get(&(namespace, name)).and_then(ServiceFacts::ports),
        };
        let ports = ports.map(|ports| ports.iter().map(|port| (*port, port.to_string())).collect());
        let known = self.operator_entry(namespace, name);
        if known.is_none() && ports.is_none() {
            return None;
        }
        let mut service = known.cloned().unwrap_or_default();
        service.ports = service.ports.or(ports);
        Some(service)
    }

    fn operator_entry(&self, namespace: &str, name: &str) -> Option<&'c Service> {
        self.operator.get(&format!("{namespace}/{name}"))
    }
}
