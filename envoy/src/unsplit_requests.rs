//! Warnings about requests that a sidecar's listener never splits.

use crate::roots::roots;
use traffic_split::{Configuration, GivenPort, port_of_request};

/// Returns a warning for each root whose requests without a port in `Host` are not split on the listener with the port
/// `listener`, because the root has several ports, but neither `listener` nor 80.
pub fn unsplit_requests(configuration: &Configuration, listener: u16) -> Vec<String> {
    let warning = |(namespace, service): (&str, &str)| {
        let known = configuration.services.get(&format!("{namespace}/{service}"))?;
        let ports: Vec<_> = known.ports.as_ref()?.keys().copied().collect();
        let lowest = ports.first()?;
        let selected = port_of_request(&ports, GivenPort::None, || Some(listener), || false);
        let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        selected.is_none().then(|| {
            format!(
                "requests to {service}.{namespace} without a port in `Host` go to port {lowest} and are not split, because \
                 the Service has neither the listener's port {listener} nor port 80; set --listen to one of its ports: {list}"
            )
        })
    };
    roots(configuration).into_iter().filter_map(warning).collect()
}
