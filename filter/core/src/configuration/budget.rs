//! What one configuration may cost a sidecar: in total, for each namespace, and for each root Service.
//!
//! The filter refuses a configuration above the budget, `check` reports it, and the controller leaves out the objects
//! above it. All three count with [`Ledger`], so what the controller gives out is what the filter takes.
//!
//! Without a total, many small objects cost what one large one may not: one namespace could exhaust the memory of every
//! sidecar, and so end the splits of all others.

use crate::configuration::pattern_size;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// What objects of a configuration cost a sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Bytes of JSON, where quotation marks and backslashes count twice: an EnvoyFilter carries the configuration as a
    /// string.
    pub bytes: u64,
    /// Backends of splits.
    pub backends: u64,
    /// Matches of groups, and the methods, paths and headers in them.
    pub conditions: u64,
    /// The sum of [`Pattern::size`](crate::Pattern::size): in the filter's memory about 64 bytes each, once the
    /// patterns are in use.
    pub pattern_size: u64,
}

/// One of the resources that a [`Cost`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of JSON.
    Bytes,
    /// Backends of splits.
    Backends,
    /// Conditions of matches.
    Conditions,
    /// Size of patterns.
    PatternSize,
}

/// A limit of the budget that an object would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exceeded {
    /// The limit's scope.
    pub scope: Scope,
    /// The resource.
    pub resource: Resource,
    /// The sum with the object.
    pub sum: u64,
    /// The limit.
    pub limit: u64,
}

/// What a limit applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// The whole configuration.
    Configuration,
    /// The objects of one namespace.
    Namespace(String),
    /// All matches of the splits of one root Service, `namespace/name`: one request is matched against all of them.
    Root(String),
}

/// The limits of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// For the whole configuration.
    pub total: Cost,
    /// For the objects of one namespace: half of the filter's total, so that none takes all. A carrier with less room
    /// lowers the total only; the controller shares that among namespaces.
    pub namespace: Cost,
    /// For the matches of one root's splits. It bounds what a request costs; bytes and backends do not count.
    pub root: Cost,
}

/// Adds up costs by namespace and root, and refuses what would exceed a [`Budget`].
#[derive(Clone, Debug)]
pub struct Ledger {
    budget: Budget,
    total: Cost,
    namespaces: BTreeMap<String, Cost>,
    roots: BTreeMap<String, Cost>,
}

// === impl Cost ===

impl Cost {
    /// What matches cost, as JSON that was not validated: their text decides, and nothing is compiled.
    pub(crate) fn of_matches(matches: &[Value]) -> Self {
        let mut cost = Self::default();
        for one in matches {
            let methods = one.get("methods").and_then(Value::as_array).map_or(0, Vec::len);
            let maps = match one.get("headers") {
                Some(Value::Array(maps)) => maps.as_slice(),
                Some(map) => std::slice::from_ref(map),
                None => &[],
            };
            let headers = maps.iter().filter_map(Value::as_object);
            let conditions = 1 + methods + headers.clone().map(Map::len).sum::<usize>();
            let patterns = headers.flat_map(Map::values).chain(one.get("pathRegex")).filter_map(Value::as_str);
            let pattern_size = patterns.map(|text| pattern_size::size(text).size).fold(0, u64::saturating_add);
            cost = cost.plus(Self { conditions: count(conditions), pattern_size, ..Self::default() });
        }
        cost
    }

    /// Of groups, what counts for each split that names them: its requests are tested against all their matches.
    #[must_use]
    pub fn of_matching(self) -> Self {
        Self { bytes: 0, backends: 0, ..self }
    }

