//! The warning about root Services that are not in the input.

use crate::usage_error;
use std::collections::BTreeSet;
use traffic_split::Configuration;
use traffic_split_cli::output::print_stderr;
use traffic_split_envoy::BootstrapOptions;

/// Warns of each root Service whose ports are unknown: the filter then uses the port of the request, and Envoy may have no
/// cluster for that port. A bootstrap has clusters for one port of such a Service.
pub(crate) fn warn_of_unknown_ports(configuration: &Configuration, bootstrap: Option<&BootstrapOptions>) {
    let mut warned = BTreeSet::new();
    for split in &configuration.traffic_splits {
        let root = format!("{}/{}", split.metadata.namespace, split.spec.service);
        if configuration.services.get(&root).is_some_and(|known| known.ports.is_some()) || !warned.insert(root.clone())
        {
            continue;
        }
        let effect = match bootstrap.map(|options| options.port.unwrap_or(options.listen.port())) {
            None => "the filter uses the port in `Host`, or else the connection's port".into(),
            Some(0) => usage_error(
                &["render", "envoy"],
                &format!(
                    "the port of the Service {root} is unknown, and --listen has port 0; set --port, or add the Service to the input"
                ),
            ),
            Some(port) => format!("only port {port} is routed"),
        };
        print_stderr(format_args!(
            "warning: the ports of the Service {root} are unknown, so {effect}; add the Service to the input"
        ));
    }
}
