//! Settings of a configuration that send requests to the wrong Service or damage client requests. The filter accepts these
//! settings, because it knows neither the other headers of a request nor Envoy's clusters.

use crate::wiring::BACKEND_HEADER;
use envoy_request_headers::{JOINED, REMOVED};
use std::collections::{BTreeMap, BTreeSet};
use traffic_split::{Configuration, Object, Problem};

/// Headers of requests that are standard or that proxies and tracing set, in addition to those that Envoy treats specially.
const STANDARD: [&str; 26] = [
    "accept-charset",
    "accept-language",
    "b3",
    "baggage",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "cookie",
    "date",
    "dnt",
    "early-data",
    "forwarded",
    "from",
    "idempotency-key",
    "last-event-id",
    "max-forwards",
    "priority",
    "range",
    "traceparent",
    "tracestate",
    "trailer",
    "upgrade-insecure-requests",
    "warning",
    "x-real-ip",
    "x-requested-with",
];

/// The prefixes of families of standard headers.
const STANDARD_PREFIXES: [&str; 7] =
    ["access-control-", "grpc-", "proxy-", "sec-", "x-b3-", "x-envoy-", "x-forwarded-"];

/// Returns the errors of a configuration that has the Services of the input.
pub(crate) fn configuration_errors(configuration: &Configuration) -> Vec<Problem> {
    let mut errors = standard_headers(configuration);
    errors.extend(cluster_domain(configuration));
    errors.extend(template_with_dollar(configuration));
    errors.extend(templates_of_services(configuration));
    errors.extend(cluster_collision(configuration));
    errors
}

fn problem(field: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { object: Object::Configuration, field: field.into(), message: message.into() }
}

/// Returns an error for each header that the filter owns and that clients, proxies or Envoy use for something else. Envoy removes
/// the filter's headers from every client request.
fn standard_headers(configuration: &Configuration) -> Vec<Problem> {
    let mut defaults = Configuration::default();
    defaults.backend_header = Some(BACKEND_HEADER.into());
    let error = |(field, own): (&'static str, &str)| {
        let (_, header) = configuration.written_headers().into_iter().find(|(key, _)| *key == field)?;
        let message = format!(
            "`{header}` is a standard header, which Envoy would remove from every client request; use a header of your own such as `{own}`"
        );
        is_standard(&header.to_ascii_lowercase()).then(|| problem(field, message))
    };
    defaults.written_headers().into_iter().filter_map(error).collect()
}

/// Returns whether a header has a meaning for clients, proxies or Envoy. The name must be lower case.
fn is_standard(header: &str) -> bool {
    JOINED.contains(&header)
        || REMOVED.contains(&header)
        || STANDARD.contains(&header)
        || STANDARD_PREFIXES.iter().any(|prefix| header.starts_with(prefix))
}

/// Returns an error if the cluster domain contains the label `svc`, which the names of Services have before the domain.
fn cluster_domain(configuration: &Configuration) -> Option<Problem> {
    let domain = configuration.cluster_domain.as_str();
    let after = match domain.strip_prefix("svc.") {
        Some(after) => after,
        // A subdomain with the label `svc` may be the domain of a cluster, except in the default domain.
        None => domain.split_once(".svc.").map(|(_, after)| after).filter(|after| *after == "cluster.local")?,
    };
    Some(problem(
        "clusterDomain",
        format!(
            "`{domain}` contains `svc`, which the names of Services have before the cluster domain; write `{after}`"
        ),
    ))
}

/// Returns an error if a placeholder of `cluster` is written as in a shell.
fn template_with_dollar(configuration: &Configuration) -> Option<Problem> {
    let template = configuration.cluster.to_string();
    let (_, after) = template.split_once("${")?;
    let name = after.split('}').next().unwrap_or_default();
    let message = format!("the `$` in `${{{name}}}` becomes part of the cluster name; write `{{{name}}}`");
    Some(problem("cluster", message))
}

