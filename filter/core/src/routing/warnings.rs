//! Warnings about a valid configuration.

use crate::configuration::plugin_configuration::Configuration;
use crate::configuration::problem::{Object, Problem};
use crate::configuration::reader::quote;
use crate::configuration::service::HostRoot;
use crate::configuration::traffic_split::TrafficSplit;
use crate::routing::roots::{Root, RootTable};

/// Returns the warnings about a configuration: weights that are missing, and hosts whose requests are not split.
pub(crate) fn warnings(configuration: &Configuration, roots: &RootTable) -> Vec<Problem> {
    let splits = configuration.traffic_splits.iter().enumerate();
    let missing_weights = splits.filter_map(|(index, split)| missing_weights(index, split));
    let hosts = configuration.hosts.iter().filter_map(|(host, HostRoot { service, port })| {
        // A root without a split is no mistake: splits come and go.
        unusable_port(host, service, *port, roots.by_configured_host(host)?)
    });
    missing_weights.chain(hosts).collect()
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

/// Returns a warning about a host whose requests are not split, because its port is missing or not a port of the root.
fn unusable_port(host: &str, service: &str, port: Option<u16>, root: &Root) -> Option<Problem> {
    let ports = root.ports.as_deref()?;
    let list = || ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let message = match port {
        Some(port) if ports.contains(&port) => return None,
        Some(port) => {
            format!("{service} has no port {port}, so requests to this host are not split; its ports: {}", list())
        }
        None if ports.len() <= 1 => return None,
        None => format!(
            "{service} has several ports ({}), so requests to this host are split only on a listener of one of them; \
             write {{service: {service}, port: …}}",
            list()
        ),
    };
    Some(Problem { object: Object::Configuration, field: format!("hosts[{}]", quote(host)), message })
}
