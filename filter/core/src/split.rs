//! One split's part in a decision: which requests it is for, and which backend gets one.

use crate::cluster::Cluster;
use crate::configuration::Configuration;
use crate::cookie::{self, CookieAttributes};
use crate::http_route_group::HttpMatch;
use crate::pattern::Pattern;
use crate::request::{Asked, Request};
use crate::table::{Entry, Table};
use crate::traffic_split::TrafficSplit;
use crate::weight::Weight;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) struct Split {
    /// `namespace/name`.
    pub(crate) name: Box<str>,
    pub(crate) backends: Box<[Box<str>]>,
    /// The ordinal of the first backend; the others follow.
    pub(crate) first_ordinal: usize,
    /// Any of them will do; `None` is every request.
    matches: Option<Box<[Match]>>,
    override_header: Option<Box<str>>,
    sticky_header: Option<Box<str>>,
    sticky_cookie: Option<StickyCookie>,
    pub(crate) mirror: Option<Mirror>,
    /// For the ports that anything is known of.
    by_port: BTreeMap<u16, Table>,
    /// For all other ports.
    otherwise: Table,
}

/// A match of one of the split's groups.
#[derive(Debug)]
struct Match {
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
pub(crate) struct Mirror {
    /// Its place among the split's backends.
    pub(crate) backend: usize,
    pub(crate) percent: Weight,
}

/// How a request's backend is found.
#[derive(Debug)]
pub(crate) enum Way<'s> {
    /// It names the backend itself, in this header.
    Override(&'s Entry, &'s str),
    /// By the value of this header.
    StickyHeader(&'s Entry, &'s str),
    /// By the value of this cookie.
    StickyCookie(&'s Entry, &'s str),
    /// By the value that this cookie, which the request lacks, is going to have.
    NewCookie(&'s StickyCookie),
    /// By weight alone.
    Random,
}

// === impl Split ===

impl Split {
    pub(crate) fn new(configuration: &Configuration, split: &TrafficSplit, first_ordinal: usize) -> Self {
        let namespace = &split.metadata.namespace;
        let annotations = &split.metadata.annotations;
        let ports = |service: &str| configuration.services.get(&format!("{namespace}/{service}"))?.ports.as_ref();
        let backends = &split.spec.backends;

        let mut spoken_of = BTreeSet::new();
        match ports(&split.spec.service) {
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
                Some((index, cluster, backend.weight.unwrap_or_default()))
            }))
        };
        let place = |service: &str| backends.iter().position(|backend| backend.service == *service);
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        Self {
            name: split.key().into(),
            backends: backends.iter().map(|backend| backend.service.as_str().into()).collect(),
            first_ordinal,
            matches: (!split.spec.matches.is_empty()).then(|| Match::of(configuration, split)),
            override_header: text(&annotations.override_header),
            sticky_header: text(&annotations.sticky_header),
            sticky_cookie: annotations.sticky_cookie.as_deref().map(|name| StickyCookie {
                name: name.into(),
                attributes: annotations.sticky_cookie_attributes.clone().unwrap_or_default(),
            }),
            mirror: annotations
                .mirror
                .as_ref()
                .and_then(|mirror| Some(Mirror { backend: place(&mirror.backend)?, percent: mirror.percent })),
            by_port: spoken_of.iter().map(|&&port| (port, table(Some(port)))).collect(),
            otherwise: table(None),
        }
    }

    /// Whether the split is for this request: `Some(None)` as it is for all, `Some(name)` by this
    /// match.
    pub(crate) fn accepts(&self, asked: &mut Asked<'_, impl Request>) -> Option<Option<&str>> {
        match &self.matches {
            None => Some(None),
            Some(matches) => {
                matches.iter().find(|one| one.conditions.missed(asked).is_none()).map(|one| Some(&*one.name))
            }
        }
    }

    /// Why none of the split's matches holds for this request; `None` if one does, or the split is
    /// for all.
    pub(crate) fn misses(&self, asked: &mut Asked<'_, impl Request>) -> Option<Vec<Miss<'_>>> {
        let mut misses = Vec::new();
        for Match { name, conditions } in self.matches.as_ref()? {
            misses.push(Miss { matched: name, condition: conditions.missed(asked)? });
        }
        Some(misses)
    }

    pub(crate) fn table(&self, port: u16) -> &Table {
        self.by_port.get(&port).unwrap_or(&self.otherwise)
    }

    /// How this request's backend is found among those of `table`: override before stickiness,
    /// header before cookie, chance last.
    pub(crate) fn way<'s>(&'s self, table: &'s Table, asked: &mut Asked<'_, impl Request>) -> Way<'s> {
        if let Some(header) = &self.override_header
            && let Some(value) = asked.header(header)
            && let Some(backend) = self.backends.iter().position(|backend| backend.as_bytes() == value)
            && let Some(entry) = table.entry(backend)
        {
            return Way::Override(entry, header);
        }
        let by = |value: &[u8]| table.pick_by(value, &self.name, &self.backends);
        if let Some(header) = &self.sticky_header
            && let Some(value) = asked.header(header).filter(|value| !value.is_empty())
            && let Some(entry) = by(value)
        {
            return Way::StickyHeader(entry, header);
        }
        if let Some(cookie) = &self.sticky_cookie {
            let value = asked.header("cookie").and_then(|header| cookie::find(header, &cookie.name));
            return match value.and_then(by) {
                Some(entry) => Way::StickyCookie(entry, &cookie.name),
                None => Way::NewCookie(cookie),
            };
        }
        Way::Random
    }

    pub(crate) fn backend(&self, entry: &Entry) -> &str {
        self.backends.get(entry.backend).map_or("", |backend| backend)
    }
}

