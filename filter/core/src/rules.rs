//! Where a request goes: the one place that decides it.

use crate::authority::{Authority, Port};
use crate::configuration::{Configuration, HostRoot};
use crate::cookie;
use crate::name;
use crate::problem::{Object, Problem};
use crate::read::quote;
use crate::request::{Asked, Chance, Request};
use crate::split::{self, Backend, Candidates, Group, Miss, Split, Target, Way};
use crate::traffic_split::TrafficSplit;
use crate::weight::Weight;
use base64ct::{Base64UrlUnpadded, Encoding};
use rpds::HashTrieMapSync;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What one client's sidecar makes of a configuration: made once, then asked for each request.
///
/// Finding a request's root costs the same for one split and for ten thousand.
///
/// Rules share memory: see [`Rules::sharing`]. They are never changed, so rules that share memory
/// with newer ones decide as they always did.
#[derive(Debug)]
pub struct Rules {
    /// The client's namespace is one of the excluded.
    excluded: bool,
    cluster_domain: Arc<str>,
    entries: HashTrieMapSync<Arc<str>, Entry>,
    warnings: Vec<Problem>,
}

/// What rules find by name. One map holds both kinds: each type of map is 15 kB of the filter.
#[derive(Clone, Debug)]
enum Entry {
    /// By each name of the Service that clients use: `service.namespace`, and the bare name in the
    /// client's own namespace.
    Root(Arc<Root>),
    /// By a name in the configuration's `hosts`, with the port that the operator gave.
    Host(Arc<Root>, Option<u16>),
    /// By `namespace/name`, which is no host name. Held only for the next rules to share.
    Group(Group),
}

/// A root Service.
#[derive(Debug, PartialEq)]
struct Root {
    /// `service.namespace`.
    name: Arc<str>,
    /// Its ports in order, if they are known.
    ports: Option<Box<[u16]>>,
    /// The first that accepts a request decides.
    splits: Box<[Arc<Split>]>,
}

/// Where the root's port of a request comes from.
#[derive(Clone, Copy)]
enum PortSource {
    /// A Service's own name: the port in the client's `Host` counts.
    Authority(Port),
    /// A name in `hosts`: the port is the operator's, never the client's.
    Operator(Option<u16>),
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
    /// No match of the root's splits holds for it.
    NoMatch,
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
    /// The Envoy cluster that gets a copy of the request.
    pub mirror: Option<Cow<'r, str>>,
    /// The value of a `Set-Cookie` for the response.
    pub set_cookie: Option<String>,
    /// What decided.
    pub reason: Reason,
    target: &'r Target,
}

/// What picked the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The request named it, in the split's override header.
    Override,
    /// The value of the split's sticky header or cookie.
    Sticky,
    /// The random number, by weight.
    Random,
}

/// What [`Rules::decide`] does for a request, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation<'r> {
    /// The split that decides: `namespace/name`.
    pub split: &'r str,
    /// The match that holds: `group/match`; `None` if the split is for all requests.
    pub matched: Option<&'r str>,
    /// The root's port that the request is for.
    pub port: u16,
    /// The backends that have that port, in the split's order.
    pub shares: Vec<Share<'r>>,
    /// The backend that is certain, what made it so, and the header or cookie that did.
    pub certain: Option<(&'r str, Reason, By<'r>)>,
    /// The cookie that the response sets, by whose value the backend is picked.
    pub new_cookie: Option<&'r str>,
    /// The backend that gets a copy of what it doesn't serve, and of what percentage.
    pub mirror: Option<(&'r str, Weight)>,
}