/// Returns an error for each Service whose `cluster` is a template. The filter uses the text as it is.
fn templates_of_services(configuration: &Configuration) -> Vec<Problem> {
    let services = configuration.services.iter();
    let templates = services.filter_map(|(name, service)| Some((name, service.cluster.as_ref()?)));
    let templates =
        templates.filter(|(_, cluster)| cluster.split_once('{').is_some_and(|(_, after)| after.contains('}')));
    let error = |(name, cluster): (&String, &String)| Problem {
        object: Object::Service { name: name.clone() },
        field: "cluster".into(),
        message: format!(
            "`{cluster}` is a template, but a Service has the name of one cluster; write the name, or set the template with \
             the key `cluster` of the configuration"
        ),
    };
    templates.map(error).collect()
}

/// A port of a Service in a cluster name: namespace, Service and the port's value in the template.
type Destination = (String, String, String);

/// Returns an error if the template gives two Services, or two ports of a Service, the same cluster name: one of them would
/// receive the requests of both. Clusters of `services` are names that the operator chose, so equal names are allowed there.
fn cluster_collision(configuration: &Configuration) -> Option<Problem> {
    let template = configuration.cluster.to_string();
    let mut destinations: BTreeMap<String, Destination> = BTreeMap::new();
    for ((namespace, service), ports) in used_ports(configuration) {
        let known = configuration.services.get(&format!("{namespace}/{service}"));
        if known.is_some_and(|known| known.cluster.is_some()) {
            continue;
        }
        for port in ports {
            let value = known.and_then(|known| known.ports.as_ref()?.get(&port).cloned());
            let value = value.unwrap_or_else(|| port.to_string());
            let own = (namespace.to_owned(), service.to_owned(), value);
            let name = configuration.cluster_name(service, namespace, port);
            match destinations.get(&name) {
                Some(other) if *other != own => {
                    return Some(problem("cluster", collision_message(&name, other, &own, &template)));
                }
                Some(_) => {}
                None => _ = destinations.insert(name, own),
            }
        }
    }
    None
}

fn collision_message(name: &str, first: &Destination, second: &Destination, template: &str) -> String {
    let is_missing = |placeholder: &str| !template.contains(placeholder);
    let services = [first, second].map(|(namespace, service, _)| format!("{namespace}/{service}"));
    let [one, other] = &services;
    if one == other {
        let ports = format!("ports {} and {} of the Service {one}", first.2, second.2);
        return format!("{ports} have the cluster name `{name}`; add `{{port}}` to `cluster`");
    }
    let remedy = match () {
        () if first.0 != second.0 && is_missing("{namespace}") => "add `{namespace}` to `cluster`",
        () if first.2 != second.2 && is_missing("{port}") => "add `{port}` to `cluster`",
        () => "separate the placeholders of `cluster`, for example with `|`",
    };
    format!("two Services have the cluster name `{name}`, {one} and {other}; {remedy}")
}

/// Returns the ports to which the splits send requests, by namespace and Service. For a Service with unknown ports, returns one
/// arbitrary port.
fn used_ports(configuration: &Configuration) -> BTreeMap<(&str, &str), BTreeSet<u16>> {
    const ANY_PORT: u16 = 80;
    let known = |namespace: &str, service: &str| {
        let known = configuration.services.get(&format!("{namespace}/{service}"));
        known.and_then(|known| Some(known.ports.as_ref()?.keys().copied().collect::<BTreeSet<_>>()))
    };
    let mut used: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for split in &configuration.traffic_splits {
        let namespace = split.metadata.namespace.as_str();
        let root = known(namespace, &split.spec.service).unwrap_or_else(|| BTreeSet::from([ANY_PORT]));
        for backend in &split.spec.backends {
            let ports = match known(namespace, &backend.service) {
                Some(own) => root.intersection(&own).copied().collect(),
                None => root.clone(),
            };
            used.entry((namespace, backend.service.as_str())).or_default().extend(ports);
        }
        used.entry((namespace, split.spec.service.as_str())).or_default().extend(root);
    }
    used
}
