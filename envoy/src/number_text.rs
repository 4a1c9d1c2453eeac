//! Numbers and words that kubectl and YAML 1.2 read differently: kubectl parses YAML 1.1, in which a leading zero means octal, and
//! `on` and `no` are booleans.

use crate::object_type::Kind;
use crate::source_map::SourceMap;
use crate::unknown_fields::join;
use serde_json::Value;

/// Returns field and message of each ambiguous number of an object in a field that the configuration needs.
pub(crate) fn ambiguous_numbers(kind: Kind, object: &Value, source: &SourceMap) -> Vec<(String, String)> {
    let (list, field) = match kind {
        Kind::TrafficSplit => ("backends", "weight"),
        Kind::Service => ("ports", "port"),
        Kind::HttpRouteGroup => return Vec::new(),
    };
    let items = object.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map_or(0, Vec::len);
    let fields: Vec<_> = (0..items).map(|index| format!("spec.{list}[{index}].{field}")).collect();
    let mut found = ambiguous(fields.iter().cloned(), source);
    if kind == Kind::Service {
        // A weight may be a floating-point number, a port may not.
        let leading_zero = |field: String| {
            let text = source.text(&field)?;
            let message = format!("{text} has a leading zero; write {}", decimal_with_zero(text)?);
            Some((field, message))
        };
        found.extend(fields.into_iter().filter_map(leading_zero));
    }
    found
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

/// Returns field and message of each word without quotes that kubectl reads as a boolean, in a field that must be a string.
pub(crate) fn booleans_of_kubectl(kind: Kind, object: &Value, source: &SourceMap) -> Vec<(String, String)> {
    let metadata = ["metadata.name", "metadata.namespace", "metadata.annotations"];
    let fields: &[&str] = if kind == Kind::Service { &[] } else { &["spec", "matches"] };
    let mut found = Vec::new();
    for field in metadata.iter().chain(fields) {
        if let Some(value) = object.pointer(&format!("/{}", field.replace('.', "/"))) {
            find_booleans(value, field, source, &mut found);
        }
    }
    found
}

fn find_booleans(value: &Value, field: &str, source: &SourceMap, found: &mut Vec<(String, String)>) {
    match value {
        // Only words without quotes have a text.
        Value::String(word) if source.text(field) == Some(word) => {
            let message = format!(
                "kubectl reads the unquoted word `{word}` as a boolean, so the API server refuses the object; write \"{word}\""
            );
            found.push((field.into(), message));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_booleans(item, &format!("{field}[{index}]"), source, found);
            }
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| find_booleans(value, &join(field, key), source, found))
        }
        _ => {}
    }
}

/// Returns whether YAML 1.1 reads a word as a boolean, and YAML 1.2 as a string.
pub(crate) fn is_boolean_of_yaml_1_1(word: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "yes", "on", "n", "no", "off"];
    let is_in_one_case = |known: &&str| {
        word == *known || word == known.to_ascii_uppercase() || (word.len() > 1 && word.get(1..) == known.get(1..))
    };
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(word) && is_in_one_case(known))
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

/// Returns the number that YAML 1.1 reads and the number that YAML 1.2 reads, if they differ. Ignores negative numbers, which have
/// an error of their own.
fn readings(text: &str) -> Option<(u128, u128)> {
    let digits: String = text.strip_prefix('+').unwrap_or(text).chars().filter(|char| *char != '_').collect();
    if !digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A number with the digit 8 or 9 is not octal: YAML 1.1 also reads it as decimal.
    let (octal, decimal) = (u128::from_str_radix(&digits, 8).ok()?, digits.parse().ok()?);
    (octal != decimal).then_some((octal, decimal))
}

/// Returns the number of a text with a leading zero and the digit 8 or 9, which both versions of YAML read as a floating-point number.
fn decimal_with_zero(text: &str) -> Option<u128> {
    let is_decimal = text.starts_with('0') && text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_decimal && text.contains(['8', '9']))
}

#[cfg(test)]
mod tests {
    use super::readings;

    #[test]
    fn only_numbers_with_two_readings_are_ambiguous() {
        for (text, numbers) in [
            ("010", Some((8, 10))),
            ("+010", Some((8, 10))),
            ("-010", None),
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