/// What of a request makes its backend certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By<'r> {
    /// This header with this value.
    Header(&'r str, Vec<u8>),
    /// This cookie with this value.
    Cookie(&'r str, Vec<u8>),
}

/// How far a request gets among the rules before it is known which split it is for, or that it
/// is for none.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Trail<'r> {
    /// The root that its host names: `service.namespace`.
    pub root: Option<&'r str>,
    /// The root's port that the request is for.
    pub port: Option<u16>,
    /// The splits that pass it on, in the order in which they are tried: `namespace/name`, and why
    /// each of their matches doesn't hold.
    pub passed: Vec<(&'r str, Vec<Miss<'r>>)>,
    /// The split that it is for, and the match that holds, as in [`Explanation`].
    pub found: Option<(&'r str, Option<&'r str>)>,
}

/// A backend's part of a split.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Share<'r> {
    /// The backend's Service, a bare name.
    pub backend: &'r str,
    /// Its Envoy cluster.
    pub cluster: Cow<'r, str>,
    /// Its weight.
    pub weight: Weight,
    /// Its share of what is left to chance: 0 to 1.
    pub share: f64,
}

/// The split that a request is for.
struct Found<'r> {
    split: &'r Split,
    matched: Option<&'r str>,
    candidates: Candidates<'r>,
}

// === impl Rules ===

impl Rules {
    /// The rules for a client in `client_namespace`; the configuration's own `namespace` comes
    /// before it. Without either, a bare host name is no root's.
    pub fn new(configuration: &Configuration, client_namespace: Option<&str>) -> Self {
        Self::sharing(configuration, client_namespace, [])
    }

