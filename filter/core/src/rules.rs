//! Where a request goes: the one place that decides it.

use crate::authority::{Authority, Port};
use crate::cluster::Cluster;
use crate::configuration::Configuration;
use crate::name;
use crate::problem::{Object, Problem};
use crate::table::{Choice, Table};
use crate::traffic_split::TrafficSplit;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What one client's sidecar makes of a configuration: made once, then asked for each request.
///
/// Finding a request's root costs the same for one split and for ten thousand.
#[derive(Debug)]
pub struct Rules {
    /// The client's namespace is one of the excluded.
    excluded: bool,
    cluster_domain: Box<str>,
    /// By `service.namespace`.
    by_name: HashMap<Box<str>, usize>,
    /// By Service, in the client's own namespace.
    by_bare_name: HashMap<Box<str>, usize>,
    /// By the host names of the configuration's `hosts`.
    by_host: HashMap<Box<str>, usize>,
    roots: Box<[Root]>,
    backends: usize,
    warnings: Vec<Problem>,
}

/// A root Service.
#[derive(Debug)]
struct Root {
    /// Its ports, if they are known.
    ports: Option<Box<[u16]>>,
    split: Split,
}

#[derive(Debug)]
struct Split {
    /// `namespace/name`.
    name: Box<str>,
    backends: Box<[Box<str>]>,
    /// The ordinal of the first backend; the others follow.
    first_ordinal: usize,
    /// For the ports that anything is known of.
    by_port: BTreeMap<u16, Table>,
    /// For all other ports.
    otherwise: Table,
}

/// What is asked of a request. Each call may cost a call of the host, so nothing is asked that
/// doesn't decide anything.
pub trait Request {
    /// The first value of a header, pseudo-headers such as `:authority` included.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// The port that the client connected to.
    fn destination_port(&self) -> Option<u16>;
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'r> {
    /// To the root Service, or wherever it would go if there were no split.
    Root(WhyRoot),
    /// To a backend.
    Backend(Pick<'r>),
}

/// Why a request goes on as if there were no split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyRoot {
    /// The client's namespace is excluded.
    Excluded,
    /// Its host is no root of a split.
    NoSplit,
    /// Its port is none of the root's, or no port at all.
    NoPort,
    /// No backend with a weight has its port.
    NoBackend,
}

/// The backend that a request goes to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pick<'r> {
    /// The split that decided: `namespace/name`.
    pub split: &'r str,
    /// The backend's Service, a bare name.
    pub backend: &'r str,
    /// The backend's Envoy cluster.
    pub cluster: Cow<'r, str>,
    /// What decided.
    pub reason: Reason,
    /// The backend's number among all backends of all splits: below [`Rules::backends`].
    pub ordinal: usize,
}

/// What picked the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The random number, by weight.
    Random,
}

// === impl Rules ===

impl Rules {
    /// The rules for a client in `client_namespace`; the configuration's own `namespace` comes
    /// before it. Without either, a bare host name is no root's.
    pub fn new(configuration: &Configuration, client_namespace: Option<&str>) -> Self {
        let client_namespace = configuration.namespace.as_deref().or(client_namespace);
        let mut rules = Self {
            excluded: client_namespace
                .is_some_and(|own| configuration.excluded_namespaces.iter().any(|excluded| excluded == own)),
            cluster_domain: configuration.cluster_domain.as_str().into(),
            by_name: HashMap::new(),
            by_bare_name: HashMap::new(),
            by_host: HashMap::new(),
            roots: Box::default(),
            backends: 0,
            warnings: Vec::new(),
        };
        let mut roots = Vec::with_capacity(configuration.traffic_splits.len());
        let mut by_key = HashMap::new();
        for (index, split) in configuration.traffic_splits.iter().enumerate() {
            rules.warn(index, split);
            let namespace = &split.metadata.namespace;
            let service = &split.spec.service;
            rules.by_name.insert(format!("{service}.{namespace}").into(), roots.len());
            if client_namespace == Some(namespace) {
                rules.by_bare_name.insert(service.as_str().into(), roots.len());
            }
            by_key.insert(format!("{namespace}/{service}"), roots.len());
            roots.push(Root::new(configuration, split, rules.backends));
            rules.backends += split.spec.backends.len();
        }
        for (host, key) in &configuration.hosts {
            // A host of a root that has no split now is no mistake: splits come and go.
            if let Some(&root) = by_key.get(key) {
                rules.by_host.insert(host.as_str().into(), root);
            }
        }
        rules.roots = roots.into();
        rules
    }

    /// What is worth a word to the author of the configuration, though it is valid.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// How many backends all splits have together.
    pub fn backends(&self) -> usize {
        self.backends
    }

