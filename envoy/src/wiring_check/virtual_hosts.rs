//! Finds the virtual hosts that serve a root, by Envoy's rules for `domains`.

use super::values::{self, list};
use serde_json::Value;
use traffic_split::{Configuration, TrafficSplit};

/// A route configuration with its place.
pub(super) type Table<'a> = (String, &'a Value);

/// How well a domain matches a host: the kind of match, then its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Kind, usize);

/// The kinds of domains, in the order of Envoy's search from the last to the first
/// (`RouteMatcher::findVirtualHost` in `source/common/router/config_impl.cc`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Any,
    Prefix,
    Suffix,
    Exact,
}

/// Returns the virtual hosts of a route configuration that serve the root of a split. The virtual host `*` serves the root only if no
/// route configuration names the root.
pub(super) fn of_root<'a>(
    table: &'a Value,
    all: &[Table<'_>],
    configuration: &Configuration,
    split: &TrafficSplit,
) -> Vec<&'a Value> {
    let names = root_names(configuration, split);
    let is_named =
        || all.iter().any(|(_, table)| names.iter().any(|name| find(table, name).is_some_and(|found| !found.is_any)));
    let found: Vec<_> = names.iter().filter_map(|name| find(table, name)).collect();
    let mut hosts: Vec<&Value> = Vec::new();
    for host in found.iter().filter(|found| !found.is_any).flat_map(|found| &found.hosts) {
        if !hosts.iter().any(|known| std::ptr::eq(*known, *host)) {
            hosts.push(host);
        }
    }
    if hosts.is_empty() && !is_named() {
        return found.into_iter().next().map(|found| found.hosts).unwrap_or_default();
    }
    hosts
}

/// Returns the full host names of a split's root.
pub(super) fn root_names(configuration: &Configuration, split: &TrafficSplit) -> Vec<String> {
    let (service, namespace) = (&split.spec.service, &split.metadata.namespace);
    let short = format!("{service}.{namespace}");
    let mut names = vec![format!("{short}.svc.{}", configuration.cluster_domain), format!("{short}.svc"), short];
    let key = format!("{namespace}/{service}");
    names.extend(configuration.hosts.iter().filter(|(_, root)| root.service == key).map(|(host, _)| host.clone()));
    names
}

struct Found<'a> {
    hosts: Vec<&'a Value>,
    is_any: bool,
}

/// Returns the virtual hosts that serve a host name, with any port.
fn find<'a>(table: &'a Value, name: &str) -> Option<Found<'a>> {
    let rated: Vec<_> = list(table, "virtual_hosts")
        .filter_map(|host| {
            let domains = list(host, "domains").filter_map(Value::as_str);
            let rank = match is_detected_port(host, name) {
                true => Some(Rank(Kind::Exact, name.len())),
                false => domains.filter_map(|domain| rank(domain, name)).max(),
            };
            Some((rank?, host))
        })
        .collect();
    let best = rated.iter().map(|(rank, _)| *rank).max()?;
    let hosts = rated.into_iter().filter(|(rank, _)| *rank == best).map(|(_, host)| host).collect();
    Some(Found { hosts, is_any: best.0 == Kind::Any })
}

/// Returns whether a virtual host is that of a Service's port whose protocol Istio detects: it has a route configuration of its own,
/// so its only domain is `*`.
fn is_detected_port(host: &Value, name: &str) -> bool {
    let service = values::name(host).rsplit_once(':').map(|(service, _)| service);
    list(host, "domains").eq(["*"].iter()) && service.is_some_and(|service| service.eq_ignore_ascii_case(name))
}

fn rank(domain: &str, name: &str) -> Option<Rank> {
    let domain = domain.to_ascii_lowercase();
    let domain = match domain.rsplit_once(':') {
        Some((host, port)) if port == "*" || port.parse::<u16>().is_ok() => host,
        _ => &domain,
    };
    let name = name.to_ascii_lowercase();
    let kind = match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
        (Some(""), _) => Kind::Any,
        // A wildcard stands for at least one character.
        (Some(suffix), _) if name.len() > suffix.len() && name.ends_with(suffix) => Kind::Suffix,
        (_, Some(prefix)) if name.len() > prefix.len() && name.starts_with(prefix) => Kind::Prefix,
        _ if domain == name => Kind::Exact,
        _ => return None,
    };
    Some(Rank(kind, domain.len()))
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::wiring_check::values::name;
    use serde_json::json;

    #[test]
    fn virtual_host_is_the_one_that_envoy_selects() {
        let table = json!({"virtual_hosts": [
            {"name": "any", "domains": ["*"]},
            {"name": "suffix", "domains": ["*.example.com"]},
            {"name": "longer suffix", "domains": ["*.shop.example.com"]},
            {"name": "prefix", "domains": ["web.*"]},
            {"name": "exact", "domains": ["Web.Shop.example.com:8080"]},
            {"name": "exact, other port", "domains": ["web.shop.example.com:*"]},
            {"name": "web.shop.svc.cluster.local:80", "domains": ["*"]},
            {"name": "web.shop.svc:80", "domains": ["*", "a"]},
        ]});
        for (host, expected) in [
            ("web.shop.example.com", &["exact", "exact, other port"][..]),
            ("api.shop.example.com", &["longer suffix"]),
            ("shop.example.com", &["suffix"]),
            ("web.example.org", &["prefix"]),
            ("web.example.com", &["suffix"]),
            ("web.shop.svc.cluster.local", &["web.shop.svc.cluster.local:80"]),
            ("example.com", &["any", "web.shop.svc.cluster.local:80", "web.shop.svc:80"]),
        ] {
            let found: Vec<_> = find(&table, host).unwrap().hosts.into_iter().map(name).collect();
            assert_eq!(found, expected, "{host}");
        }
    }
}