    /// The same rules as [`new`](Self::new) makes, but in shared memory: every root, split and
    /// group that equals its counterpart in one of `others` is the same allocation. That one is
    /// the first of those that have most in common with `configuration`.
    ///
    /// The rules of a configuration in which few roots changed take memory for those roots only.
    pub fn sharing<'o>(
        configuration: &Configuration,
        client_namespace: Option<&str>,
        others: impl IntoIterator<Item = &'o Self>,
    ) -> Self {
        let client_namespace = configuration.namespace.as_deref().or(client_namespace);
        let base = most_alike(configuration, others);
        let mut entries = HashMap::new();
        for group in &configuration.http_route_groups {
            let key = format!("{}/{}", group.metadata.namespace, group.metadata.name);
            let known = base.and_then(|base| base.group(&key)).filter(|known| known.is(group));
            entries.insert(key.into(), Entry::Group(known.cloned().unwrap_or_else(|| Group::new(group))));
        }
        let group = |name: &str| match entries.get(name)? {
            Entry::Group(group) => Some(group.clone()),
            Entry::Root(_) | Entry::Host(..) => None,
        };
        // By `namespace/service`, in the order of the configuration.
        let (mut places, mut drafts) = (HashMap::new(), Vec::new());
        for split in &configuration.traffic_splits {
            let (namespace, service) = (&*split.metadata.namespace, &*split.spec.service);
            let place = *places.entry(format!("{namespace}/{service}")).or_insert(drafts.len());
            if place == drafts.len() {
                let name = format!("{service}.{namespace}");
                let previous = base.and_then(|base| base.named_root(&name));
                drafts.push((name, split, previous, Vec::new()));
            }
            if let Some((_, _, previous, splits)) = drafts.get_mut(place) {
                let key = split.key();
                let previous = previous.and_then(|root| root.splits.iter().find(|split| *split.name == *key));
                let split = Split::new(configuration, group, split, previous.map(|split| &**split));
                splits.push(match previous {
                    Some(previous) if **previous == split => previous.clone(),
                    _ => Arc::new(split),
                });
            }
        }
        let roots = drafts.into_iter().map(|(name, split, previous, splits)| {
            let known = configuration.services.get(&format!("{}/{}", split.metadata.namespace, split.spec.service));
            let root = Root {
                name: previous.map_or_else(|| name.into(), |previous| previous.name.clone()),
                ports: known.and_then(|known| Some(known.ports.as_ref()?.keys().copied().collect())),
                splits: splits.into(),
            };
            match previous {
                Some(previous) if **previous == root => (split, previous.clone()),
                _ => (split, Arc::new(root)),
            }
        });
        let roots: Vec<_> = roots.collect();
        // The Services' own names come last: nothing in `hosts` takes their place.
        for (host, HostRoot { service, port }) in &configuration.hosts {
            if let Some((_, root)) = places.get(service).and_then(|&place| roots.get(place)) {
                entries.insert((&**host).into(), Entry::Host(root.clone(), *port));
            }
        }
        for (split, root) in roots {
            if client_namespace == Some(&*split.metadata.namespace) {
                entries.insert((&*split.spec.service).into(), Entry::Root(root.clone()));
            }
            entries.insert(root.name.clone(), Entry::Root(root));
        }
        let domain = &*configuration.cluster_domain;
        let mut rules = Self {
            excluded: client_namespace
                .is_some_and(|own| configuration.excluded_namespaces.iter().any(|excluded| excluded == own)),
            cluster_domain: base
                .map(|base| base.cluster_domain.clone())
                .filter(|known| **known == *domain)
                .unwrap_or_else(|| domain.into()),
            entries: updated(base.map(|base| &base.entries), entries),
            warnings: Vec::new(),
        };
        for (index, split) in configuration.traffic_splits.iter().enumerate() {
            rules.warn(index, split);
        }
        for (host, HostRoot { service, port }) in &configuration.hosts {
            // A host of a root that has no split now is no mistake: splits come and go.
            if let Some(Entry::Host(root, _)) = rules.entries.get(host.as_str()) {
                rules.warnings.extend(host_warning(host, service, *port, root));
            }
        }
        rules
    }

    /// What is worth a word to the author of the configuration, though it is valid.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The same, and forgets them: rules that live long need not hold them.
    pub fn take_warnings(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.warnings)
    }

    /// Where `request` goes; the same request and chance always give the same answer.
    pub fn decide(&self, request: &impl Request, chance: &mut impl Chance) -> Decision<'_> {
        let asked = &mut Asked::new(request);
        let found = self.find(asked).and_then(|found| found.pick(asked, chance));
        found.map_or_else(Decision::Root, Decision::Backend)
    }

    /// What [`decide`](Self::decide) would do with `request`, and why; an error if it goes to the
    /// root.
    ///
    /// # Errors
    /// Why the request goes on as if there were no split.
    pub fn explain(&self, request: &impl Request) -> Result<Explanation<'_>, WhyRoot> {
        let asked = &mut Asked::new(request);
        self.find(asked)?.explain(asked)
    }

    /// How the split that `request` is for is found, whether it is or not: what
    /// [`explain`](Self::explain) can't say of a request that goes to the root.
    pub fn trail(&self, request: &impl Request) -> Trail<'_> {
        let asked = &mut Asked::new(request);
        let mut trail = Trail::default();
        let Ok((root, port)) = self.asked_root(asked) else { return trail };
        trail.root = Some(&root.name);
        trail.port = root.port(port, request);
        trail.found = self.find(asked).ok().map(|found| (&*found.split.name, found.matched));
        if trail.port.is_some() {
            // Matched anew: `find` has spent some of the request's steps.
            let asked = &mut Asked::new(request);
            let passed = root.splits.iter().map_while(|split| Some((&*split.name, split.misses(asked)?)));
            trail.passed = passed.collect();
        }
        trail
    }

    /// The root that a request asks for, and the port in its host.
    fn asked_root(&self, asked: &Asked<'_, impl Request>) -> Result<(&Root, PortSource), WhyRoot> {
        if self.excluded {
            return Err(WhyRoot::Excluded);
        }
        // Nobody pays for reading a header where there are no splits.
        if self.entries.is_empty() {
            return Err(WhyRoot::NoSplit);
        }
        let authority = asked.request.header(":authority");
        let authority = authority.as_deref().and_then(Authority::parse).ok_or(WhyRoot::NoSplit)?;
        let (root, operator) = self.root(&authority.host).ok_or(WhyRoot::NoSplit)?;
        let source = match (operator, authority.port) {
            (Some(port), Port::None | Port::Number(_)) => PortSource::Operator(port),
            (_, port) => PortSource::Authority(port),
        };
        Ok((root, source))
    }

    /// The split that a request is for.
    fn find(&self, asked: &mut Asked<'_, impl Request>) -> Result<Found<'_>, WhyRoot> {
        let (root, port) = self.asked_root(asked)?;
        let port = root.port(port, asked.request).ok_or(WhyRoot::NoPort)?;
        let accepts = |split| Some((split, Split::accepts(split, asked)?));
        let (split, matched) = root.splits.iter().map(Arc::as_ref).find_map(accepts).ok_or(WhyRoot::NoMatch)?;
        Ok(Found { split, matched, candidates: split.candidates(port) })
    }

    /// The root that a host names; by a name in `hosts`, with the operator's port.
    fn root(&self, host: &str) -> Option<(&Root, Option<Option<u16>>)> {
        let mut labels = host.splitn(3, '.');
        let service = labels.next()?;
        let named = match (labels.next(), labels.next()) {
            (Some(namespace), Some(tail)) if name::is_service_domain(tail, &self.cluster_domain) => {
                let name = host.get(..service.len() + 1 + namespace.len())?;
                self.named_root(name)
            }
            _ => None,
        };
        match named {
            Some(root) => Some((root, None)),
            None => match self.entries.get(host)? {
                Entry::Root(root) => Some((root, None)),
                Entry::Host(root, port) => Some((root, Some(*port))),
                Entry::Group(_) => None,
            },
        }
    }

    /// The root that has this name itself, `service.namespace`, and not by `hosts`.
    fn named_root(&self, name: &str) -> Option<&Arc<Root>> {
        match self.entries.get(name)? {
            Entry::Root(root) if *root.name == *name => Some(root),
            _ => None,
        }
    }

    fn group(&self, key: &str) -> Option<&Group> {
        match self.entries.get(key)? {
            Entry::Group(group) => Some(group),
            Entry::Root(_) | Entry::Host(..) => None,
        }
    }

    /// One warning for all backends of a split: a line for each would be a flood.
    fn warn(&mut self, index: usize, split: &TrafficSplit) {
        let mut missing = split.spec.backends.iter().enumerate().filter(|(_, backend)| backend.weight.is_none());
        let Some((first, backend)) = missing.next() else { return };
        let message = match missing.count() {
            0 => "is missing and counts as 0; write weight: 0".into(),
            more => format!(
                "is missing and counts as 0, here ({}) and in {more} more backends; write weight: 0",
                backend.service
            ),
        };
        let object = Object::TrafficSplit { index, name: split.key() };
        self.warnings.push(Problem { object, field: format!("spec.backends[{first}].weight"), message });
    }
}