// === impl Match ===

impl Match {
    /// All matches of the groups that a split names.
    fn of(configuration: &Configuration, split: &TrafficSplit) -> Box<[Match]> {
        let groups = split.spec.matches.iter().filter_map(|reference| {
            configuration.http_route_groups.iter().find(|group| {
                group.metadata.namespace == split.metadata.namespace && group.metadata.name == reference.name
            })
        });
        let of_group = groups.flat_map(|group| group.spec.matches.iter().enumerate().map(move |one| (group, one)));
        let named = of_group.map(|(group, (place, conditions))| {
            let group = &group.metadata.name;
            let name = match conditions.name.as_str() {
                "" => format!("{group}/matches[{place}]"),
                name => format!("{group}/{name}"),
            };
            Match { name: name.into(), conditions: conditions.clone() }
        });
        named.collect()
    }
}

// === impl HttpMatch ===

impl HttpMatch {
    /// The first condition that doesn't hold; `None` if all do.
    fn missed(&self, asked: &mut Asked<'_, impl Request>) -> Option<Condition<'_>> {
        if !self.methods.is_empty() {
            let method = asked.header(":method").unwrap_or_default();
            if !self.methods.iter().any(|own| own.as_bytes() == method) {
                return Some(Condition::Method(&self.methods));
            }
        }
        if let Some(pattern) = &self.path_regex {
            let path = asked.header(":path").and_then(|path| path.split(|&byte| byte == b'?').next());
            if !path.is_some_and(|path| pattern.matches(path)) {
                return Some(Condition::Path(pattern));
            }
        }
        let mut headers = self.headers.iter();
        let missed = headers.find(|(name, pattern)| !asked.header(name).is_some_and(|value| pattern.matches(value)));
        missed.map(|(name, pattern)| Condition::Header(name, pattern))
    }
}

// === impl Mirror ===

impl Mirror {
    /// The cluster that gets the copy of a request, for a random number that is uniform over all
    /// of `u64`; `None` if it gets none, or hasn't the port.
    pub(crate) fn cluster<'s>(&self, table: &'s Table, port: u16, random: u64) -> Option<Cow<'s, str>> {
        // 100 percent, in billionths.
        const ALL: u128 = 100_000_000_000;
        let is_due = (u128::from(random) * ALL) >> 64 < u128::from(self.percent.billionths());
        let entry = table.entry(self.backend).filter(|_| is_due)?;
        Some(entry.cluster.name(&port.to_string()))
    }
}
