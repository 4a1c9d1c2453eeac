//! Match lookup: whether the matches of a split accept a request, and the condition that fails if not.

use crate::configuration::http_route_group::{HttpMatch, HttpRouteGroup};
use crate::configuration::pattern::{Matched, MatchingSteps, Pattern};
use crate::routing::header_cache::{HeaderCache, Value};
use crate::routing::request::Request;
use std::sync::Arc;

/// The matches of an HTTPRouteGroup. Splits that name the same group share them.
#[derive(Clone, Debug)]
pub(crate) struct MatchGroup(Arc<[NamedMatch]>);

#[derive(Debug, PartialEq)]
struct NamedMatch {
    /// `group/match`, or `group/matches[index]` if the match has no name.
    name: Box<str>,
    conditions: HttpMatch,
}

/// A match that rejects a request, and the first of its conditions that fails.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FailedMatch<'r> {
    /// The match: `group/match`.
    pub name: &'r str,
    /// The condition that fails.
    pub condition: MatchCondition<'r>,
    /// Whether the pattern was not evaluated: the value is longer than 8 KiB, or evaluating it would exceed the
    /// matching steps of one request.
    pub too_long: bool,
}

/// One condition of a match.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MatchCondition<'r> {
    /// The method is one of these.
    Method(&'r [String]),
    /// The path, without its query, begins with the pattern.
    Path(&'r Pattern),
    /// The first value of this header matches the pattern.
    Header(&'r str, &'r Pattern),
}

/// Returns the name of the first match that accepts a request. Matches are alternatives; within a match all conditions
/// must hold. Each match that rejects the request is passed to `on_failed`.
pub(crate) fn first_match<'r>(
    groups: &'r [MatchGroup],
    headers: &mut HeaderCache<'_, impl Request>,
    steps: &mut MatchingSteps,
    mut on_failed: impl FnMut(FailedMatch<'r>),
) -> Option<&'r str> {
    for NamedMatch { name, conditions } in groups.iter().flat_map(|group| group.0.iter()) {
        match failed_condition(conditions, headers, steps) {
            None => return Some(name),
            Some((condition, too_long)) => on_failed(FailedMatch { name, condition, too_long }),
        }
    }
    None
}

/// Returns the first condition that fails, and whether its pattern was not evaluated; `None` if all hold.
fn failed_condition<'r>(
    conditions: &'r HttpMatch,
    headers: &mut HeaderCache<'_, impl Request>,
    steps: &mut MatchingSteps,
) -> Option<(MatchCondition<'r>, bool)> {
    if !conditions.methods.is_empty() {
        let method = headers.get(":method").unwrap_or_default();
        if !conditions.methods.iter().any(|own| own.as_bytes() == method) {
            return Some((MatchCondition::Method(&conditions.methods), false));
        }
    }
    if let Some(pattern) = &conditions.path_regex {
        match matched(pattern, headers.path(), steps) {
            Matched::Yes => {}
            failed => return Some((MatchCondition::Path(pattern), failed == Matched::TooLong)),
        }
    }
    conditions.headers.iter().find_map(|(name, pattern)| match matched(pattern, headers.value(name), steps) {
        Matched::Yes => None,
        failed => Some((MatchCondition::Header(name, pattern), failed == Matched::TooLong)),
    })
}

fn matched(pattern: &Pattern, value: Value<'_>, steps: &mut MatchingSteps) -> Matched {
    match value {
        Value::Text(value) => pattern.matches(value, steps),
        Value::TooLong => Matched::TooLong,
        Value::Absent | Value::NotUtf8 => Matched::No,
    }
}

// === impl MatchGroup ===

impl MatchGroup {
    pub(crate) fn new(group: &HttpRouteGroup) -> Self {
        let matches = group.spec.matches.iter().enumerate().map(|(index, conditions)| {
            let group = &group.metadata.name;
            let name = match conditions.name.as_str() {
                "" => format!("{group}/matches[{index}]"),
                name => format!("{group}/{name}"),
            };
            NamedMatch { name: name.into(), conditions: conditions.clone() }
        });
        Self(matches.collect())
    }

    /// Returns whether the matches equal those of `group`, which has the same name.
    pub(crate) fn has_matches_of(&self, group: &HttpRouteGroup) -> bool {
        self.0.len() == group.spec.matches.len()
            && self.0.iter().zip(&group.spec.matches).all(|(own, other)| own.conditions == *other)
    }

    /// Returns whether both groups are the same allocation.
    pub(crate) fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for MatchGroup {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other) || self.0 == other.0
    }
}
