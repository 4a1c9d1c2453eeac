//! One split's part in a decision: which requests it is for, and which backend gets one.

use crate::annotations;
use crate::cluster::Cluster;
use crate::configuration::Configuration;
use crate::cookie::{self, CookieAttributes};
use crate::http_route_group::{HttpMatch, HttpRouteGroup};
use crate::pattern::{Matched, Pattern};
use crate::rendezvous;
use crate::request::{Asked, Request};
use crate::traffic_split::TrafficSplit;
use crate::weight::Weight;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Split {
    /// `namespace/name`.
    pub(crate) name: Box<str>,
    pub(crate) backends: Box<[Backend]>,
    /// A match of any of the groups will do; `None` is every request.
    groups: Option<Box<[Arc<[Match]>]>>,
    override_header: Option<Box<str>>,
    sticky_header: Option<Box<str>>,
    sticky_cookie: Option<StickyCookie>,
    mirror: Option<Mirror>,
}

#[derive(Debug)]
pub(crate) struct Backend {
    /// The Service's bare name.
    pub(crate) name: Box<str>,
    /// Its number among all backends of all splits.
    pub(crate) ordinal: usize,
    pub(crate) weight: Weight,
    cluster: Cluster,
    /// Its ports, each with the value of `{port}`, if they are known.
    ports: Option<BTreeMap<u16, String>>,
}

/// The backends of a split that have the port of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates<'s> {
    split: &'s Split,
    pub(crate) port: u16,
    /// The sum of their weights, in billionths.
    pub(crate) sum: u128,
}

/// The groups of a configuration by namespace and name: splits that name the same one share its matches.
pub(crate) type Groups<'c> = HashMap<(&'c str, &'c str), Arc<[Match]>>;

/// A match of a group.
#[derive(Debug)]
pub(crate) struct Match {
    /// `group/match`, the match by its place if it has no name.
    name: Box<str>,
    conditions: HttpMatch,
}

/// Why a match doesn't hold for a request: the first of its conditions that doesn't.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Miss<'r> {
    /// The match: `group/match`.
    pub matched: &'r str,
    /// The condition.
    pub condition: Condition<'r>,
    /// The condition's pattern was not matched: the value is longer than 8 KiB, or matching it would cost more than is
    /// left of what one request may cost.
    pub too_long: bool,
}

