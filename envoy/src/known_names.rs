//! Adds the nearest known name to problems of names that do not exist.

use crate::document::{key, text};
use crate::suggestion::{did_you_mean, nearest};
use serde_json::Value;
use std::collections::BTreeSet;
use traffic_split::{Object, Problem};

/// Adds the nearest name to a problem of a split: of an HTTPRouteGroup that does not exist, or of a mirror that is not a backend.
/// `value` is the configuration before it was parsed, and `unused` has `namespace/name` of the groups that no split references.
pub(crate) fn with_known_name(problem: Problem, value: &Value, unused: &BTreeSet<String>) -> Problem {
    let Object::TrafficSplit { index, .. } = problem.object else { return problem };
    let Some(split) = value.get("trafficSplits").and_then(|splits| splits.get(index)) else { return problem };
    let Some(hint) = hint(&problem.field, split, value, unused) else { return problem };
    Problem { message: format!("{}{hint}", problem.message), ..problem }
}

fn hint(field: &str, split: &Value, value: &Value, unused: &BTreeSet<String>) -> Option<String> {
    if field == "metadata.annotations[\"traffic-split/mirror\"]" {
        let (name, _) = text(split, "/metadata/annotations/traffic-split~1mirror")?.split_once('=')?;
        let backends = split.pointer("/spec/backends").and_then(Value::as_array).into_iter().flatten();
        let backends: Vec<_> = backends.filter_map(|backend| text(backend, "/service")).collect();
        let name = name.trim();
        return Some(did_you_mean(name, backends.iter().copied())).filter(|_| !backends.contains(&name));
    }
    let reference = field.strip_prefix("spec.matches[")?.strip_suffix("].name")?;
    let name = text(split, &format!("/spec/matches/{reference}/name"))?;
    let namespace = text(split, "/metadata/namespace")?;
    let groups = value.get("httpRouteGroups").and_then(Value::as_array).into_iter().flatten().map(key);
    let groups: BTreeSet<_> = groups.chain(unused.iter().cloned()).collect();
    if groups.contains(&format!("{namespace}/{name}")) {
        return None;
    }
    let names = || groups.iter().filter_map(|group| group.split_once('/'));
    let own = names().filter(|(own, _)| *own == namespace).map(|(_, name)| name);
    if let Some(name) = nearest(name, own) {
        return Some(format!("; did you mean `{name}`?"));
    }
    let (other, _) = names().find(|(_, other)| *other == name)?;
    Some(format!("; a group of this name is in the namespace {other:?}, but must be in the split's namespace"))
}

#[cfg(test)]
mod tests {
    use super::with_known_name;
    use serde_json::json;
    use traffic_split::{Object, Problem};

    #[test]
    fn nearest_name_of_the_namespace_is_added() {
        let value = json!({
            "httpRouteGroups": [{"metadata": {"name": "testers", "namespace": "shop"}}, {"metadata": {"name": "beta", "namespace": "other"}}],
            "trafficSplits": [{"metadata": {"namespace": "shop", "annotations": {"traffic-split/mirror": "v3x=5"}},
                "spec": {"matches": [{"name": "tester"}, {"name": "beta"}, {"name": "zzz"}, {"name": "testers"}, {"name": "preveiw"}],
                    "backends": [{"service": "v3"}]}}],
        });
        let unused = ["shop/preview".to_owned()].into();
        let message = |field: &str| {
            let object = Object::TrafficSplit { index: 0, name: "shop/a".into() };
            with_known_name(Problem { object, field: field.into(), message: "x".into() }, &value, &unused).message
        };
        assert_eq!(message("spec.matches[0].name"), "x; did you mean `testers`?");
        assert_eq!(
            message("spec.matches[1].name"),
            "x; a group of this name is in the namespace \"other\", but must be in the split's namespace"
        );
        assert_eq!(message("spec.matches[2].name"), "x");
        assert_eq!(message("spec.matches[3].name"), "x");
        assert_eq!(message("spec.matches[4].name"), "x; did you mean `preview`?");
        assert_eq!(message("spec.matches[9].name"), "x");
        assert_eq!(message("metadata.annotations[\"traffic-split/mirror\"]"), "x; did you mean `v3`?");
        assert_eq!(message("spec.service"), "x");
    }
}
