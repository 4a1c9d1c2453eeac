//! Warnings about host names: `hosts` of a configuration, and `--endpoint` and `--host` of a bare Envoy.

use crate::bootstrap::{BootstrapOptions, Endpoint};
use crate::diagnostic::Diagnostic;
use crate::roots::roots;
use crate::suggestion::did_you_mean_or_list;
use std::collections::BTreeSet;
use traffic_split::{Configuration, HostRoot, Object, Problem, is_label};

/// Returns a warning for each entry of `hosts` whose root has no split, and for each entry that is the name of a Service.
pub(crate) fn host_warnings(configuration: &Configuration) -> Vec<Problem> {
    let (roots, services) = (root_keys(configuration), services(configuration));
    let warning = |(host, HostRoot { service, .. }): (&String, &HostRoot)| {
        let message = match service_of_host(configuration, &services, host, None) {
            Some(own) if own == *service || roots.contains(&own) => {
                format!("is a name of the Service {own}, which takes precedence; remove this entry")
            }
            Some(own) => {
                format!(
                    "is a name of the Service {own}, so its requests are handled as requests to {service}; remove this entry"
                )
            }
            None if roots.contains(service) => return None,
            None => format!(
                "{service} is not the root of a split, so requests to this host are not split{}",
                did_you_mean_or_list(service, roots.iter().map(String::as_str), "the roots")
            ),
        };
        Some(Problem { object: Object::Configuration, field: format!("hosts[{host:?}]"), message })
    };
    configuration.hosts.iter().filter_map(warning).collect()
}

/// Returns a warning for each endpoint that no Service of the input uses, and for each host that is the name of a Service.
#[must_use]
pub fn bootstrap_warnings(configuration: &Configuration, options: &BootstrapOptions) -> Vec<Diagnostic> {
    let services = services(configuration);
    let endpoints = options.endpoints.iter().filter_map(|endpoint| {
        let Endpoint { service, namespace, port, .. } = endpoint;
        let name = format!("{service}.{namespace}");
        let known = configuration.services.get(&format!("{namespace}/{service}"));
        let ports = known.and_then(|known| known.ports.as_ref());
        let message = match (ports, port) {
            _ if !services.contains(&format!("{namespace}/{service}")) => {
                let names: Vec<_> = services.iter().filter_map(|key| name_of(key)).collect();
                let known = did_you_mean_or_list(&name, names.iter().map(String::as_str), "its Services");
                format!("the input has no such Service{known}")
            }
            (Some(ports), _) if ports.is_empty() => "is not used, because the Service receives no requests".into(),
            (Some(ports), Some(port)) if !ports.contains_key(port) => {
                let ports: Vec<_> = ports.keys().take(20).map(u16::to_string).collect();
                format!("is not used, because the Service has no port {port}; its ports: {}", ports.join(", "))
            }
            _ => return None,
        };
        Some(Diagnostic::warning("", format!("--endpoint {name}"), "", message))
    });
    let namespace = configuration.namespace.as_deref().unwrap_or(&options.namespace);
    let hosts = options.hosts.iter().filter_map(|host| {
        let service = service_of_host(configuration, &services, &host.name, Some(namespace));
        let service = service.or_else(|| Some(configuration.hosts.get(&host.name)?.service.clone()))?;
        let endpoint = name_of(&service)?;
        let message =
            format!("is a name of the Service {service}, which takes precedence; use --endpoint {endpoint}=HOST:PORT");
        Some(Diagnostic::warning("", format!("--host {}", host.name), "", message))
    });
    endpoints.chain(hosts).collect()
}

/// Returns the Service that a host names, as `namespace/name`: one of `services`, or any Service if the host ends in `.svc` or the
/// cluster domain.
fn service_of_host(
    configuration: &Configuration,
    services: &BTreeSet<String>,
    host: &str,
    client_namespace: Option<&str>,
) -> Option<String> {
    let is_known = |key: &String| services.contains(key);
    let mut labels = host.splitn(3, '.');
    let service = labels.next().filter(|service| is_label(service))?;
    let Some(namespace) = labels.next() else {
        return Some(format!("{}/{service}", client_namespace?)).filter(is_known);
    };
    let key = format!("{namespace}/{service}");
    match labels.next() {
        None => Some(key).filter(is_known),
        Some("svc" | "svc.cluster") => Some(key),
        Some(tail) => (tail.strip_prefix("svc.") == Some(&configuration.cluster_domain)).then_some(key),
    }
}

/// Returns the root of each split, as `namespace/name`.
fn root_keys(configuration: &Configuration) -> BTreeSet<String> {
    roots(configuration).into_iter().map(|(namespace, service)| format!("{namespace}/{service}")).collect()
}

/// Returns each Service that the configuration names, as `namespace/name`.
fn services(configuration: &Configuration) -> BTreeSet<String> {
    let mut services = root_keys(configuration);
    services.extend(configuration.services.keys().cloned());
    for split in &configuration.traffic_splits {
        let namespace = &split.metadata.namespace;
        services.extend(split.spec.backends.iter().map(|backend| format!("{namespace}/{}", backend.service)));
    }
    services
}

/// Returns `name.namespace` of a Service's `namespace/name`.
fn name_of(key: &str) -> Option<String> {
    key.split_once('/').map(|(namespace, name)| format!("{name}.{namespace}"))
}

/// Returns the hosts of all roots that a client in `namespace` may call: `service.namespace`, its longer forms, the bare names of
/// the client's namespace, and the names in `hosts`.
pub(crate) fn root_hosts(configuration: &Configuration, namespace: Option<&str>) -> Vec<String> {
    let mut hosts: Vec<_> = root_keys(configuration).iter().filter_map(|key| name_of(key)).collect();
    hosts.extend(configuration.hosts.keys().cloned());
    let own = configuration.traffic_splits.iter().filter(|split| Some(&*split.metadata.namespace) == namespace);
    let own: BTreeSet<_> = own.map(|split| split.spec.service.clone()).collect();
    hosts.extend(own);
    hosts
}
