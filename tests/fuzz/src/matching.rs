//! Regular expressions, and the warnings about them.

use crate::{decision, message};
use fixtures::{FakeRequest, TrafficSplit, route_group};
use serde_json::json;
use traffic_split::{Configuration, Rules};
use traffic_split_envoy::{InputFile, LoadOptions, load};

/// Matches a value against a pattern: the first line of the input is the pattern, and the rest is the value.
///
/// The result must be that of the crate `regex`, if both are ASCII: the syntax of the filter's crate is ASCII only. If a
/// warning says that a pattern matches no path, then it must match no path.
pub fn matching(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(Ok(pattern)), value) = (parts.next().map(std::str::from_utf8), parts.next().unwrap_or_default()) else {
        return;
    };
    if let Some((path, too_long)) = matches(json!({"pathRegex": pattern}), value) {
        let text = value.split(|byte| *byte == b'?').next().unwrap_or_default();
        if let Some(expected) = expected(&format!("^(?:{pattern})"), text).filter(|_| !too_long) {
            assert_eq!(path, expected, "path: {pattern:?} {}", text.escape_ascii());
        }
        check_warnings(pattern, text, path);
    }
    if let Some((header, too_long)) = matches(json!({"headers": [{"x-value": pattern}]}), value)
        && let Some(expected) = expected(&format!("^(?:{pattern})$"), value).filter(|_| !too_long)
    {
        assert_eq!(header, expected, "header: {pattern:?} {}", value.escape_ascii());
    }
}

fn objects(conditions: serde_json::Value) -> [serde_json::Value; 2] {
    let split = TrafficSplit::new("split", "web").matches("group").backend("v1", 1).build();
    [split, route_group("ns", "group", json!([conditions]))]
}

/// Returns whether a request with this path and header matches, and whether the pattern was not evaluated; `None` if
/// the pattern is invalid.
fn matches(conditions: serde_json::Value, value: &[u8]) -> Option<(bool, bool)> {
    let [split, group] = objects(conditions);
    match Configuration::from_value(&json!({"trafficSplits": [split], "httpRouteGroups": [group]})) {
        Err(problems) => {
            problems.iter().for_each(message::check);
            None
        }
        Ok(configuration) => {
            let rules = Rules::new(&configuration, None);
            let request = FakeRequest::to("web.ns:80").header(":path", value).header("x-value", value);
            decision::check(&rules, &request);
            let trace = rules.explain(&request);
            let too_long = trace.skipped.iter().flat_map(|(_, failed)| failed).any(|failed| failed.too_long);
            Some((trace.matched.is_some(), too_long))
        }
    }
}

/// Returns whether the crate `regex` finds the anchored pattern; `None` if that cannot be compared.
fn expected(anchored: &str, value: &[u8]) -> Option<bool> {
    let is_ascii = anchored.is_ascii() && value.is_ascii();
    let regex = regex::bytes::RegexBuilder::new(anchored).unicode(false).build().ok().filter(|_| is_ascii)?;
    Some(regex.is_match(value))
}

/// Checks the warnings of `traffic-split check` about `pathRegex`.
fn check_warnings(pattern: &str, path: &[u8], matched: bool) {
    // YAML excludes some other characters, which JSON does not.
    if !pattern.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return;
    }
    let content = objects(json!({"pathRegex": pattern})).map(|object| object.to_string()).join("\n---\n");
    let file = InputFile { name: "matches.yaml".to_owned(), content: Ok(content.into_bytes()) };
    let input = load(&[file], None, &LoadOptions::default());
    let input = input.unwrap_or_else(|problems| panic!("{pattern:?} is valid for the filter only: {problems:?}"));
    let is_path = path.starts_with(b"/") && path.iter().all(|byte| byte.is_ascii_graphic() && !b"#\\".contains(byte));
    for warning in &input.warnings {
        message::check(warning);
        let is_impossible = warning.message.starts_with("matches no path");
        assert!(!(is_impossible && is_path && matched), "{warning}, but it matches {}", path.escape_ascii());
    }
}