/// A host whose requests are not split, because the operator gave no port that the root has.
fn host_warning(host: &str, service: &str, port: Option<u16>, root: &Root) -> Option<Problem> {
    let ports = root.ports.as_deref()?;
    let list = || ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let message = match port {
        Some(port) if ports.contains(&port) => return None,
        Some(port) => {
            format!("{service} has no port {port}, so requests to this host are not split; its ports: {}", list())
        }
        None if ports.len() <= 1 => return None,
        None => format!(
            "{service} has several ports ({}), so requests to this host are split only on a listener of one of them; \
             write {{service: {service}, port: …}}",
            list()
        ),
    };
    let field = format!("hosts[{}]", quote(host));
    Some(Problem { object: Object::Configuration, field, message })
}

/// The first of `others` that has most in common with `configuration`, judged by a sample of its
/// splits; `None` if nothing of the sample is in any of them.
fn most_alike<'o>(configuration: &Configuration, others: impl IntoIterator<Item = &'o Rules>) -> Option<&'o Rules> {
    const SAMPLE: usize = 16;
    const MAX_OTHERS: usize = 256;
    let splits = &configuration.traffic_splits;
    let step = splits.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<_> = (splits.iter().step_by(step))
        .map(|split| (format!("{}.{}", split.spec.service, split.metadata.namespace), split.key(), split))
        .collect();
    let mut best = None;
    let mut most = 0;
    for other in others.into_iter().take(MAX_OTHERS) {
        let alike = |(name, key, split): &(String, String, &TrafficSplit)| {
            let root = other.named_root(name)?;
            let known = root.splits.iter().find(|split| *split.name == **key)?;
            Some(if known.has_weights_of(split) { 2 } else { 1 })
        };
        let score = sample.iter().filter_map(alike).sum();
        if score > most {
            (best, most) = (Some(other), score);
        }
        if most == 2 * sample.len() {
            break;
        }
    }
    best
}

