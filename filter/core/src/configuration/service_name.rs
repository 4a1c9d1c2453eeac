//! Names of Services in SMI objects: the DNS forms that are accepted, and what to write instead of another text.

use crate::configuration::names::{is_ip_address, is_label, is_service_domain, is_subdomain};
use crate::configuration::reader::quote;

/// The field that holds the name. Only a root has further host names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Root,
    Backend,
}

/// Why a text is not the name of a Service in the object's namespace.
enum Fault<'t> {
    /// The first label is no DNS label.
    Syntax,
    /// The second label is another namespace.
    Namespace,
    /// `svc.ns.svc.` and another domain.
    Domain { service: &'t str, domain: &'t str },
    /// `svc.ns.<cluster_domain>`, without the label `svc`.
    NoSvcLabel { service: &'t str },
    /// A host name or an address of another kind.
    Host,
}

/// Parses the name of a Service in an SMI object: `svc`, `svc.ns`, `svc.ns.svc`, `svc.ns.svc.cluster` or
/// `svc.ns.svc.<cluster_domain>`, with or without the trailing dot of an absolute DNS name, as in the `Host` of a
/// request. Returns the bare name, `svc`.
///
/// # Errors
/// Returns a message if `text` is not such a name or not in the object's namespace.
pub(crate) fn parse<'t>(text: &'t str, namespace: &str, cluster_domain: &str, role: Role) -> Result<&'t str, String> {
    let fault = match bare_name(text, namespace, cluster_domain) {
        Ok(service) => return Ok(service),
        Err(fault) => fault,
    };
    let (problem, remedy) = match fault {
        Fault::Syntax => {
            let likely = likely_name(text);
            let problem = syntax_problem(text);
            let remedy = match bare_name(&likely, namespace, cluster_domain) {
                Ok(service) => format!("write {service:?}"),
                Err(Fault::Host) if !is_ip_address(&likely) => host_remedy(&likely, role),
                Err(_) => "write the name of a Service".into(),
            };
            (problem.into(), remedy)
        }
        Fault::Namespace => (
            format!("is not in the TrafficSplit's namespace, {namespace:?}"),
            match role {
                Role::Root => "name a Service of that namespace, and write other host names into `hosts`".into(),
                Role::Backend => "name a Service of that namespace".into(),
            },
        ),
        Fault::Domain { service, domain } => {
            let setting = match is_subdomain(domain) {
                true => format!(", or set `clusterDomain` to {domain:?}"),
                false => String::new(),
            };
            (format!("is not in the cluster domain, {cluster_domain:?}"), format!("write {service:?}{setting}"))
        }
        Fault::NoSvcLabel { service } => {
            ("lacks the label `svc` before the cluster domain".into(), format!("write {service:?}"))
        }
        Fault::Host if is_ip_address(text) => ("is an IP address".into(), "write the name of a Service".into()),
        Fault::Host => ("is not the name of a Service".into(), host_remedy(text, role)),
    };
    Err(format!("{} {problem}; {remedy}", quote(text)))
}

fn bare_name<'t>(text: &'t str, namespace: &str, cluster_domain: &str) -> Result<&'t str, Fault<'t>> {
    let mut labels = text.strip_suffix('.').unwrap_or(text).splitn(3, '.');
    let service = labels.next().filter(|service| is_label(service)).ok_or(Fault::Syntax)?;
    let is_own = labels.next().is_none_or(|own| own == namespace);
    match (labels.next(), is_own) {
        (None, true) => Ok(service),
        (Some(tail), true) if is_service_domain(tail, cluster_domain) => Ok(service),
        (Some(tail), true) if tail == cluster_domain => Err(Fault::NoSvcLabel { service }),
        (Some(tail), _) => match (tail.strip_prefix("svc."), is_own) {
            (Some(domain), true) => Err(Fault::Domain { service, domain }),
            (None, _) if tail != "svc" => Err(Fault::Host),
            _ => Err(Fault::Namespace),
        },
        (None, false) => Err(Fault::Namespace),
    }
}

/// Returns why a text has no valid first label, as a predicate of the text.
fn syntax_problem(text: &str) -> &'static str {
    match text {
        "" => "is empty",
        _ if text.contains("://") => "is a URL",
        _ if text.contains('/') => "contains a slash",
        _ if text.contains(':') => "contains a port",
        _ if text.contains(char::is_whitespace) => "contains white space",
        _ if text.contains('_') => "contains an underscore",
        _ if text.contains(|char: char| char.is_ascii_uppercase()) => "contains upper-case letters",
        _ => "is not the name of a Service (lower-case letters, digits and `-`, 63 at most)",
    }
}

/// Returns the host that the author of a text without a valid first label probably means.
fn likely_name(text: &str) -> String {
    let host = text.split_once("://").map_or(text, |(_, host)| host).trim();
    // As `kubectl` writes it: `namespace/name`, or `service/name`.
    let host = match host.split_once('/') {
        Some((_, name)) if !text.contains("://") && is_label(name) => name,
        _ => host.split('/').next().unwrap_or_default(),
    };
    let host = host.split(':').next().unwrap_or_default();
    host.to_ascii_lowercase().replace('_', "-")
}

fn host_remedy(host: &str, role: Role) -> String {
    match role {
        Role::Root => format!("write the name of the root Service, and add the host {} to `hosts`", quote(host)),
        Role::Backend => "write the name of a Service of the TrafficSplit's namespace".into(),
    }
}
