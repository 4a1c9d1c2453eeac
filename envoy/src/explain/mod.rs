//! Explains the filter's decision for one request.
//!
//! This module makes no decision: [`Rules::explain`] records the filter's own decision. This module adds file names, reasons and
//! notes.

mod explanation;
mod port;
mod request;
mod text;

pub use explanation::Explanation;
pub use request::{Header, RequestDescription};

use crate::host_warnings::root_hosts;
use crate::load::Input;
use crate::suggestion::did_you_mean_or_list;
use explanation::{
    BackendShare, DecidedBy, Destination, ExcludedBackend, FailedMatchReport, MirrorDestination, RootDestination,
    SetCookie, SkippedSplit, SplitReference,
};
use traffic_split::{
    Configuration, FailedMatch, MatchCondition, Reason, RootReason, RoutingTrace, Rules, TrafficSplit, Weight,
    is_label, is_subdomain,
};

/// Explains what the filter of a client's sidecar does with `request`.
pub fn explain(input: &Input, request: &RequestDescription) -> Explanation {
    let configuration = &input.configuration;
    let mut request = request.clone();
    if configuration.namespace.is_some() {
        request.namespace.clone_from(&configuration.namespace);
    }
    let rules = Rules::new(configuration, request.namespace.as_deref());
    let trace = rules.explain(&request);
    let reference = |name: &str| SplitReference { name: name.into(), file: input.file_of_split(name).map(Into::into) };
    let skipped = trace.skipped.iter().map(|(split, misses)| SkippedSplit {
        split: reference(split),
        matches: misses.iter().map(|miss| failed_match(miss, &request)).collect(),
    });
    let skipped = skipped.collect();
    let split = trace.split.and_then(|name| configuration.traffic_splits.iter().find(|split| split.key() == name));
    let root = trace.root_reason.map(|reason| {
        let ports = trace.root.and_then(|root| ports_of_root(configuration, root)).unwrap_or_default();
        let why_no_port =
            (reason == RootReason::NoPort).then(|| port::why_none(&trace, &ports, request.port)).flatten();
        root_destination(reason, why_no_port.unwrap_or_else(|| reason.to_string()))
    });
    let mut explanation = Explanation {
        request,
        root_service: trace.root.map(Into::into),
        skipped,
        split: trace.split.map(reference),
        matched: trace.matched.map(Into::into),
        port: trace.port,
        port_reason: port::reason(&trace),
        reason: None,
        decided_by: None,
        backend: None,
        root,
        shares: Vec::new(),
        left_out: Vec::new(),
        set_cookie: None,
        mirror: None,
        notes: Vec::new(),
    };
    if trace.root_reason.is_none() {
        explanation.add_backends(&trace, split);
    }
    if let (Some(split), Some(port)) = (split, trace.port) {
        explanation.left_out = excluded_backends(input, split, port);
    }
    explanation.add_notes(configuration, &trace, split);
    explanation
}

// === impl Explanation ===

impl Explanation {
    /// Adds which backends can serve the request, what decides, and the mirror.
    fn add_backends(&mut self, trace: &RoutingTrace<'_>, split: Option<&TrafficSplit>) {
        let shares = trace.shares.iter().map(|share| BackendShare {
            service: share.backend.into(),
            cluster: share.cluster.to_string(),
            weight: share.weight,
            share: share.share,
        });
        self.shares = shares.collect();
        let reason = match (&trace.certain, trace.new_cookie) {
            (Some(certain), _) => {
                self.backend = self.destination(certain.backend);
                self.decided_by = Some(decided_by(&certain.decided_by));
                certain.reason
            }
            (None, Some(cookie)) => {
                let annotations = split.map(|split| &split.metadata.annotations);
                let attributes = annotations.and_then(|own| own.sticky_cookie_attributes.clone()).unwrap_or_default();
                self.set_cookie = Some(SetCookie { name: cookie.into(), attributes: attributes.to_string() });
                Reason::Sticky
            }
            (None, None) => Reason::Random,
        };
        self.reason = Some(reason.as_str());
        let mut weighted = self.shares.iter().filter(|share| share.weight > Weight::default());
        if self.backend.is_none()
            && let (Some(only), None) = (weighted.next(), weighted.next())
        {
            // A random pick from one backend is certain.
            self.backend = Some(Destination { service: only.service.clone(), cluster: only.cluster.clone() });
        }
        if let Some((service, percent)) = trace.mirror
            && let Some(Destination { service, cluster }) = self.destination(service)
        {
            if self.backend.as_ref().is_some_and(|backend| backend.service == service) {
                self.notes
                    .push(format!("the mirror backend {service} serves these requests itself and receives no copies"));
            } else {
                let percent = percent.billionths() as f64 / 1e9;
                self.mirror = Some(MirrorDestination { service, cluster, percent });
            }
        }
    }

    fn destination(&self, service: &str) -> Option<Destination> {
        let share = self.shares.iter().find(|share| share.service == service)?;
        Some(Destination { service: service.into(), cluster: share.cluster.clone() })
    }