/// One condition of a match.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Condition<'r> {
    /// The method is one of these.
    Method(&'r [String]),
    /// The path, without its query, is as the pattern says.
    Path(&'r Pattern),
    /// This header is there, and is as the pattern says.
    Header(&'r str, &'r Pattern),
}

#[derive(Debug)]
pub(crate) struct StickyCookie {
    pub(crate) name: Box<str>,
    pub(crate) attributes: CookieAttributes,
}

#[derive(Debug)]
struct Mirror {
    backend: Box<str>,
    percent: Weight,
}

/// How a request's backend is found.
#[derive(Debug)]
pub(crate) enum Way<'s> {
    /// It names the backend itself, in this header.
    Override(&'s Backend, &'s str),
    /// By the value of this header.
    StickyHeader(&'s Backend, &'s str),
    /// By the value of this cookie.
    StickyCookie(&'s Backend, &'s str),
    /// By the value that this cookie, which the request lacks, is going to have.
    NewCookie(&'s StickyCookie),
    /// By weight alone.
    Random,
}

// === impl Split ===

impl Split {
    pub(crate) fn new(
        configuration: &Configuration,
        groups: &Groups<'_>,
        split: &TrafficSplit,
        first_ordinal: usize,
    ) -> Self {
        let annotations = &split.metadata.annotations;
        let backend = |(place, backend): (usize, &crate::traffic_split::Backend)| {
            let namespace = &split.metadata.namespace;
            let known = configuration.services.get(&format!("{namespace}/{}", backend.service));
            Backend {
                name: backend.service.as_str().into(),
                ordinal: first_ordinal + place,
                weight: backend.weight.unwrap_or_default(),
                cluster: configuration.cluster_of(&backend.service, namespace),
                ports: known.and_then(|known| known.ports.clone()),
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        Self {
            name: split.key().into(),
            backends: split.spec.backends.iter().enumerate().map(backend).collect(),
            groups: (!split.spec.matches.is_empty()).then(|| {
                let namespace = split.metadata.namespace.as_str();
                let named = split.spec.matches.iter().map(|reference| (namespace, reference.name.as_str()));
                named.filter_map(|name| groups.get(&name).cloned()).collect()
            }),
            override_header: text(&annotations.override_header),
            sticky_header: text(&annotations.sticky_header),
            sticky_cookie: annotations.sticky_cookie.as_deref().map(|name| StickyCookie {
                name: name.into(),
                attributes: annotations.sticky_cookie_attributes.clone().unwrap_or_default(),
            }),
            mirror: annotations
                .mirror
                .as_ref()
                .map(|mirror| Mirror { backend: mirror.backend.as_str().into(), percent: mirror.percent }),
        }
    }

    /// Whether the split is for this request: `Some(None)` as it is for all, `Some(name)` by this
    /// match.
    pub(crate) fn accepts(&self, asked: &mut Asked<'_, impl Request>) -> Option<Option<&str>> {
        let Some(groups) = &self.groups else { return Some(None) };
        let mut matches = groups.iter().flat_map(|group| group.iter());
        matches.find(|one| one.conditions.missed(asked).is_none()).map(|one| Some(&*one.name))
    }

    /// Why none of the split's matches holds for this request; `None` if one does, or the split is
    /// for all.
    pub(crate) fn misses(&self, asked: &mut Asked<'_, impl Request>) -> Option<Vec<Miss<'_>>> {
        let mut misses = Vec::new();
        for Match { name, conditions } in self.groups.as_ref()?.iter().flat_map(|group| group.iter()) {
            let (condition, too_long) = conditions.missed(asked)?;
            misses.push(Miss { matched: name, condition, too_long });
        }
        Some(misses)
    }

    /// SMI's rule: a backend whose ports lack the port is left out for it, and its weight goes to
    /// the others. Looked up for each request: a table for each port would have as many entries as
    /// there are ports and backends together, multiplied.
    pub(crate) fn candidates(&self, port: u16) -> Candidates<'_> {
        let candidates = Candidates { split: self, port, sum: 0 };
        let sum = candidates.iter().map(|backend| u128::from(backend.weight.billionths())).sum();
        Candidates { sum, ..candidates }
    }
}

// === impl Candidates ===

impl<'s> Candidates<'s> {
    /// In the split's order.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'s Backend> {
        self.split.backends.iter().filter(move |backend| backend.has_port(self.port))
    }

    /// How this request's backend is found: override before stickiness, header before cookie,
    /// chance last.
    pub(crate) fn way(self, asked: &mut Asked<'_, impl Request>) -> Way<'s> {
        let split = self.split;
        if let Some(header) = &split.override_header
            && let Some(value) = asked.header(header)
            && let Some(backend) = self.named(value)
        {
            return Way::Override(backend, header);
        }
        if let Some(header) = &split.sticky_header
            && let Some(value) = asked.header(header).filter(|value| !value.is_empty())
            && let Some(backend) = self.pick_by(value)
        {
            return Way::StickyHeader(backend, header);
        }
        if let Some(cookie) = &split.sticky_cookie {
            let value = asked.header("cookie").and_then(|header| cookie::find(header, &cookie.name));
            return match value.and_then(|value| self.pick_by(value)) {
                Some(backend) => Way::StickyCookie(backend, &cookie.name),
                None => Way::NewCookie(cookie),
            };
        }
        Way::Random
    }

    /// The choice for a random number that is uniform over all of `u64`; `None` if there is
    /// nothing to choose. One of weight 0 has no more of the sum than the one before it.
    pub(crate) fn pick(self, random: u64) -> Option<&'s Backend> {
        let point = scale(random, self.sum);
        let mut sum = 0;
        self.iter().find(|backend| {
            sum += u128::from(backend.weight.billionths());
            point < sum
        })
    }

    /// The choice for a value, by [`rendezvous`]; `None` if there is nothing to choose.
    pub(crate) fn pick_by(self, value: &[u8]) -> Option<&'s Backend> {
        // The value is hashed once for each backend, so the work has an end.
        let value = value.get(..rendezvous::MAX_VALUE_BYTES).unwrap_or(value);
        let weighted = self.iter().filter(|backend| backend.weight > Weight::default());
        let score = |backend: &'s Backend| {
            let hash = rendezvous::hash(&self.split.name, &backend.name, value);
            (rendezvous::score(hash, backend.weight), backend)
        };
        let first = weighted
            .map(score)
            .min_by(|(one, backend), (other, next)| one.total_cmp(other).then_with(|| backend.name.cmp(&next.name)));
        first.map(|(_, backend)| backend)
    }

    /// The backend that gets copies of what `serves` gets, and of what percentage.
    pub(crate) fn mirror(self, serves: Option<&Backend>) -> Option<(&'s Backend, Weight)> {
        let mirror = self.split.mirror.as_ref()?;
        let backend = self.named(mirror.backend.as_bytes())?;
        serves.is_none_or(|serves| serves.ordinal != backend.ordinal).then_some((backend, mirror.percent))
    }

    fn named(self, name: &[u8]) -> Option<&'s Backend> {
        self.iter().find(|backend| backend.name.as_bytes() == name)
    }
}

