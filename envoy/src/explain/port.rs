//! Explains which rule determined the port of a request.

use super::explanation::PortReason;
use traffic_split::{GivenPort, PortRule, RoutingTrace};

/// Returns the rule that determined the port, and why the port in `Host` or `hosts` did not apply.
pub(super) fn reason(trace: &RoutingTrace<'_>) -> Option<PortReason> {
    let missing = missing_port(trace.root?, trace.given_port?);
    let (code, why) = match trace.port_rule? {
        PortRule::Host => ("host", "the port in Host".into()),
        PortRule::Configured => ("hosts", "the port of this host in hosts".into()),
        PortRule::Connection => ("connection", format!("{missing}; the connection's destination port")),
        PortRule::OnlyPort => ("onlyPort", format!("{missing}; the only port of the root")),
        PortRule::HttpDefault => ("httpDefault", format!("{missing}; default of http")),
        PortRule::HttpsDefault => ("httpsDefault", format!("{missing}; default of https")),
        _ => ("other", missing),
    };
    Some(PortReason { code, why })
}

/// Returns why no rule selects a port of the root, whose ports are `ports`.
pub(super) fn why_none(trace: &RoutingTrace<'_>, ports: &[u16], connection: Option<u16>) -> Option<String> {
    let (root, given) = (trace.root?, trace.given_port?);
    let missing = missing_port(root, given);
    let connection = match connection {
        Some(port) => format!("the connection's destination port {port} is not a port of {root}"),
        None => "--port is not set".into(),
    };
    Some(match given {
        GivenPort::Invalid | GivenPort::Configured(Some(_)) => missing,
        _ if ports.is_empty() => format!("{root} has no ports"),
        _ => format!("{missing}, {connection}, and {root} lacks the default port (80 for http, 443 for https)"),
    })
}

/// Returns why neither `Host` nor `hosts` names a port of the root.
fn missing_port(root: &str, given: GivenPort) -> String {
    match given {
        GivenPort::None => "Host has no port".into(),
        GivenPort::Invalid => "the port in Host is not a number from 1 to 65535".into(),
        GivenPort::Host(port) => format!("{root} has no port {port}"),
        GivenPort::Configured(None) => "hosts sets no port for this host".into(),
        GivenPort::Configured(Some(port)) => format!("{root} has no port {port}, which hosts sets for this host"),
    }
}
