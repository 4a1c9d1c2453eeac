//! Warnings about HTTPRouteGroups and references to them: matches that accept every request or none, and splits without requests.

use crate::path_pattern;
use crate::safe_text::one_line;
use crate::suggestion::misspelled;
use crate::wiring;
use envoy_request_headers::{Handling, HttpVersion, handling};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use traffic_split::{Configuration, Object, Problem, TrafficSplit};

/// The methods that are often misspelled.
const COMMON_METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// Valid methods with a name similar to a common method. Source: the HTTP Method Registry of IANA, and caches.
const OTHER_METHODS: [&str; 6] = ["SET", "BAN", "PUSH", "COPY", "MOVE", "PURGE"];

/// Returns the warnings about a valid configuration. `value` is the configuration before it was parsed.
pub(crate) fn match_warnings(value: &Value, configuration: &Configuration) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, group) in items(value, "httpRouteGroups").enumerate() {
        let name = crate::document::name(group);
        let mut warn = |field: String, message: String| {
            let object = Object::HttpRouteGroup { index, name: name.clone() };
            warnings.push(Problem { object, field, message });
        };
        let (matches, path) = match group.pointer("/spec/matches") {
            Some(Value::Array(matches)) => (matches, "spec.matches"),
            _ => match group.get("matches") {
                Some(Value::Array(matches)) => (matches, "matches"),
                _ => continue,
            },
        };
        for (index, one) in matches.iter().enumerate() {
            let Some(map) = one.as_object() else { continue };
            let field = match map.get("name").and_then(Value::as_str) {
                // The parser of the configuration also adds the name.
                Some(name) if !name.is_empty() && name.len() <= 80 => format!("{path}[{index}] {name:?}"),
                _ => format!("{path}[{index}]"),
            };
            conditions(map, &field, &mut warn);
            methods(map, &field, &mut warn);
            headers(map, &field, configuration, &mut warn);
            let pattern = map.get("pathRegex").and_then(Value::as_str).unwrap_or_default();
            if let Some(message) = path_pattern::mistake(pattern) {
                warn(format!("{field}.pathRegex"), message);
            }
        }
    }
    for (index, split) in items(value, "trafficSplits").enumerate() {
        if split.pointer("/spec/matches").is_some_and(Value::is_null) {
            let object = Object::TrafficSplit { index, name: crate::document::name(split) };
            let message = "is empty, so all requests are split; remove the field, or name an HTTPRouteGroup".into();
            warnings.push(Problem { object, field: "spec.matches".into(), message });
        }
    }
    warnings.extend(removed_headers(configuration));
    warnings.extend(unreachable_splits(configuration));
    warnings
}

fn items<'v>(value: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

/// Warns of empty conditions, and of a match without conditions.
fn conditions(map: &Map<String, Value>, field: &str, warn: &mut impl FnMut(String, String)) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.iter().all(|item| item.as_object().is_some_and(Map::is_empty)),
        _ => false,
    };
    let present = [("pathRegex", "path"), ("methods", "method"), ("headers", "header")]
        .into_iter()
        .filter_map(|(key, condition)| Some((key, condition, is_empty(map.get(key)?))));
    let (empty, conditions): (Vec<_>, Vec<_>) = present.partition(|(_, _, is_empty)| *is_empty);
    const EVERY: &str = "accepts every request; write `pathRegex: \"/\"` if this is intended";
    match (empty.first(), conditions.is_empty()) {
        (None, true) => warn(field.into(), format!("has no condition and {EVERY}")),
        (Some((key, ..)), true) => warn(format!("{field}.{key}"), format!("is empty, so the match {EVERY}")),
        (_, false) => {
            for (key, condition, _) in empty {
                let message = format!("is empty, so any {condition} is accepted; add a value, or remove the field");
                warn(format!("{field}.{key}"), message);
            }
        }
    }
}

/// Warns of methods that no client sends.
fn methods(map: &Map<String, Value>, field: &str, warn: &mut impl FnMut(String, String)) {
    for (index, method) in map.get("methods").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(message) = method.as_str().and_then(method_mistake) else { continue };
        warn(format!("{field}.methods[{index}]"), message);
    }
}

