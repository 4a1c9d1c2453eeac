//! Problems of the Services that a split references. The controller reports them in the condition `ResolvedRefs`, the commands
//! report them as warnings.

use crate::known_services::{KnownServices, ServedPorts};
use traffic_split::{Backend, TrafficSplit, Weight};

/// A problem of the Services of one split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceProblem<'s> {
    /// The path of the field in the split.
    pub(crate) field: String,
    /// The Service that has the problem; `None` if all backends together have it.
    pub(crate) service: Option<&'s str>,
    /// What is wrong and its effect.
    pub(crate) message: String,
    pub(crate) kind: ProblemKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The Service does not exist.
    Missing,
    /// Proxies have no cluster of the Service.
    NoTraffic,
    /// The Service lacks ports of the root.
    Ports,
    /// Istio does not route the ports as HTTP.
    NoHttp,
    /// The root serves although backends have weights.
    RootServes,
}

/// Returns the problems of the Services of a split. `served` has the ports in the configuration. Later problems are not computed
/// before they are needed, because a message may have no room for them.
pub(crate) fn service_problems<'a>(
    split: &'a TrafficSplit,
    services: &'a KnownServices<'_>,
    served: &'a ServedPorts<'_>,
) -> impl Iterator<Item = ServiceProblem<'a>> {
    let check = Check { split, services, served, root_ports: served.get(&(namespace(split), root(split))) };
    let backends = split.spec.backends.iter().enumerate();
    // Canary tools delete and create backends that receive no requests at any time.
    let backends = backends.filter(|(_, backend)| can_receive(split, backend));
    let backends = backends.filter_map(move |(index, backend)| check.backend(index, backend));
    check.root().into_iter().chain(check.backends_together()).chain(backends)
}

/// Returns whether some requests may reach a backend: by its weight, by an override or as copies.
fn can_receive(split: &TrafficSplit, backend: &Backend) -> bool {
    let annotations = &split.metadata.annotations;
    let is_mirror =
        |mirror: &traffic_split::Mirror| mirror.backend == backend.service && mirror.percent > Weight::default();
    backend.has_weight() || annotations.override_header.is_some() || annotations.mirror.as_ref().is_some_and(is_mirror)
}

fn namespace(split: &TrafficSplit) -> &str {
    &split.metadata.namespace
}

fn root(split: &TrafficSplit) -> &str {
    &split.spec.service
}

#[derive(Clone, Copy)]
struct Check<'a> {
    split: &'a TrafficSplit,
    services: &'a KnownServices<'a>,
    served: &'a ServedPorts<'a>,
    /// `None` if unknown.
    root_ports: Option<&'a Vec<u16>>,
}

// === impl Check ===

