//! The warning about Services that are not among the input.

use crate::usage_error;
use std::collections::BTreeSet;
use traffic_split::Configuration;
use traffic_split_cli::output::say;
use traffic_split_envoy::BootstrapOptions;

/// Without a root's ports, the filter takes the one it sees; that a cluster has it nobody can say. A bootstrap has
/// clusters for one port then.
pub(crate) fn warn_of_unknown_ports(configuration: &Configuration, bootstrap: Option<&BootstrapOptions>) {
    let mut warned = BTreeSet::new();
    for split in &configuration.traffic_splits {
        let root = format!("{}/{}", split.metadata.namespace, split.spec.service);
        if configuration.services.get(&root).is_some_and(|known| known.ports.is_some()) || !warned.insert(root.clone())
        {
            continue;
        }
        let effect = match bootstrap.map(|options| options.port.unwrap_or(options.listen.port())) {
            None => "so a request goes by the port in its Host, or else the one that it connected to".into(),
            Some(0) => {
                let why = "is unknown: give --port, or add the Service to the input";
                usage_error(&["render"], &format!("--listen has port 0, and that of the Service {root} {why}"));
            }
            Some(port) => format!("so only {port} will work"),
        };
        say(format_args!(
            "warning: the ports of the Service {root} are unknown, {effect}; add the Service to the input"
        ));
    }
}