/// Returns why a method is probably a mistake, and what to write.
fn method_mistake(method: &str) -> Option<String> {
    if method == "*" || COMMON_METHODS.contains(&method) || OTHER_METHODS.contains(&method) {
        return None;
    }
    let plain = method.trim_matches(['^', '$']);
    if matches!(plain, "ALL" | "ANY" | ".*" | ".+" | "**" | "") {
        return Some(format!("`{method}` is not a method; write `*` to accept all methods"));
    }
    if plain.contains('|') {
        let methods: Vec<_> = plain.split('|').filter(|method| !method.is_empty()).collect();
        return Some(format!("`{method}` is not a method; write the list `[{}]`", methods.join(", ")));
    }
    if plain.starts_with('!') {
        return Some(format!("`{method}` is not a method; list the methods that the match accepts"));
    }
    if plain != method || plain.contains(['.', '*', '+']) {
        return Some(format!("`{method}` is not a method; list methods, because they are not regular expressions"));
    }
    let name = misspelled(method, COMMON_METHODS)?;
    Some(format!("unknown method `{method}`; did you mean `{name}`?"))
}

/// Warns of headers that the filter never sees, and of headers with two different values.
fn headers(
    map: &Map<String, Value>,
    field: &str,
    configuration: &Configuration,
    warn: &mut impl FnMut(String, String),
) {
    let maps: Vec<_> = match map.get("headers") {
        Some(Value::Array(list)) => {
            list.iter().enumerate().map(|(index, item)| (format!("{field}.headers[{index}]"), item)).collect()
        }
        Some(item) => vec![(format!("{field}.headers"), item)],
        None => return,
    };
    let written = configuration.written_headers();
    let mut literals: BTreeMap<String, &str> = BTreeMap::new();
    for (field, item) in maps {
        for (name, pattern) in item.as_object().into_iter().flatten() {
            let (lower, pattern) = (name.to_ascii_lowercase(), pattern.as_str().unwrap_or_default());
            let field = format!("{field}[{name:?}]");
            if let Some((key, _)) = written.iter().find(|(_, written)| *written == lower) {
                warn(field, format!("{lower:?} is the {key}, which clients cannot send; use another header"));
                continue;
            }
            if is_removed(&lower, pattern) || lower == wiring::backend_header(configuration) {
                warn(field, REMOVED.into());
                continue;
            }
            if !is_literal(pattern) {
                continue;
            }
            match literals.get(&lower) {
                Some(first) if *first != pattern => {
                    let (first, second) = (one_line(first), one_line(pattern));
                    warn(field, format!("both patterns of the header must match; write `{lower}: {first}|{second}`"));
                }
                _ => _ = literals.insert(lower, pattern),
            }
        }
    }
}

// The wiring removes the header for the backend from client requests, also if `backendHeader` is not set.
const REMOVED: &str = "by default, Envoy removes this header before the filter runs; use another header";

/// Returns whether Envoy removes a header with the value of this pattern. Upgrades keep `connection` and `upgrade`, and
/// `te: trailers` stays.
fn is_removed(name: &str, pattern: &str) -> bool {
    let value = pattern.to_ascii_lowercase();
    let is_kept = match name {
        "upgrade" => true,
        "connection" => !is_literal(pattern) || value.contains("upgrade"),
        "te" => !is_literal(pattern) || value == "trailers",
        _ => false,
    };
    !is_kept && handling(name, HttpVersion::Http1) == Handling::Removed
}

/// Returns whether a pattern has no characters with a meaning in regular expressions.
fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'])
}

/// Warns of annotations that name a header that Envoy removes.
fn removed_headers(configuration: &Configuration) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, split) in configuration.traffic_splits.iter().enumerate() {
        let annotations = &split.metadata.annotations;
        let headers =
            [("override-header", &annotations.override_header), ("sticky-header", &annotations.sticky_header)];
        for (option, header) in headers {
            let Some(header) = header else { continue };
            let is_removed = handling(header, HttpVersion::Http1) == Handling::Removed;
            if is_removed || header == wiring::backend_header(configuration) {
                let field = format!("metadata.annotations[\"traffic-split/{option}\"]");
                warnings.push(Problem { object: object(index, split), field, message: REMOVED.into() });
            }
        }
    }
    warnings
}

