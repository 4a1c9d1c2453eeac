//! Warnings about a valid configuration.

use crate::configuration::plugin_configuration::Configuration;
use crate::configuration::problem::{Object, Problem};
use crate::configuration::reader::quote;
use crate::configuration::service::HostRoot;
use crate::configuration::traffic_split::TrafficSplit;
use crate::routing::port::{GivenPort, port_of_request};
use crate::routing::roots::{Root, RootTable};

/// Returns the warnings about a configuration: weights that are missing, and requests that are not split.
pub(crate) fn warnings(configuration: &Configuration, roots: &RootTable) -> Vec<Problem> {
    let splits = configuration.traffic_splits.iter().enumerate();
    let missing_weights = splits.filter_map(|(index, split)| missing_weights(index, split));
    let hosts = configuration.hosts.iter().filter_map(|(host, HostRoot { service, port })| {
        // A name in `hosts` whose root has no split is not a mistake: tools create and delete splits at any time.
        unusable_port(host, service, *port, roots.by_configured_host(host)?)
    });
    let splits = configuration.traffic_splits.iter().enumerate();
    let without_ports = splits.filter_map(|(index, split)| root_without_ports(index, split, roots));
    missing_weights.chain(without_ports).chain(hosts).collect()
}

/// Returns one warning for all backends of a split without a weight. One warning for each backend would flood the log.
fn missing_weights(index: usize, split: &TrafficSplit) -> Option<Problem> {
    let mut missing = split.spec.backends.iter().enumerate().filter(|(_, backend)| backend.weight.is_none());
    let (first, backend) = missing.next()?;
    let message = match missing.count() {
        0 => "is missing and counts as 0; write weight: 0".into(),
        more => {
            format!(
                "is missing and counts as 0, here ({}) and in {more} more backends; write weight: 0",
                backend.service
            )
        }
    };
    let object = Object::TrafficSplit { index, name: split.key() };
    Some(Problem { object, field: format!("spec.backends[{first}].weight"), message })
}

/// Returns a warning about a name in `hosts` whose requests are not split, because their port is missing or not a port of
/// the root.
fn unusable_port(host: &str, service: &str, port: Option<u16>, root: &Root) -> Option<Problem> {
    let ports = root.ports.as_deref()?;
    let list = || ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let has_default = |https| port_of_request(ports, GivenPort::Configured(None), || None, || https).is_some();
    let message = match (port, has_default(false), has_default(true)) {
        // A root without ports has its own warning.
        _ if ports.is_empty() => return None,
        (Some(port), ..) if ports.contains(&port) => return None,
        (Some(port), ..) => {
            format!(
                "{service} has no port {port}, so requests to this host are not split; use one of its ports: {}",
                list()
            )
        }
        (None, true, true) => return None,
        (None, http, https) => {
            let (requests, missing) = match (http, https) {
                (true, _) => ("HTTPS requests", "no port 443"),
                (_, true) => ("HTTP requests", "no port 80"),
                _ => ("requests", "neither port 80 nor port 443"),
            };
            format!(
                "{service} has several ports ({}), but {missing}, so {requests} to this host are split only on a listener \
                 with one of these ports; write {{service: {service}, port: PORT}}",
                list()
            )
        }
    };
    Some(Problem { object: Object::Configuration, field: format!("hosts[{}]", quote(host)), message })
}

/// Returns a warning about a split whose root has no ports.
fn root_without_ports(index: usize, split: &TrafficSplit, roots: &RootTable) -> Option<Problem> {
    let name = format!("{}.{}", split.spec.service, split.metadata.namespace);
    let ports = roots.by_service_name(&name)?.ports.as_deref()?;
    let message = format!(
        "the Service {} has no ports, so requests to it are never split; add a port to the Service",
        split.spec.service
    );
    let object = Object::TrafficSplit { index, name: split.key() };
    ports.is_empty().then(|| Problem { object, field: "spec.service".into(), message })
}
