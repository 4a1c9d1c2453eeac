//! Decides which virtual hosts enable the filter: those that serve the root of a split. Everywhere else, Envoy skips the filter.

use crate::roots::roots;
use crate::wiring::WASM_TYPE;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use traffic_split::Configuration;

/// Maximum number of patches that enable the filter for one kind of proxy. Istiod compares each patch with each virtual host of each
/// route configuration of each proxy; docs/istio.md has the measured cost.
pub(crate) const MAX_PATCHES: usize = 200;

/// The virtual hosts of Istio's proxies that enable the filter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EnabledHosts {
    Only(BTreeSet<VirtualHostMatch>),
    All(Reason),
}

/// The condition of a patch for a virtual host.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VirtualHostMatch {
    /// A domain of the virtual host; requires no port. Istio has this condition since 1.25. Older releases drop it, so the patch
    /// applies to all virtual hosts.
    Domain(String),
    /// The name that Istio gives to the virtual host of a Service's port. Required for ports whose protocol Istio detects: the virtual
    /// host then has only the domain `*`.
    ServicePort(String, u16),
}

/// Why all virtual hosts enable the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    TooManyRoots,
    /// Requests to a port whose protocol Istio detects would not be split.
    UnknownPorts,
}

/// Returns the virtual hosts of sidecars that enable the filter: those of each root's Service and of the names in `hosts`. A root
/// without known ports enables all virtual hosts unless `knows_all_services`: it then has no Service.
pub(crate) fn of_sidecars(configuration: &Configuration, knows_all_services: bool) -> EnabledHosts {
    let mut matches = of_names_in_hosts(configuration);
    for (namespace, service) in roots(configuration) {
        let host = format!("{service}.{namespace}.svc.{}", configuration.cluster_domain);
        let known = configuration.services.get(&format!("{namespace}/{service}"));
        match known.and_then(|known| known.ports.as_ref()) {
            Some(ports) => {
                matches.extend(ports.keys().map(|port| VirtualHostMatch::ServicePort(host.clone(), *port)));
            }
            None if !knows_all_services => return EnabledHosts::All(Reason::UnknownPorts),
            None => {}
        }
        matches.insert(VirtualHostMatch::Domain(host));
    }
    EnabledHosts::at_most(MAX_PATCHES, matches)
}

/// Returns the virtual hosts of gateways that enable the filter: those of the names in `hosts`.
pub(crate) fn of_gateways(configuration: &Configuration) -> EnabledHosts {
    EnabledHosts::at_most(MAX_PATCHES, of_names_in_hosts(configuration))
}

/// Returns the virtual hosts of the names in `hosts` whose Service is a root. A virtual host with a wildcard may serve such a name.
fn of_names_in_hosts(configuration: &Configuration) -> BTreeSet<VirtualHostMatch> {
    let roots = roots(configuration);
    let is_root = |key: &str| key.split_once('/').is_some_and(|root| roots.contains(&root));
    let names = configuration.hosts.iter().filter(|(_, root)| is_root(&root.service)).map(|(name, _)| name.as_str());
    names.flat_map(domains).map(VirtualHostMatch::Domain).collect()
}

/// Returns the domains of virtual hosts that may serve a name: the name, and each wildcard that contains the name.
fn domains(name: &str) -> impl Iterator<Item = String> {
    let parents = name.match_indices('.').map(|(dot, _)| format!("*{}", &name[dot..]));
    [name.to_owned()].into_iter().chain(parents).chain(["*".to_owned()])
}

/// Returns the `typed_per_filter_config` of a virtual host that enables the filter named `filter`.
pub(crate) fn enabling(filter: &str) -> Value {
    json!({
        filter: {
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
            // Without `config`, Envoy refuses the routes; without a type, Istiod refuses the patch.
            "config": {"@type": WASM_TYPE},
            // The Wasm filter has no configuration for virtual hosts. Without `is_optional`, Envoy refuses the routes.
            "is_optional": true,
        },
    })
}

// === impl EnabledHosts ===

impl EnabledHosts {
    fn at_most(max: usize, matches: BTreeSet<VirtualHostMatch>) -> Self {
        if matches.len() > max { Self::All(Reason::TooManyRoots) } else { Self::Only(matches) }
    }

    /// Returns the value of `match.routeConfiguration` of each patch; `None` matches all virtual hosts.
    pub(crate) fn conditions(&self) -> Vec<Option<Value>> {
        match self {
            Self::All(_) => vec![None],
            Self::Only(matches) => matches.iter().map(|host| Some(json!({"vhost": host.vhost()}))).collect(),
        }
    }

    /// Returns why all virtual hosts enable the filter; `None` if only some do.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Only(_) => None,
            Self::All(reason) => Some(*reason),
        }
    }
}

// === impl Reason ===

impl Display for Reason {
    fn fmt(&self, text: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRoots => write!(
                text,
                "the roots have more than {MAX_PATCHES} names and ports, so proxies run the filter for all hosts, not only for the roots; \
                 to reduce its cost, remove splits, or ports of their roots"
            ),
            Self::UnknownPorts => text.write_str(
                "the ports of a root are unknown, so proxies run the filter for all hosts, not only for the roots; to reduce its cost, \
                 add the root's Service to the input",
            ),
        }
    }
}

// === impl VirtualHostMatch ===

impl VirtualHostMatch {
    fn vhost(&self) -> Value {
        match self {
            Self::Domain(domain) => json!({"domainName": domain}),
            Self::ServicePort(host, port) => json!({"name": format!("{host}:{port}")}),
        }
    }
}