/// Warns of splits whose groups are all groups of earlier splits of the same root.
fn unreachable_splits(configuration: &Configuration) -> Vec<Problem> {
    let mut earlier: BTreeMap<(&str, &str), BTreeMap<&str, String>> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (index, split) in configuration.traffic_splits.iter().enumerate() {
        let groups = earlier.entry((&split.metadata.namespace, &split.spec.service)).or_default();
        let names: Vec<_> = split.spec.matches.iter().map(|reference| reference.name.as_str()).collect();
        let others: Option<BTreeSet<_>> = names.iter().map(|name| groups.get(name)).collect();
        if let Some(others) = others.filter(|others| !others.is_empty()) {
            let others: Vec<_> = others.into_iter().map(String::as_str).collect();
            let message = format!(
                "no request reaches this split, because the same root has earlier splits with these groups: {}; name other groups, \
                 or remove a split",
                others.join(", ")
            );
            warnings.push(Problem { object: object(index, split), field: "spec.matches".into(), message });
        }
        for name in names {
            groups.entry(name).or_insert_with(|| split.key());
        }
    }
    warnings
}

fn object(index: usize, split: &TrafficSplit) -> Object {
    Object::TrafficSplit { index, name: split.key() }
}

#[cfg(test)]
mod tests {
    use super::match_warnings;
    use serde_json::{Value, json};
    use traffic_split::{Configuration, Problem};

    fn warnings(value: &Value) -> Vec<String> {
        let configuration = Configuration::from_value(value).unwrap();
        let text = |Problem { field, message, .. }| format!("{field}: {message}");
        match_warnings(value, &configuration).into_iter().map(text).collect()
    }

    fn group(one: &Value) -> Value {
        json!({"clusterHeader": "x-cluster", "httpRouteGroups": [{"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
            "metadata": {"name": "g", "namespace": "shop"}, "spec": {"matches": [one]}}]})
    }

    fn split(name: &str, annotations: &Value, groups: &[&str]) -> Value {
        let matches: Vec<_> = groups.iter().map(|name| json!({"kind": "HTTPRouteGroup", "name": name})).collect();
        json!({"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
            "spec": {"service": "web", "backends": [{"service": "v1", "weight": 1}], "matches": matches}})
    }

    #[test]
    fn empty_conditions_are_warnings() {
        let every = "accepts every request; write `pathRegex: \"/\"` if this is intended";
        for (one, expected) in [
            (json!({}), vec![format!("spec.matches[0]: has no condition and {every}")]),
            (json!({"name": "m"}), vec![format!("spec.matches[0] \"m\": has no condition and {every}")]),
            (json!({"pathRegex": null}), vec![format!("spec.matches[0].pathRegex: is empty, so the match {every}")]),
            (json!({"pathRegex": ""}), vec![format!("spec.matches[0].pathRegex: is empty, so the match {every}")]),
            (json!({"methods": []}), vec![format!("spec.matches[0].methods: is empty, so the match {every}")]),
            (json!({"methods": null}), vec![format!("spec.matches[0].methods: is empty, so the match {every}")]),
            (json!({"headers": []}), vec![format!("spec.matches[0].headers: is empty, so the match {every}")]),
            (json!({"headers": {}}), vec![format!("spec.matches[0].headers: is empty, so the match {every}")]),
            (json!({"headers": [{}]}), vec![format!("spec.matches[0].headers: is empty, so the match {every}")]),
            (json!({"headers": null}), vec![format!("spec.matches[0].headers: is empty, so the match {every}")]),
            (
                json!({"pathRegex": "/", "methods": [], "headers": null}),
                vec![
                    "spec.matches[0].methods: is empty, so any method is accepted; add a value, or remove the field"
                        .into(),
                    "spec.matches[0].headers: is empty, so any header is accepted; add a value, or remove the field"
                        .into(),
                ],
            ),
            (json!({"pathRegex": "*"}), vec![]),
            (json!({"pathRegex": ".*"}), vec![]),
            (json!({"methods": ["*"]}), vec![]),
            (json!({"headers": {"x": ""}}), vec![]),
        ] {
            assert_eq!(warnings(&group(&one)), expected, "{one}");
        }
    }

