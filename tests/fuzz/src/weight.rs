//! The weight of a backend.

use crate::{configuration, message};
use fixtures::TrafficSplit;
use serde_json::{Value, json};
use traffic_split::{Configuration, Weight};

/// The maximum weight in billionths.
const MAX: u128 = 1_000_000_000_000_000_000;

/// Parses a weight as a JSON value, and as a Kubernetes quantity. A second, simpler parser of quantities must find the
/// same weight.
pub fn weight(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        accepted(value);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let expected = quantity(text).filter(|weight| *weight <= MAX);
    assert_eq!(accepted(text.into()).map(u128::from), expected, "{text:?}");
}

/// Returns the weight in billionths if a configuration with it is accepted.
fn accepted(weight: Value) -> Option<u64> {
    let split = TrafficSplit::new("split", "web").backend("v1", weight).backend("v2", 1).build();
    match Configuration::from_value(&json!({"trafficSplits": [split]})) {
        Ok(accepted) => {
            configuration::check(&accepted);
            accepted.traffic_splits[0].spec.backends[0].weight.map(Weight::billionths)
        }
        Err(problems) => {
            problems.iter().for_each(message::check);
            None
        }
    }
}

/// Returns a Kubernetes quantity in billionths, by moving its decimal point; `None` if it is none, negative, not an
/// integer, or has more than 38 digits.
fn quantity(text: &str) -> Option<u128> {
    let (is_negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &text[..text.len() - suffix.len()];
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() || number.len() > digits.len() + 1 {
        return None;
    }
    let point = number.find('.').unwrap_or(number.len());
    let (factor, exponent) = match suffix {
        "" => (1, 0),
        "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => (1 << (10 * (1 + "KMGTPE".find(&suffix[..1])?)), 0),
        "n" | "u" | "m" => (1, 3 * i64::try_from("num".find(suffix)?).ok()? - 9),
        "k" => (1, 3),
        "M" | "G" | "T" | "P" | "E" => (1, 3 * i64::try_from("MGTPE".find(suffix)?).ok()? + 6),
        _ => (1, i64::from(suffix.strip_prefix(['e', 'E'])?.parse::<i16>().ok()?)),
    };
    if digits.bytes().all(|digit| digit == b'0') {
        return Some(0);
    }
    // The decimal point of billionths, then zeros up to it.
    let point = i64::try_from(point).ok()? + exponent + 9;
    let significant = digits.trim_end_matches('0');
    let zeros = usize::try_from(point - i64::try_from(significant.len()).ok()?).ok()?;
    let whole = format!("{}{}", significant.trim_start_matches('0'), "0".repeat(zeros.min(60)));
    if is_negative { None } else { whole.parse::<u128>().ok()?.checked_mul(factor) }
}