/// `random · total / 2⁶⁴`, rounded down: uniform over `0..total`. In two halves, since the
/// product needs more than 128 bits when `total` needs more than 64.
fn scale(random: u64, total: u128) -> u128 {
    let random = u128::from(random);
    let (high, low) = (total >> 64, total & u128::from(u64::MAX));
    random * high + ((random * low) >> 64)
}

/// Whether a random number that is uniform over all of `u64` falls within so many percent.
pub(crate) fn falls_within(percent: Weight, random: u64) -> bool {
    scale(random, u128::from(annotations::ALL)) < u128::from(percent.billionths())
}

/// Whether a copy of the request can't hold the request itself up. Envoy sends a body on to both as
/// it comes, and no faster than the slower one reads; what fits into its buffers waits for nobody.
/// gRPC's messages are as small as a rule.
pub(crate) fn can_be_copied(asked: &mut Asked<'_, impl Request>) -> bool {
    const MOST: u64 = 1 << 20;
    if !asked.request.has_body() {
        return true;
    }
    match asked.header("content-length").map(|length| std::str::from_utf8(length).ok().and_then(|it| it.parse().ok())) {
        Some(length) => length.is_some_and(|length: u64| length <= MOST),
        None => asked.header("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc")),
    }
}

// === impl Backend ===

impl Backend {
    /// Its cluster for a port of the root's.
    pub(crate) fn cluster(&self, port: u16) -> Cow<'_, str> {
        match self.port_value(port) {
            Some(value) => self.cluster.name(value),
            None => self.cluster.name(&port.to_string()),
        }
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains_key(&port))
    }

    fn port_value(&self, port: u16) -> Option<&str> {
        Some(self.ports.as_ref()?.get(&port)?)
    }
}

// === impl Match ===

impl Match {
    /// The matches of a group.
    pub(crate) fn of(group: &HttpRouteGroup) -> Arc<[Match]> {
        let matches = group.spec.matches.iter().enumerate().map(|(place, conditions)| {
            let group = &group.metadata.name;
            let name = match conditions.name.as_str() {
                "" => format!("{group}/matches[{place}]"),
                name => format!("{group}/{name}"),
            };
            Match { name: name.into(), conditions: conditions.clone() }
        });
        matches.collect()
    }
}

// === impl HttpMatch ===

impl HttpMatch {
    /// The first condition that doesn't hold, and whether that is because the value is too long; `None` if all do.
    fn missed(&self, asked: &mut Asked<'_, impl Request>) -> Option<(Condition<'_>, bool)> {
        if !self.methods.is_empty() {
            let method = asked.header(":method").unwrap_or_default();
            if !self.methods.iter().any(|own| own.as_bytes() == method) {
                return Some((Condition::Method(&self.methods), false));
            }
        }
        if let Some(pattern) = &self.path_regex {
            match asked.path_matches(pattern) {
                Matched::Yes => {}
                missed => return Some((Condition::Path(pattern), missed == Matched::TooLong)),
            }
        }
        self.headers.iter().find_map(|(name, pattern)| match asked.header_matches(name, pattern) {
            Matched::Yes => None,
            missed => Some((Condition::Header(name, pattern), missed == Matched::TooLong)),
        })
    }
}