    #[test]
    fn methods_that_are_mistakes_have_a_remedy() {
        for (method, remedy) in [
            ("GTE", "did you mean `GET`?"),
            ("PSOT", "did you mean `POST`?"),
            ("DELTE", "did you mean `DELETE`?"),
            ("ALL", "write `*` to accept all methods"),
            ("ANY", "write `*` to accept all methods"),
            (".*", "write `*` to accept all methods"),
            ("GET|POST", "write the list `[GET, POST]`"),
            ("^GET|POST$", "write the list `[GET, POST]`"),
            ("!GET", "list the methods that the match accepts"),
            ("G.T", "list methods, because they are not regular expressions"),
            ("GET*", "list methods, because they are not regular expressions"),
        ] {
            let warnings = warnings(&group(&json!({"methods": [method]})));
            let [warning] = warnings.as_slice() else { panic!("{method}: {warnings:?}") };
            assert!(warning.starts_with("spec.matches[0].methods[0]: "), "{warning}");
            assert!(warning.ends_with(&format!("; {remedy}")), "{warning}");
        }
        for method in [
            "GET", "PATCH", "*", "PROPFIND", "MKCOL", "LOCK", "REPORT", "SEARCH", "QUERY", "M-SEARCH", "PURGE", "ON",
            "BAN", "LINK",
        ] {
            assert_eq!(warnings(&group(&json!({"methods": [method]}))), [""; 0]);
        }
    }

    #[test]
    fn header_conditions_that_no_request_meets_are_warnings() {
        let removed = "by default, Envoy removes this header before the filter runs; use another header";
        for (headers, expected) in [
            (
                json!([{"x-a": "b"}, {"X-A": "c"}]),
                "[1][\"X-A\"]: both patterns of the header must match; write `x-a: b|c`",
            ),
            (
                json!({"x-cluster": "b"}),
                "[\"x-cluster\"]: \"x-cluster\" is the clusterHeader, which clients cannot send; use another header",
            ),
            (json!({"TE": "gzip"}), &format!("[\"TE\"]: {removed}")),
            (json!({"connection": "close"}), &format!("[\"connection\"]: {removed}")),
            (json!({"transfer-encoding": ".*"}), &format!("[\"transfer-encoding\"]: {removed}")),
            (json!({"x-envoy-retry-on": "5xx"}), &format!("[\"x-envoy-retry-on\"]: {removed}")),
        ] {
            assert_eq!(warnings(&group(&json!({"headers": headers}))), [format!("spec.matches[0].headers{expected}")]);
        }
        for headers in [
            json!([{"x-a": "b"}, {"x-a": "b"}]),
            json!([{"x-a": "b.*"}, {"x-a": ".*c"}]),
            json!({"te": "trailers", "connection": "Upgrade", "upgrade": "websocket"}),
            json!({"x-envoy-external-address": "10.*", ":authority": "web"}),
        ] {
            assert_eq!(warnings(&group(&json!({"headers": headers}))), [""; 0]);
        }
    }

    #[test]
    fn splits_that_receive_no_requests_or_all_are_warnings() {
        let mut value = group(&json!({"pathRegex": "/"}));
        value["httpRouteGroups"] = ["g", "h"]
            .map(|name| {
                let mut group = value["httpRouteGroups"][0].clone();
                group["metadata"]["name"] = name.into();
                group
            })
            .into_iter()
            .collect();
        let unreachable = "spec.matches: no request reaches this split, because the same root has earlier splits with these groups: shop/a";
        let remedy = "name other groups, or remove a split";
        value["trafficSplits"] = json!([split("a", &json!({}), &["g"]), split("b", &json!({}), &["g"])]);
        assert_eq!(warnings(&value), [format!("{unreachable}; {remedy}")]);
        value["trafficSplits"] = json!([split("a", &json!({}), &["g", "h"]), split("b", &json!({}), &["h", "g"])]);
        assert_eq!(warnings(&value), [format!("{unreachable}; {remedy}")]);
        value["trafficSplits"] = json!([
            split("a", &json!({}), &["g"]),
            split("b", &json!({}), &["h"]),
            split("c", &json!({}), &["g", "h"])
        ]);
        assert_eq!(warnings(&value), [format!("{unreachable}, shop/b; {remedy}")]);
        value["trafficSplits"] = json!([split("a", &json!({}), &["g"]), split("b", &json!({}), &["g", "h"])]);
        assert_eq!(warnings(&value), [""; 0]);

        let annotations = json!({"traffic-split/sticky-header": "Connection", "traffic-split/override-header": "x-a"});
        let mut one = split("a", &annotations, &[]);
        one["spec"]["matches"] = Value::Null;
        value["trafficSplits"] = json!([one]);
        assert_eq!(
            warnings(&value),
            [
                "spec.matches: is empty, so all requests are split; remove the field, or name an HTTPRouteGroup",
                "metadata.annotations[\"traffic-split/sticky-header\"]: by default, Envoy removes this header before the filter runs; \
                 use another header",
            ]
        );
    }
}
