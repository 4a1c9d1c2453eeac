//! Numbers that kubectl and YAML 1.2 read differently: kubectl parses YAML 1.1, in which a leading zero means octal.

use crate::object_type::Kind;
use crate::source_map::SourceMap;
use serde_json::Value;

/// Returns field and message of each ambiguous number of an object in a field that the configuration needs.
pub(crate) fn ambiguous_numbers(kind: Kind, object: &Value, source: &SourceMap) -> Vec<(String, String)> {
    let (list, field) = match kind {
        Kind::TrafficSplit => ("backends", "weight"),
        Kind::Service => ("ports", "port"),
        Kind::HttpRouteGroup => return Vec::new(),
    };
    let items = object.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map_or(0, Vec::len);
    ambiguous((0..items).map(|index| format!("spec.{list}[{index}].{field}")), source)
}

/// Returns field and message of each ambiguous port of an entry of `services` in a plugin configuration.
pub(crate) fn ambiguous_ports(service: &Value, source: &SourceMap) -> Vec<(String, String)> {
    let fields: Vec<_> = match service.get("ports") {
        Some(Value::Array(ports)) => (0..ports.len()).map(|index| format!("ports[{index}]")).collect(),
        Some(Value::Object(ports)) => ports.keys().map(|port| format!("ports[{port:?}]")).collect(),
        _ => Vec::new(),
    };
    ambiguous(fields.into_iter(), source)
}

/// Returns field and message of each ambiguous port in the `hosts` of a plugin configuration.
pub(crate) fn ambiguous_host_ports(configuration: &Value, source: &SourceMap) -> Vec<(String, String)> {
    let hosts = configuration.get("hosts").and_then(Value::as_object).into_iter().flatten();
    ambiguous(hosts.map(|(host, _)| format!("hosts[{host:?}].port")), source)
}

fn ambiguous(fields: impl Iterator<Item = String>, source: &SourceMap) -> Vec<(String, String)> {
    let message = |field: &str| {
        let text = source.text(field)?;
        let (octal, decimal) = readings(text)?;
        Some(format!(
            "{text} is ambiguous: kubectl reads {octal}, YAML 1.2 reads {decimal}; write {octal} or {decimal}"
        ))
    };
    fields.filter_map(|field| message(&field).map(|message| (field, message))).collect()
}

/// Returns the number that YAML 1.1 reads and the number that YAML 1.2 reads, if they differ.
fn readings(text: &str) -> Option<(i128, i128)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits: String = digits.chars().filter(|char| *char != '_').collect();
    if !digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A number with the digit 8 or 9 is not octal: YAML 1.1 also reads it as decimal.
    let (octal, decimal) = (i128::from_str_radix(&digits, 8).ok()?, digits.parse::<i128>().ok()?);
    (octal != decimal).then_some((sign * octal, sign * decimal))
}

#[cfg(test)]
mod tests {
    use super::readings;

    #[test]
    fn only_numbers_with_two_readings_are_ambiguous() {
        for (text, numbers) in [
            ("010", Some((8, 10))),
            ("+010", Some((8, 10))),
            ("-010", Some((-8, -10))),
            ("0777", Some((511, 777))),
            ("00017", Some((15, 17))),
            ("0_10", Some((8, 10))),
            ("0", None),
            ("00", None),
            ("007", None),
            ("08", None),
            ("0o10", None),
            ("0x10", None),
            ("010.5", None),
            ("10", None),
            ("", None),
            ("null", None),
        ] {
            assert_eq!(readings(text), numbers, "{text}");
        }
    }
}
