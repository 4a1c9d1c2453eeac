//! Limits of the memory and CPU time that a configuration costs a sidecar: in total, for each namespace, and for each
//! root Service.
//!
//! The filter refuses a configuration above the budget, `check` reports it, and the controller leaves out the objects
//! above it. All three count with [`Ledger`], so the filter accepts every configuration that the controller writes.
//!
//! Without a total, one namespace with many small objects could exhaust the memory of every sidecar and stop the splits
//! of all other namespaces.

use crate::configuration::pattern_size;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// The resources that objects use in a sidecar that loads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Bytes of JSON as the API server stores them: an EnvoyFilter carries the configuration as a string, so characters
    /// that are escaped count with their escapes.
    pub bytes: u64,
    /// Number of backends.
    pub backends: u64,
    /// Number of matches, plus the methods and headers in them.
    pub conditions: u64,
    /// Sum of [`Pattern::size`](crate::Pattern::size). A unit takes about 64 bytes of the filter's memory once its
    /// pattern is in use.
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
    /// For the objects of one namespace: half of the filter's total, so that no namespace takes everything.
    /// [`with_bytes`](Self::with_bytes) lowers only the total, which the controller shares among namespaces.
    pub namespace: Cost,
    /// For the matches of one root's splits. Bounds the cost of one request; bytes and backends do not count.
    pub root: Cost,
}

/// Adds up costs by namespace and root, and refuses objects that would exceed a [`Budget`].
#[derive(Clone, Debug)]
pub struct Ledger {
    budget: Budget,
    total: Cost,
    namespaces: BTreeMap<String, Cost>,
    roots: BTreeMap<String, Cost>,
}

// === impl Cost ===

impl Cost {
    /// Returns the cost of matches in JSON that is not validated yet. No pattern is compiled.
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

    /// Returns the part of a group's cost that counts against a root's limits: conditions and pattern size. This part
    /// counts for each split that names the group, because each match of the group may be compared with a request.
    #[must_use]
    pub fn of_matching(self) -> Self {
        Self { bytes: 0, backends: 0, ..self }
    }

    /// Returns the sum of two costs. The sum saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            backends: self.backends.saturating_add(other.backends),
            conditions: self.conditions.saturating_add(other.conditions),
            pattern_size: self.pattern_size.saturating_add(other.pattern_size),
        }
    }

    /// Returns the largest share of `total` among the resources, in millionths.
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

    /// Checks each resource against its limit. The error names the first resource that exceeds its limit.
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
    /// The limits of the filter.
    ///
    /// Measured memory of the filter: 0.4 KB for a backend, 0.1 KB for a condition, and 64 bytes for each unit of
    /// pattern size once the pattern is in use. Time for one request: see [`Budget::root`] and `docs/limits.md`.
    pub const FILTER: Self = Self {
        total: Cost { bytes: 8 << 20, backends: 1 << 16, conditions: 1 << 16, pattern_size: 1 << 18 },
        namespace: Cost { bytes: 4 << 20, backends: 1 << 15, conditions: 1 << 15, pattern_size: 1 << 17 },
        root: Cost { bytes: u64::MAX, backends: u64::MAX, conditions: 2048, pattern_size: 1 << 14 },
    };

    /// Checks the cost of a whole configuration.
    pub(crate) fn check_total(&self, sum: Cost) -> Result<(), Exceeded> {
        sum.check(&self.total, || Scope::Configuration)
    }

    /// Checks one group: no root has room for a group above the limits of a root. The error is a predicate of the field.
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

    /// Returns the filter's limits with a total of at most `bytes`, for example the size limit of the EnvoyFilter that
    /// contains the configuration.
    #[must_use]
    pub fn with_bytes(bytes: u64) -> Self {
        let mut budget = Self::FILTER;
        budget.total.bytes = budget.total.bytes.min(bytes);
        budget
    }
}

// === impl Ledger ===

impl Ledger {
    /// Creates a ledger. `base` is the cost of the configuration without splits, groups and Services; see
    /// [`Configuration::base_cost`](crate::Configuration::base_cost).
    #[must_use]
    pub fn new(budget: Budget, base: Cost) -> Self {
        Self { budget, total: base, namespaces: BTreeMap::new(), roots: BTreeMap::new() }
    }

    /// Checks whether `cost` fits for objects of `namespace`. `root` is the root (`namespace/name`) of a split, with
    /// the [matching cost](Cost::of_matching) of the groups that the split names.
    ///
    /// # Errors
    /// Returns the first limit that the cost would exceed.
    pub fn check(&self, namespace: &str, cost: Cost, root: Option<(&str, Cost)>) -> Result<(), Exceeded> {
        if let Some((root, matching)) = root {
            self.of_root(root).plus(matching).check(&self.budget.root, || Scope::Root(root.into()))?;
        }
        let of_namespace = self.of_namespace(namespace).plus(cost);
        of_namespace.check(&self.budget.namespace, || Scope::Namespace(namespace.into()))?;
        self.budget.check_total(self.total.plus(cost))
    }

    /// Adds a cost, with the arguments of [`check`](Self::check).
    ///
    /// # Errors
    /// Returns the first limit that the cost would exceed. The ledger is then unchanged.
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

    /// Returns the cost of a namespace's objects so far.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Cost {
        self.namespaces.get(namespace).copied().unwrap_or_default()
    }

    /// Returns the limits.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

// === impl Exceeded ===

impl Exceeded {
    /// Returns a message for a status, without the sum: the sum changes when any other object changes, and each new
    /// message would need another status write.
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
