//! Names of Services in SMI objects: the DNS forms that are accepted, and what to write instead of another text.

use crate::configuration::names::{is_ip_address, is_label, is_service_domain};
use crate::configuration::reader::quote;

/// The field that holds the name. Only a root has further host names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Root,
    Backend,
}

const NAME_A_SERVICE: &str = "write the name of a Service of the TrafficSplit's namespace";

/// Why a text is not the name of a Service in the object's namespace.
enum Fault<'t> {
    /// The first label is not a valid DNS label.
    Syntax,
    /// The second label is another namespace.
    Namespace,
    /// `svc.ns.svc.` followed by another domain. The value is `svc`.
    Domain(&'t str),
    /// `svc.ns.<cluster_domain>`, without the label `svc`. The value is the Service's name, `svc`.
    NoSvcLabel(&'t str),
    /// Another host name, or an address.
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
    let write = "write ";
    let likely;
    let (problem, remedy, name, end) = match fault {
        Fault::Syntax => {
            likely = likely_name(text);
            let problem = syntax_problem(text);
            match bare_name(&likely, namespace, cluster_domain) {
                Ok(service) => (problem, write, service, ""),
                Err(Fault::Host) if !is_ip_address(&likely) => host_remedy(problem, &likely, role),
                Err(_) => (problem, NAME_A_SERVICE, "", ""),
            }
        }
        Fault::Namespace => {
            let end = match role {
                Role::Root => ", and write other host names into `hosts`",
                Role::Backend => "",
            };
            ("is not in the TrafficSplit's namespace", "name a Service of the namespace ", namespace, end)
        }
        Fault::Domain(service) => {
            ("is not in the cluster domain", write, service, ", or set `clusterDomain` to the domain of this name")
        }
        Fault::NoSvcLabel(service) => ("lacks the label `svc` before the cluster domain", write, service, ""),
        Fault::Host if is_ip_address(text) => ("is an IP address", NAME_A_SERVICE, "", ""),
        Fault::Host => host_remedy("is not the name of a Service", text, role),
    };
    let name = if name.is_empty() { String::new() } else { quote(name) };
    Err([&quote(text), " ", problem, "; ", remedy, &name, end].concat())
}

fn bare_name<'t>(text: &'t str, namespace: &str, cluster_domain: &str) -> Result<&'t str, Fault<'t>> {
    let mut labels = text.strip_suffix('.').unwrap_or(text).splitn(3, '.');
    let service = labels.next().filter(|service| is_label(service)).ok_or(Fault::Syntax)?;
    let is_own = labels.next().is_none_or(|own| own == namespace);
    match (labels.next(), is_own) {
        (None, true) => Ok(service),
        (Some(tail), true) if is_service_domain(tail, cluster_domain) => Ok(service),
        (Some(tail), true) if tail == cluster_domain => Err(Fault::NoSvcLabel(service)),
        (Some(tail), _) if tail != "svc" && !tail.starts_with("svc.") => Err(Fault::Host),
        (Some(_), true) => Err(Fault::Domain(service)),
        (Some(_), false) => Err(Fault::Namespace),
        (None, false) => Err(Fault::Namespace),
    }
}

/// Returns why a text has no valid first label, as a predicate of the text.
fn syntax_problem(text: &str) -> &'static str {
    let has = |is_meant: fn(&u8) -> bool| text.as_bytes().iter().any(is_meant);
    match text {
        "" => "is empty",
        _ if after_scheme(text).is_some() => "is a URL",
        _ if has(|byte| *byte == b'/') => "contains a slash",
        _ if has(|byte| *byte == b':') => "contains a port",
        _ if has(u8::is_ascii_whitespace) => "contains white space",
        _ if has(|byte| *byte == b'_') => "contains an underscore",
        _ if has(u8::is_ascii_uppercase) => "contains upper-case letters",
        _ => "is not the name of a Service (lower-case letters, digits and `-`, 63 at most)",
    }
}

/// Returns the part of a URL after `://`.
fn after_scheme(text: &str) -> Option<&str> {
    text.split_once(':')?.1.strip_prefix("//")
}

/// Returns the host that the author of a text without a valid first label probably means.
fn likely_name(text: &str) -> String {
    let host = match (after_scheme(text), text.split_once('/')) {
        (Some(host), _) => host,
        // `namespace/name`, or `service/name` as `kubectl` writes it.
        (None, Some((_, name))) => name,
        (None, None) => text,
    };
    let bytes = host.bytes().skip_while(u8::is_ascii_whitespace).take_while(|byte| !matches!(byte, b'/' | b':' | b' '));
    let valid = bytes.map(|byte| if byte == b'_' { '-' } else { char::from(byte.to_ascii_lowercase()) });
    valid.collect()
}

fn host_remedy<'t>(problem: &'t str, host: &'t str, role: Role) -> (&'t str, &'t str, &'t str, &'t str) {
    match role {
        Role::Root => (problem, "write the name of the root Service, and add to `hosts` the host ", host, ""),
        Role::Backend => (problem, NAME_A_SERVICE, "", ""),
    }
}
