//! The warning about root Services that are not in the input.

use crate::usage_error;
use traffic_split_cli::output::print_diagnostic;
use traffic_split_envoy::{BootstrapOptions, Input, unknown_ports};

/// Warns of each root Service whose ports are unknown.
pub(crate) fn warn_of_unknown_ports(input: &Input, bootstrap: Option<&BootstrapOptions>) {
    let port = bootstrap.map(|options| options.port.unwrap_or(options.listen.port()));
    let warnings = unknown_ports(input, port);
    if port == Some(0)
        && let Some(warning) = warnings.first()
    {
        let message = format!(
            "{}: {}: the port of this Service is unknown, and --listen has port 0; set --port, or add the Service to the input",
            warning.object, warning.field
        );
        usage_error(&["render", "envoy"], &message);
    }
    warnings.iter().for_each(print_diagnostic);
}