/// `base` with these entries instead of its own; only what differs is changed.
fn updated(
    base: Option<&HashTrieMapSync<Arc<str>, Entry>>,
    entries: HashMap<Arc<str>, Entry>,
) -> HashTrieMapSync<Arc<str>, Entry> {
    let mut map = base.cloned().unwrap_or_else(HashTrieMapSync::new_sync);
    let removed: Vec<_> = map.keys().filter(|&key| !entries.contains_key(key)).cloned().collect();
    for key in removed {
        map.remove_mut(&key);
    }
    for (key, entry) in entries {
        if !map.get(&key).is_some_and(|known| known.ptr_eq(&entry)) {
            map.insert_mut(key, entry);
        }
    }
    map
}

// === impl Entry ===

impl Entry {
    fn ptr_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Root(own), Self::Root(other)) => Arc::ptr_eq(own, other),
            (Self::Host(own, port), Self::Host(other, of_other)) => Arc::ptr_eq(own, other) && port == of_other,
            (Self::Group(own), Self::Group(other)) => own.ptr_eq(other),
            _ => false,
        }
    }
}

// === impl Pick ===

impl Pick<'_> {
    /// The id that [`set_counter_id`](Self::set_counter_id) got for a pick of the same backend
    /// and reason.
    pub fn counter_id(&self) -> Option<u32> {
        self.target.counter_ids.get(self.reason)
    }

    /// Remembers the id that the host gave to this pick's [`counter`](Self::counter), for all
    /// rules that share the backend's memory: all of them must belong to one VM.
    pub fn set_counter_id(&self, id: u32) {
        self.target.counter_ids.set(self.reason, id);
    }

    /// The name of the counter of such picks, its labels packed Istio's way: tag rules such as
    /// `(split=\.=(.*?);\.;)` make them labels in Prometheus.
    pub fn counter(&self) -> String {
        let Self { split, backend, reason, .. } = self;
        format!("traffic_split_requests.split=.={split};.;backend=.={backend};.;reason=.={};.;", reason.as_str())
    }
}

// === impl Found ===