impl<'a> Check<'a> {
    fn root(&self) -> Option<ServiceProblem<'a>> {
        let root = root(self.split);
        let reason = self.services.no_traffic_reason(namespace(self.split), root);
        let is_missing = self.services.is_missing(namespace(self.split), root);
        let nothing_is_split = self.root_ports.is_some_and(Vec::is_empty);
        let reason = match reason {
            _ if is_missing => "does not exist",
            _ if !nothing_is_split => return self.root_without_http(),
            Some("has no TCP ports") => "has no TCP ports",
            Some("is headless") => "is headless and also a backend",
            Some("is of type ExternalName") => "is of type ExternalName and also a backend",
            _ => "has no ports",
        };
        let effect = if nothing_is_split { "; none of its requests are split" } else { "" };
        Some(ServiceProblem {
            field: "spec.service".into(),
            service: Some(root),
            message: format!("the root Service {root} {reason}{effect}"),
            kind: if is_missing { ProblemKind::Missing } else { ProblemKind::NoTraffic },
        })
    }

    /// Returns the problem that Istio routes no port of the root as HTTP.
    fn root_without_http(&self) -> Option<ServiceProblem<'a>> {
        let root = root(self.split);
        let protocols = self.services.objects.get(&(namespace(self.split), root))?.non_http_protocols()?;
        Some(ServiceProblem {
            field: "spec.service".into(),
            service: Some(root),
            message: format!(
                "the ports of the root Service {root} are declared as {protocols}, so Istio does not route them as HTTP; none \
                 of its requests are split"
            ),
            kind: ProblemKind::NoHttp,
        })
    }

    /// Returns the problem that all backends with a weight lack a port of the root.
    fn backends_together(&self) -> Option<ServiceProblem<'a>> {
        let mut weighted = self.split.spec.backends.iter().filter(|backend| backend.has_weight());
        let root = root(self.split);
        let message = match self.root_ports.map(Vec::as_slice) {
            // The root already has its own problem.
            Some([]) => return None,
            None if weighted.any(|backend| self.no_traffic_reason(backend).is_none()) => return None,
            None => {
                format!(
                    "no backend with a weight above 0 can receive requests; the root {root} serves all requests of the split"
                )
            }
            Some(ports) => {
                let mut missing = ports.to_vec();
                for backend in weighted {
                    match self.ports(backend) {
                        None if self.no_traffic_reason(backend).is_none() => return None,
                        None => {}
                        Some(own) => missing.retain(|port| own.binary_search(port).is_err()),
                    }
                    if missing.is_empty() {
                        return None;
                    }
                }
                match missing.len() == ports.len() {
                    true => format!(
                        "no backend with a weight above 0 can receive requests; the root {root} serves all requests of the split"
                    ),
                    false => format!(
                        "no backend with a weight above 0 has port {}; the root {root} serves these requests",
                        list(&missing)
                    ),
                }
            }
        };
        Some(ServiceProblem { field: "spec.backends".into(), service: None, message, kind: ProblemKind::RootServes })
    }

    fn backend(&self, index: usize, backend: &'a Backend) -> Option<ServiceProblem<'a>> {
        let service = backend.service.as_str();
        let (kind, message) = match (self.no_traffic_reason(backend), self.root_ports, self.ports(backend)) {
            (Some(reason), ..) => {
                let is_missing = self.services.is_missing(namespace(self.split), service);
                let kind = if is_missing { ProblemKind::Missing } else { ProblemKind::NoTraffic };
                (kind, format!("Service {service} {reason}; it receives no requests"))
            }
            (None, Some(root), Some(own)) => {
                let lacks = lacking(root, own);
                let effect = match lacks.len() {
                    0 => return None,
                    all if all == root.len() => "it receives no requests",
                    _ => "it receives requests to its own ports only",
                };
                (ProblemKind::Ports, format!("Service {service} has no port {}; {effect}", list(&lacks)))
            }
            _ => return None,
        };
        Some(ServiceProblem { field: format!("spec.backends[{index}].service"), service: Some(service), message, kind })
    }

    /// Returns the ports of a backend in the configuration; `None` if they are unknown.
    fn ports(&self, backend: &'a Backend) -> Option<&'a [u16]> {
        self.served.get(&(namespace(self.split), backend.service.as_str())).map(Vec::as_slice)
    }

    /// Returns why a backend receives no requests, unless the configuration still has ports of it.
    fn no_traffic_reason(&self, backend: &'a Backend) -> Option<&'static str> {
        let reason = self.services.no_traffic_reason(namespace(self.split), &backend.service)?;
        self.ports(backend).is_none_or(<[u16]>::is_empty).then_some(reason)
    }
}

/// Returns the root's ports that a backend lacks. Both lists are sorted.
fn lacking(root: &[u16], backend: &[u16]) -> Vec<u16> {
    if root == backend {
        return Vec::new();
    }
    let mut others = backend.iter().peekable();
    let lacks = root.iter().filter(|port| {
        while others.next_if(|other| other < port).is_some() {}
        others.peek() != Some(port)
    });
    lacks.copied().collect()
}

/// Lists ports for a message: at most 20.
fn list(ports: &[u16]) -> String {
    const MAX_LISTED_PORTS: usize = 20;
    let mut texts: Vec<_> = ports.iter().take(MAX_LISTED_PORTS + 1).map(u16::to_string).collect();
    if let Some(last) = texts.get_mut(MAX_LISTED_PORTS) {
        *last = "…".into();
    }
    texts.join(", ")
}