    /// The sum of two costs.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            backends: self.backends.saturating_add(other.backends),
            conditions: self.conditions.saturating_add(other.conditions),
            pattern_size: self.pattern_size.saturating_add(other.pattern_size),
        }
    }

    /// The greatest share of a budget's total that this takes of any resource, in millionths.
    #[must_use]
    pub fn dominant_share(&self, total: &Self) -> u64 {
        let pairs = self.resources().into_iter().zip(total.resources());
        let shares = pairs.map(|((_, used), (_, limit))| used.saturating_mul(1_000_000) / limit.max(1));
        shares.max().unwrap_or_default()
    }

    fn resources(&self) -> [(Resource, u64); 4] {
        [
            (Resource::Bytes, self.bytes),
            (Resource::Backends, self.backends),
            (Resource::Conditions, self.conditions),
            (Resource::PatternSize, self.pattern_size),
        ]
    }

    /// The first resource that exceeds a limit.
    fn check(&self, limits: &Self, scope: impl FnOnce() -> Scope) -> Result<(), Exceeded> {
        let pairs = self.resources().into_iter().zip(limits.resources());
        match pairs.into_iter().find(|((_, sum), (_, limit))| sum > limit) {
            Some(((resource, sum), (_, limit))) => Err(Exceeded { scope: scope(), resource, sum, limit }),
            None => Ok(()),
        }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

// === impl Budget ===

impl Budget {
    /// The filter's own limits.
    ///
    /// Memory in the filter, measured: a backend 0.4 KB, a condition 0.1 KB, a pattern 64 bytes for each unit of its
    /// size, once it is in use. Time for one request: see [`Budget::root`] and `docs/limits.md`.
    pub const FILTER: Self = Self {
        total: Cost { bytes: 8 << 20, backends: 1 << 16, conditions: 1 << 16, pattern_size: 1 << 18 },
        namespace: Cost { bytes: 4 << 20, backends: 1 << 15, conditions: 1 << 15, pattern_size: 1 << 17 },
        root: Cost { bytes: u64::MAX, backends: u64::MAX, conditions: 2048, pattern_size: 1 << 14 },
    };

    /// Checks the sum of everything.
    pub(crate) fn check_total(&self, sum: Cost) -> Result<(), Exceeded> {
        sum.check(&self.total, || Scope::Configuration)
    }

    /// Checks a group by itself: one that exceeds a root's limits serves no root. The error follows the field's name.
    pub(crate) fn check_group(&self, cost: Cost) -> Result<(), String> {
        cost.check(&self.root, || Scope::Configuration).map_err(|why| {
            format!(
                "has {} {}, above the limit of {}; {}",
                why.sum,
                why.resource.noun(),
                why.limit,
                why.resource.remedy()
            )
        })
    }

    /// The filter's limits for a configuration that may take no more than `bytes` in its carrier.
    #[must_use]
    pub fn with_bytes(bytes: u64) -> Self {
        let mut budget = Self::FILTER;
        budget.total.bytes = budget.total.bytes.min(bytes);
        budget
    }
}

// === impl Ledger ===

impl Ledger {
    /// A ledger in which nothing but `base` is spent: what the configuration has beside splits, groups and Services.
    #[must_use]
    pub fn new(budget: Budget, base: Cost) -> Self {
        Self { budget, total: base, namespaces: BTreeMap::new(), roots: BTreeMap::new() }
    }

    /// Checks whether `cost` for objects of `namespace`, and `matching` for the matches that requests to `root`
    /// (`namespace/name`) are tested against, could be spent.
    ///
    /// # Errors
    /// The first limit that this would exceed.
    pub fn check(&self, namespace: &str, cost: Cost, root: Option<(&str, Cost)>) -> Result<(), Exceeded> {
        if let Some((root, matching)) = root {
            self.of_root(root).plus(matching).check(&self.budget.root, || Scope::Root(root.into()))?;
        }
        let of_namespace = self.of_namespace(namespace).plus(cost);
        of_namespace.check(&self.budget.namespace, || Scope::Namespace(namespace.into()))?;
        self.budget.check_total(self.total.plus(cost))
    }

    /// Spends what [`check`](Self::check) checks.
    ///
    /// # Errors
    /// The first limit that this would exceed; nothing is spent then.
    pub fn spend(&mut self, namespace: &str, cost: Cost, root: Option<(&str, Cost)>) -> Result<(), Exceeded> {
        self.check(namespace, cost, root)?;
        self.total = self.total.plus(cost);
        self.namespaces.insert(namespace.into(), self.of_namespace(namespace).plus(cost));
        if let Some((root, matching)) = root {
            self.roots.insert(root.into(), self.of_root(root).plus(matching));
        }
        Ok(())
    }

    fn of_root(&self, root: &str) -> Cost {
        self.roots.get(root).copied().unwrap_or_default()
    }

    /// What the objects of a namespace cost so far.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Cost {
        self.namespaces.get(namespace).copied().unwrap_or_default()
    }

    /// The limits.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

// === impl Exceeded ===

impl Exceeded {
    /// The limit without the sum. The sum changes with every other object, and who stores this text would have to store it
    /// again each time.
    #[must_use]
    pub fn limit_text(&self) -> String {
        let Self { resource, limit, .. } = self;
        format!("{} would exceed the limit of {limit} {}; {}", self.subject(), resource.noun(), resource.remedy())
    }

    fn subject(&self) -> String {
        match &self.scope {
            Scope::Configuration => "the configuration".into(),
            Scope::Namespace(namespace) => format!("the namespace {namespace}"),
            Scope::Root(root) => format!("the splits of the root {root} together"),
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, resource, sum, limit } = self;
        let verb = if matches!(scope, Scope::Root(_)) { "have" } else { "has" };
        let (subject, noun, remedy) = (self.subject(), resource.noun(), resource.remedy());
        write!(f, "{subject} {verb} {sum} {noun}, above the limit of {limit}; {remedy}")
    }
}

// === impl Resource ===

impl Resource {
    fn noun(self) -> &'static str {
        match self {
            Self::Bytes => "bytes of JSON",
            Self::Backends => "backends",
            Self::Conditions => "conditions in matches",
            Self::PatternSize => "units of pattern size",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Bytes | Self::Backends => "remove splits or backends",
            Self::Conditions => "remove matches or conditions",
            Self::PatternSize => "use fewer or shorter patterns and smaller repetitions",
        }
    }
}

impl std::error::Error for Exceeded {}
