//! The `cookie` header of a request.

use crate::decision;
use fixtures::{FakeRequest, TrafficSplit};
use serde_json::json;
use std::sync::LazyLock;
use traffic_split::{Configuration, DecidedBy, Rules};

/// A split that is sticky by the cookie `id`.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let split = TrafficSplit::new("split", "web").annotation("sticky-cookie", "id").backends(&[("v1", 1), ("v2", 1)]);
    let configuration = Configuration::from_value(&json!({"trafficSplits": [split.build()]}));
    Rules::new(&configuration.expect("the configuration is valid"), Some("ns"))
});

/// Parses a `cookie` header. A second, simpler parser must find the same value.
pub fn cookie(data: &[u8]) {
    let request = FakeRequest::to("web.ns:80").header("cookie", data);
    decision::check(&RULES, &request);
    let trace = RULES.explain(&request);
    let found = trace.certain.map(|certain| certain.decided_by);
    let expected = value(data).map(|value| DecidedBy::Cookie("id", value));
    assert_eq!(found, expected, "{}", data.escape_ascii());
    assert_eq!(trace.new_cookie.is_some(), expected.is_none());
}

/// Returns the value of the first cookie `id`, without quotes; `None` if it is empty.
fn value(header: &[u8]) -> Option<Vec<u8>> {
    let mut rest = header;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        let pair = &rest[..end];
        rest = &rest[(end + 1).min(rest.len())..];
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
        if pair[..equals].trim_ascii() != b"id" {
            continue;
        }
        let value = pair[equals + 1..].trim_ascii();
        let is_quoted = value.len() >= 2 && value[0] == b'"' && value[value.len() - 1] == b'"';
        let value = if is_quoted { &value[1..value.len() - 1] } else { value };
        return Some(value.to_vec()).filter(|value| !value.is_empty());
    }
    None
}