    /// Where `request` goes. `random` is uniform over all of `u64`; the same arguments always
    /// give the same answer.
    pub fn decide(&self, request: &impl Request, random: u64) -> Decision<'_> {
        self.pick(request, random).map_or_else(Decision::Root, Decision::Backend)
    }

    fn pick(&self, request: &impl Request, random: u64) -> Result<Pick<'_>, WhyRoot> {
        if self.excluded {
            return Err(WhyRoot::Excluded);
        }
        // Nobody pays for reading a header where there are no splits.
        if self.roots.is_empty() {
            return Err(WhyRoot::NoSplit);
        }
        let authority = request.header(":authority");
        let authority = authority.as_deref().and_then(Authority::parse).ok_or(WhyRoot::NoSplit)?;
        let root = self.root(&authority.host).ok_or(WhyRoot::NoSplit)?;
        let port = root.port(authority.port, request).ok_or(WhyRoot::NoPort)?;
        let split = &root.split;
        let choice = split.table(port).pick(random).ok_or(WhyRoot::NoBackend)?;
        Ok(split.picked(choice, port, Reason::Random))
    }

    fn root(&self, host: &str) -> Option<&Root> {
        let mut labels = host.splitn(3, '.');
        let service = labels.next()?;
        let index = match labels.next() {
            None => self.by_bare_name.get(host),
            Some(namespace) => {
                let in_cluster = labels.next().is_none_or(|tail| name::is_service_domain(tail, &self.cluster_domain));
                let name = host.get(..service.len() + 1 + namespace.len())?;
                if in_cluster { self.by_name.get(name) } else { None }
            }
        };
        self.roots.get(*index.or_else(|| self.by_host.get(host))?)
    }

    fn warn(&mut self, index: usize, split: &TrafficSplit) {
        for (place, backend) in split.spec.backends.iter().enumerate() {
            if backend.weight.is_none() {
                self.warnings.push(Problem {
                    object: Object::TrafficSplit { index, name: split.key() },
                    field: format!("spec.backends[{place}].weight"),
                    message: "is missing and counts as 0".into(),
                });
            }
        }
    }
}

// === impl Pick ===

impl Pick<'_> {
    /// The name of the counter of such picks, its labels packed Istio's way: tag rules such as
    /// `(split=\.=(.*?);\.;)` make them labels in Prometheus.
    pub fn counter(&self) -> String {
        let Self { split, backend, reason, .. } = self;
        format!("traffic_split_requests.split=.={split};.;backend=.={backend};.;reason=.={};.;", reason.as_str())
    }
}

// === impl Root ===

impl Root {
    fn new(configuration: &Configuration, split: &TrafficSplit, first_ordinal: usize) -> Self {
        let namespace = &split.metadata.namespace;
        let ports = |service: &str| configuration.services.get(&format!("{namespace}/{service}"))?.ports.as_ref();
        let own = ports(&split.spec.service);
        let backends = &split.spec.backends;

        let mut spoken_of = BTreeSet::new();
        match own {
            Some(own) => spoken_of.extend(own.keys()),
            None => {
                spoken_of.extend(backends.iter().filter_map(|backend| ports(&backend.service)).flat_map(BTreeMap::keys))
            }
        }
        // A backend whose ports lack the port is left out for it; its weight goes to the others.
        let table = |port: Option<u16>| {
            Table::new(backends.iter().enumerate().filter_map(|(index, backend)| {
                let cluster = configuration.cluster_of(&backend.service, namespace);
                let cluster = match (ports(&backend.service), port) {
                    (Some(known), Some(port)) => Cluster::literal(&cluster.name(known.get(&port)?)),
                    (Some(_), None) => return None,
                    (None, Some(port)) => Cluster::literal(&cluster.name(&port.to_string())),
                    (None, None) => cluster,
                };
                Some((Choice { backend: index, cluster }, backend.weight.unwrap_or_default()))
            }))
        };
        Self {
            ports: own.map(|own| own.keys().copied().collect()),
            split: Split {
                name: split.key().into(),
                backends: backends.iter().map(|backend| backend.service.as_str().into()).collect(),
                first_ordinal,
                by_port: spoken_of.iter().map(|&&port| (port, table(Some(port)))).collect(),
                otherwise: table(None),
            },
        }
    }

    /// The root's port that a request is for.
    fn port(&self, authority: Port, request: &impl Request) -> Option<u16> {
        let authority = match authority {
            Port::Invalid => return None,
            Port::Number(port) => Some(port),
            Port::None => None,
        };
        let Some(ports) = &self.ports else {
            return authority.or_else(|| request.destination_port()).or(Some(80));
        };
        let known = |port: &u16| ports.contains(port);
        authority.filter(known).or_else(|| request.destination_port().filter(known)).or(match **ports {
            [only] => Some(only),
            _ => None,
        })
    }
}

// === impl Split ===

impl Split {
    fn table(&self, port: u16) -> &Table {
        self.by_port.get(&port).unwrap_or(&self.otherwise)
    }

    fn picked<'r>(&'r self, choice: &'r Choice, port: u16, reason: Reason) -> Pick<'r> {
        Pick {
            split: &self.name,
            backend: self.backends.get(choice.backend).map_or("", |backend| backend),
            cluster: choice.cluster.name(&port.to_string()),
            reason,
            ordinal: self.first_ordinal + choice.backend,
        }
    }
}

// === impl Reason ===

impl Reason {
    /// The value of the metric's `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
        }
    }
}
