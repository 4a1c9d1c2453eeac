//! Checks that the clusters that the filter selects exist.

use super::envoy_configuration::EnvoyConfiguration;
use super::findings::Findings;
use super::virtual_hosts::{self, Table};
use crate::suggestion::did_you_mean;
use std::collections::BTreeSet;
use traffic_split::{Backend, Configuration, TrafficSplit};

/// Reports roots without a virtual host, and backends without a cluster. A loaded configuration may also be for other Envoys, so
/// roots that this Envoy does not serve are reported only if the user passed the configuration (`given`).
pub(super) fn check(
    envoy: &EnvoyConfiguration,
    tables: &[Table<'_>],
    configuration: &Configuration,
    given: bool,
    findings: &mut Findings,
) {
    let Some(clusters) = envoy.clusters() else {
        if given && !configuration.traffic_splits.is_empty() {
            let message = "the clusters come from CDS, which a bootstrap does not contain, so they are not checked; pass a config dump of a \
                           running Envoy";
            findings.warning("", "dynamic_resources.cds_config", message);
        }
        return;
    };
    for split in &configuration.traffic_splits {
        let place = format!("TrafficSplit {}", split.key());
        if tables.iter().all(|(_, table)| virtual_hosts::of_root(table, tables, configuration, split).is_empty()) {
            if given && !tables.is_empty() {
                let root = virtual_hosts::root_names(configuration, split).swap_remove(0);
                let message =
                    format!("no virtual host serves `{root}`, so Envoy answers 404; add a virtual host for the root");
                findings.warning(&place, "spec.service", message);
            }
            continue;
        }
        for (index, backend) in split.spec.backends.iter().enumerate() {
            if let Some(missing) = missing_cluster(clusters, configuration, split, backend) {
                let suggestion = did_you_mean(&missing, clusters.iter().map(String::as_str));
                let message = format!(
                    "Envoy has no cluster `{missing}`, so the requests of this backend get the status 503; add the cluster, or set `cluster` \
                     in --config{suggestion}"
                );
                findings.error(&place, &format!("spec.backends[{index}].service"), message);
            }
        }
    }
}

/// Returns the name of a backend's cluster that does not exist.
fn missing_cluster(
    clusters: &BTreeSet<String>,
    configuration: &Configuration,
    split: &TrafficSplit,
    backend: &Backend,
) -> Option<String> {
    let namespace = &split.metadata.namespace;
    let known_ports = |service: &str| {
        let known = configuration.services.get(&format!("{namespace}/{service}"))?;
        Some(known.ports.as_ref()?.keys().copied().collect::<BTreeSet<u16>>())
    };
    let cluster = |port: u16| configuration.cluster_name(&backend.service, namespace, port);
    let exists = |port: &u16| clusters.contains(&cluster(*port));
    match (known_ports(&split.spec.service), known_ports(&backend.service)) {
        // A backend receives no requests to a port that it lacks.
        (Some(root), Some(backend)) => {
            root.intersection(&backend).find(|port| !exists(port)).map(|port| cluster(*port))
        }
        (Some(ports), None) | (None, Some(ports)) => ports.iter().find(|port| !exists(port)).map(|port| cluster(*port)),
        // The port comes from the request, so any cluster of the backend is enough.
        (None, None) => {
            let ports: BTreeSet<u16> = clusters.iter().flat_map(|name| numbers(name)).collect();
            if ports.iter().any(exists) || exists(&80) {
                return None;
            }
            Some(cluster(ports.first().copied().unwrap_or(80)))
        }
    }
}

/// Returns the numbers in the name of a cluster, which may be ports.
fn numbers(name: &str) -> impl Iterator<Item = u16> {
    name.split(|char: char| !char.is_ascii_digit()).filter_map(|number| number.parse().ok())
}