impl<'r> Found<'r> {
    fn pick(&self, asked: &mut Asked<'_, impl Request>, chance: &mut impl Chance) -> Result<Pick<'r>, WhyRoot> {
        let Self { split, candidates, .. } = *self;
        let mut set_cookie = None;
        let (backend, reason) = match candidates.way(asked) {
            Way::Override(backend, _) => (Some(backend), Reason::Override),
            Way::StickyHeader(backend, _) | Way::StickyCookie(backend, _) => (Some(backend), Reason::Sticky),
            // Nothing to choose: no cookie for it, no random number.
            _ if candidates.sum == 0 => (None, Reason::Random),
            Way::Random => (candidates.pick(chance.number()), Reason::Random),
            Way::NewCookie(cookie) => match chance.id() {
                Some(id) => {
                    let id = Base64UrlUnpadded::encode_string(&id);
                    set_cookie = Some(cookie.attributes.set_cookie(&cookie.name, &id));
                    (candidates.pick_by(id.as_bytes()), Reason::Sticky)
                }
                None => (candidates.pick(chance.number()), Reason::Random),
            },
        };
        let backend = backend.ok_or(WhyRoot::NoBackend)?;
        let mirror = candidates.mirror(Some(backend));
        let mirror = mirror.filter(|(_, percent)| split::falls_within(*percent, chance.number()));
        let mirror = mirror.filter(|_| split::can_be_copied(asked));
        Ok(Pick {
            split: &split.name,
            backend: &backend.target.name,
            cluster: backend.cluster(candidates.port),
            mirror: mirror.map(|(mirror, _)| mirror.cluster(candidates.port)),
            set_cookie,
            reason,
            target: &backend.target,
        })
    }

    fn explain(&self, asked: &mut Asked<'_, impl Request>) -> Result<Explanation<'r>, WhyRoot> {
        let Self { split, candidates, matched } = *self;
        let (mut certain, mut new_cookie) = (None, None);
        let mut settled = |backend: &'r Backend, reason, by| certain = Some((&*backend.target.name, reason, by));
        let by_header = |header, value: Option<&[u8]>| By::Header(header, value.unwrap_or_default().into());
        match candidates.way(asked) {
            Way::Override(backend, header) => {
                settled(backend, Reason::Override, by_header(header, asked.header(header)))
            }
            Way::StickyHeader(backend, header) => {
                settled(backend, Reason::Sticky, by_header(header, asked.header(header)))
            }
            Way::StickyCookie(backend, name) => {
                let value = asked.header("cookie").and_then(|header| cookie::find(header, name));
                settled(backend, Reason::Sticky, By::Cookie(name, value.unwrap_or_default().into()));
            }
            _ if candidates.sum == 0 => return Err(WhyRoot::NoBackend),
            Way::NewCookie(cookie) => new_cookie = Some(&*cookie.name),
            Way::Random => {}
        }
        let shares = candidates.iter().map(|backend| Share {
            backend: &backend.target.name,
            cluster: backend.cluster(candidates.port),
            weight: backend.weight,
            // There may be no weight at all where a request names its backend.
            share: backend.weight.billionths() as f64 / (candidates.sum as f64).max(1.0),
        });
        Ok(Explanation {
            split: &split.name,
            matched,
            port: candidates.port,
            shares: shares.collect(),
            certain,
            new_cookie,
            mirror: candidates.mirror(None).map(|(backend, percent)| (&*backend.target.name, percent)),
        })
    }
}

// === impl Root ===

impl Root {
    /// The root's port that a request is for.
    fn port(&self, source: PortSource, request: &impl Request) -> Option<u16> {
        let given = match source {
            PortSource::Authority(Port::Invalid) => return None,
            PortSource::Operator(Some(port)) => {
                return self.ports.as_ref().is_none_or(|ports| ports.binary_search(&port).is_ok()).then_some(port);
            }
            PortSource::Authority(Port::Number(port)) => Some(port),
            PortSource::Authority(Port::None) | PortSource::Operator(None) => None,
        };
        let destination = || request.destination_port().filter(|port| *port != 0);
        let Some(ports) = &self.ports else {
            return given.or_else(destination).or(Some(80));
        };
        let known = |port: &u16| ports.binary_search(port).is_ok();
        given.filter(known).or_else(|| destination().filter(known)).or(match **ports {
            [only] => Some(only),
            _ => None,
        })
    }
}

// === impl WhyRoot ===

impl fmt::Display for WhyRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Excluded => "the client's namespace is excluded",
            Self::NoSplit => "no split has this host as its root",
            Self::NoPort => "the root has no such port",
            Self::NoMatch => "no match of the root's splits holds for it",
            Self::NoBackend => "no backend with a weight has the port",
        })
    }
}

// === impl Reason ===

impl Reason {
    /// The value of the metric's `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Sticky => "sticky",
            Self::Random => "random",
        }
    }
}
