//! HTTPRouteGroups in input files. A configuration contains only the groups that a TrafficSplit references, because other tools also
//! use HTTPRouteGroups, for example as access policies.

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::text;
use crate::origin::Origin;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use traffic_split::{HttpRouteGroup, Problem};

/// An HTTPRouteGroup of a file.
pub(crate) struct RouteGroup {
    /// The index of the file.
    pub(crate) file: usize,
    pub(crate) origin: Origin,
    /// The object without its unknown fields.
    pub(crate) value: Value,
    /// The diagnostics before the object is validated.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl RouteGroup {
    /// Validates a group that no split references. Returns all problems as warnings.
    pub(crate) fn warnings(self) -> Vec<Diagnostic> {
        let Self { origin, value, diagnostics, .. } = self;
        let mut warnings = BTreeMap::new();
        let problems = HttpRouteGroup::from_value(&value).err().unwrap_or_default();
        let problems = problems
            .into_iter()
            .map(|Problem { field, message, .. }| origin.diagnostic(Severity::Warning, &field, message));
        // An earlier message about the same field names the remedy.
        for mut warning in problems.chain(diagnostics) {
            warning.severity = Severity::Warning;
            warnings.insert(warning.field.clone(), warning);
        }
        warnings.into_values().collect()
    }
}

/// Returns `namespace/name` of each HTTPRouteGroup that a split in the list references.
pub(crate) fn names(splits: Option<&Value>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for split in splits.and_then(Value::as_array).into_iter().flatten() {
        let references = split.pointer("/spec/matches").and_then(Value::as_array);
        for name in references.into_iter().flatten().filter_map(|reference| text(reference, "/name")) {
            names.insert(match text(split, "/metadata/namespace") {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.into(),
            });
        }
    }
    names
}
