//! Warnings about root Services that are not in the input.

use crate::diagnostic::Diagnostic;
use crate::load::Input;
use std::collections::BTreeSet;

/// Returns a warning for each root Service whose ports are unknown: the filter then uses the port of the request, and Envoy may have
/// no cluster for that port. `bootstrap_port` is the only port of such a Service that a bootstrap routes, if one is rendered.
pub fn unknown_ports(input: &Input, bootstrap_port: Option<u16>) -> Vec<Diagnostic> {
    let effect = match bootstrap_port {
        None => "the filter uses the port in `Host`, or else the connection's port".into(),
        Some(port) => format!("only port {port} is routed"),
    };
    let mut warned = BTreeSet::new();
    let mut warnings = Vec::new();
    for split in &input.configuration.traffic_splits {
        let root = format!("{}/{}", split.metadata.namespace, split.spec.service);
        let is_known = input.configuration.services.get(&root).is_some_and(|known| known.ports.is_some());
        if !is_known && warned.insert(root.clone()) {
            let message = match input.protocols.contains_key(&root) {
                true => format!("the Service {root} has no ports, so {effect}; add `spec.ports` to the Service"),
                false => {
                    format!("the ports of the Service {root} are unknown, so {effect}; add the Service to the input")
                }
            };
            warnings.push(input.split_warning(&split.key(), "spec.service", message));
        }
    }
    warnings
}
