//! Adds the Services of files to a configuration, as the controller adds the Services of a Kubernetes cluster, and warns of backends
//! that receive no requests.

use crate::known_services::{KnownServices, served_ports};
use crate::roots::roots;
use crate::service_problems::{ProblemKind, ServiceProblem, service_problems};
use crate::suggestion::{did_you_mean, nearest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use traffic_split::{Configuration, Object, Problem, Service, Spec, TrafficSplit};

/// Maximum number of warnings for which a similar name is looked up.
const MAX_SUGGESTIONS: usize = 100;

/// The result of [`add_services`].
#[derive(Debug, Default)]
pub(crate) struct AddedServices {
    /// Warnings about the Services of splits.
    pub(crate) warnings: Vec<Problem>,
    /// Why backends receive no requests, by `namespace/name`, as a predicate of the Service.
    pub(crate) no_traffic: BTreeMap<String, &'static str>,
}

/// Adds Services to a configuration whose `services` are the operator's entries. Backends that receive no requests get no ports.
///
/// # Errors
/// Returns the limits that the configuration with the Services exceeds.
pub(crate) fn add_services(
    configuration: &mut Configuration,
    objects: &[Value],
) -> Result<AddedServices, Vec<Problem>> {
    let operator = std::mem::take(&mut configuration.services);
    let services = KnownServices::of_files(objects, &operator, &roots(configuration));
    let mut no_traffic = BTreeMap::new();
    let mut entries: BTreeMap<_, _> = operator.clone();
    let mut backends = BTreeSet::new();
    for split in &configuration.traffic_splits {
        let namespace = split.metadata.namespace.as_str();
        backends.extend(split.spec.backends.iter().map(|backend| (namespace, backend.service.as_str())));
    }
    for &(namespace, name) in services.objects.keys().chain(&backends) {
        let key = format!("{namespace}/{name}");
        let is_backend = backends.contains(&(namespace, name));
        if let Some(entry) = services.entry(namespace, name, is_backend) {
            entries.insert(key.clone(), entry);
        }
        if let Some(reason) = services.no_traffic_reason(namespace, name).filter(|_| is_backend) {
            no_traffic.insert(key, reason);
        }
    }
    configuration.services = entries;
    configuration.check_budget()?;
    let served = served_ports(configuration);
    let mut warnings = contradictions(&services, &operator);
    for (index, split) in configuration.traffic_splits.iter().enumerate() {
        let problems = service_problems(split, &services, &served);
        // The filter itself warns of a root without ports.
        let problems =
            problems.filter(|problem| !(problem.field == "spec.service" && problem.kind == ProblemKind::NoTraffic));
        for problem in problems {
            let remedy = remedy(&problem, split, &services, warnings.len() < MAX_SUGGESTIONS);
            let object = Object::TrafficSplit { index, name: split.key() };
            warnings.push(Problem { object, field: problem.field, message: problem.message + &remedy });
        }
        warnings.extend(unchecked_backends(index, split, &services));
    }
    Ok(AddedServices { warnings, no_traffic })
}

/// Returns a warning about a split whose root Service is in the files without the Services of its backends.
fn unchecked_backends(index: usize, split: &TrafficSplit, services: &KnownServices<'_>) -> Option<Problem> {
    let (namespace, root) = (split.metadata.namespace.as_str(), split.spec.service.as_str());
    let has = |name: &str| services.objects.contains_key(&(namespace, name));
    if services.is_complete(namespace) || !has(root) {
        return None;
    }
    let is_unknown = |name: &str| !has(name) && !services.has_entry(namespace, name);
    let unknown = split.spec.backends.iter().find(|backend| backend.has_weight() && is_unknown(&backend.service))?;
    let message = format!(
        "the input has no Service of a backend, such as {}, so it is unknown whether the backends exist; add their Services to \
         the input",
        unknown.service
    );
    let object = Object::TrafficSplit { index, name: split.key() };
    Some(Problem { object, field: "spec.backends".into(), message })
}

/// Returns a warning for each entry of `services` with a port that the Service object does not have, neither as the root's port nor as
/// the value in the cluster name.
fn contradictions(services: &KnownServices<'_>, operator: &BTreeMap<String, Service>) -> Vec<Problem> {
    let warning = |(key, entry): (&String, &Service)| {
        let own = services.objects.get(&key.split_once('/')?)?.ports().filter(|own| !own.is_empty())?;
        let has = |port: &str| own.iter().any(|own| own.to_string() == port);
        let foreign = |(port, value): &(&u16, &String)| !has(&port.to_string()) && !has(value);
        let (port, _) = entry.ports.iter().flatten().find(foreign)?;
        let own: Vec<_> = own.iter().take(20).map(u16::to_string).collect();
        let message = format!(
            "the Service object has no port {port}, and this entry takes precedence; remove `ports`, or use the object's ports: {}",
            own.join(", ")
        );
        Some(Problem { object: Object::Service { name: key.clone() }, field: "ports".into(), message })
    };
    operator.iter().filter_map(warning).collect()
}

/// Returns what to do about a problem, with its separator.
fn remedy(
    problem: &ServiceProblem<'_>,
    split: &TrafficSplit,
    services: &KnownServices<'_>,
    may_suggest: bool,
) -> String {
    let is_root = problem.field == "spec.service";
    match (problem.kind, problem.service) {
        (ProblemKind::Missing, Some(name)) => {
            let Spec { service: root, backends, .. } = &split.spec;
            // A split names each backend only once, and a backend is rarely also the root.
            let is_free =
                |known: &&str| is_root || (root != known && backends.iter().all(|backend| backend.service != **known));
            let known = || services.names(&split.metadata.namespace).filter(is_free);
            match may_suggest.then(|| nearest(name, known())).flatten() {
                Some(_) => did_you_mean(name, known()),
                None => "; add the Service to the input, or correct the name".into(),
            }
        }
        (ProblemKind::NoTraffic, _) => "; name a Service with a cluster IP and TCP ports".into(),
        (ProblemKind::NoHttp, _) => "; name a port `http` or `http-NAME`, or set its `appProtocol` to `http`".into(),
        (ProblemKind::Ports, _) => "; add the port to the Service".into(),
        _ => String::new(),
    }
}