    /// Adds notes about results that may surprise the user.
    fn add_notes(&mut self, configuration: &Configuration, trace: &RoutingTrace<'_>, split: Option<&TrafficSplit>) {
        let ports = trace.root.and_then(|root| ports_of_root(configuration, root));
        let is_bare = self.request.host.split(':').next().is_some_and(|host| is_label(&host.to_ascii_lowercase()));
        match (trace.root, trace.port, ports) {
            (None, ..) if is_bare && self.request.namespace.is_none() => self.notes.push(
                "a bare Service name is a root only for clients in its namespace; set --namespace to the client's namespace"
                    .into(),
            ),
            (None, ..) if self.root.as_ref().is_some_and(|root| root.code == "noSplit") => {
                self.notes.extend(note_on_unknown_host(configuration, &self.request));
            }
            (Some(root), None, Some(ports)) => self.notes.push(format!("{root} has {}", ports_text(&ports))),
            (Some(root), Some(port), None) if self.request.port.is_none() && !self.request.host.contains(':') => {
                self.notes.push(format!(
                    "port {port} is assumed, because the ports of {root} are unknown; add the Service to the input, or set --port"
                ));
            }
            _ => {}
        }
        let override_header = split.and_then(|split| split.metadata.annotations.override_header.as_deref());
        if let Some(header) = override_header
            && self.root.is_none()
            && self.reason != Some(Reason::Override.as_str())
            && let Some(value) = self.request.value(header)
        {
            let note =
                format!("the override header {header}: {value} is ignored, because it names no backend with this port");
            self.notes.push(note);
        }
        self.notes.extend(self.request.header_notes());
    }
}

/// Returns a note for a host that is not a root: the host that was probably meant, or the hosts of all roots.
fn note_on_unknown_host(configuration: &Configuration, request: &RequestDescription) -> Option<String> {
    let host = request.host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    if !is_subdomain(host) {
        return None;
    }
    let known = root_hosts(configuration, request.namespace.as_deref());
    let known = did_you_mean_or_list(host, known.iter().map(String::as_str), "the roots");
    (!known.is_empty()).then(|| format!("no root has the host {host}{known}"))
}

/// Returns the backends that receive none of the requests to `port`, because they lack it.
fn excluded_backends(input: &Input, split: &TrafficSplit, port: u16) -> Vec<ExcludedBackend> {
    let excluded = split.spec.backends.iter().filter_map(|backend| {
        let key = format!("{}/{}", split.metadata.namespace, backend.service);
        let ports = known_ports(&input.configuration, &key)?;
        (!ports.contains(&port)).then(|| ExcludedBackend {
            service: backend.service.clone(),
            weight: backend.weight.unwrap_or_default(),
            why: match input.no_traffic.get(&key) {
                Some(reason) => format!("the Service {reason}"),
                None => format!("the Service has {}, not {port}", ports_text(&ports)),
            },
        })
    });
    excluded.collect()
}

fn failed_match(miss: &FailedMatch<'_>, request: &RequestDescription) -> FailedMatchReport {
    let mut why = match miss.condition {
        MatchCondition::Method(methods) => format!("the method {} is not {}", request.method, methods.join(" or ")),
        MatchCondition::Path(pattern) => {
            let path = request.path.split('?').next().unwrap_or_default();
            format!("the path {path} does not begin with {pattern}")
        }
        MatchCondition::Header(name, pattern) => match request.value(name) {
            Some(value) => format!("the header {name}: {value} does not match {pattern}"),
            None => format!("the header {name} is missing; it must match {pattern}"),
        },
        _ => "a condition does not hold".into(),
    };
    if miss.too_long {
        why.push_str(" (the value is too long to be matched: see docs/limits.md)");
    }
    FailedMatchReport { name: miss.name.into(), why }
}

fn decided_by(by: &traffic_split::DecidedBy<'_>) -> DecidedBy {
    let (kind, name, value) = match by {
        traffic_split::DecidedBy::Header(name, value) => ("header", name, value),
        traffic_split::DecidedBy::Cookie(name, value) => ("cookie", name, value),
    };
    DecidedBy { kind, name: (*name).into(), value: String::from_utf8_lossy(value).into() }
}

fn root_destination(reason: RootReason, why: String) -> RootDestination {
    let code = match reason {
        RootReason::Excluded => "excluded",
        RootReason::NoSplit => "noSplit",
        RootReason::NoPort => "noPort",
        RootReason::NoMatch => "noMatch",
        RootReason::NoBackend => "noBackend",
        _ => "other",
    };
    RootDestination { code, why }
}

/// Returns the ports of the root `service.namespace`, if they are known.
fn ports_of_root(configuration: &Configuration, root: &str) -> Option<Vec<u16>> {
    let (service, namespace) = root.split_once('.')?;
    known_ports(configuration, &format!("{namespace}/{service}"))
}

/// Returns the ports of a Service, if they are known.
fn known_ports(configuration: &Configuration, key: &str) -> Option<Vec<u16>> {
    Some(configuration.services.get(key)?.ports.as_ref()?.keys().copied().collect())
}

fn ports_text(ports: &[u16]) -> String {
    match ports {
        [] => "no port".into(),
        [only] => format!("only the port {only}"),
        many => format!("the ports {}", many.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    }
}
