//! Warnings about valid settings of splits that have no effect, or not the effect that their author expects.

use crate::roots::roots;
use serde_json::Value;
use std::collections::BTreeSet;
use traffic_split::{Configuration, Object, Problem, TrafficSplit, Weight};

/// The annotation of a sticky cookie's attributes.
const COOKIE_ATTRIBUTES: &str = r#"metadata.annotations["traffic-split/sticky-cookie-attributes"]"#;

/// Returns the warnings about the splits of a configuration, which is parsed from `value`.
pub(crate) fn configuration_warnings(configuration: &Configuration, value: &Value) -> Vec<Problem> {
    let roots = roots(configuration);
    let mut warnings = Vec::new();
    for (index, split) in configuration.traffic_splits.iter().enumerate() {
        let mut warn = |field: String, message: String| {
            let object = Object::TrafficSplit { index, name: split.key() };
            warnings.push(Problem { object, field, message });
        };
        let text = value.pointer(&format!("/trafficSplits/{index}/spec/service")).and_then(Value::as_str);
        if let Some((_, port)) = text.and_then(|text| text.rsplit_once(':')) {
            let root = &split.spec.service;
            let known = configuration.services.get(&format!("{}/{root}", split.metadata.namespace));
            let ports: Vec<_> = known
                .and_then(|known| known.ports.as_ref())
                .into_iter()
                .flatten()
                .map(|(port, _)| port.to_string())
                .collect();
            // No warning if this is the root's only port: some tools write it.
            if ports != [port] {
                let lacks = if ports.is_empty() || ports.iter().any(|own| own == port) {
                    ""
                } else {
                    ", and the Service lacks it"
                };
                let message = format!(
                    "the port {port} has no effect{lacks}: a split applies to all ports of {root}; write `{root}`"
                );
                warn("spec.service".into(), message);
            }
        }
        chained(split, &roots, &mut warn);
        if let Some(message) = mirror(split) {
            warn(r#"metadata.annotations["traffic-split/mirror"]"#.into(), message);
        }
        if let Some(attributes) = &split.metadata.annotations.sticky_cookie_attributes {
            for message in cookie_attributes(&attributes.to_string()) {
                warn(COOKIE_ATTRIBUTES.into(), message);
            }
        }
    }
    warnings
}

/// Warns of each backend that is the root of another split: the filter splits a request once.
fn chained(split: &TrafficSplit, roots: &BTreeSet<(&str, &str)>, warn: &mut impl FnMut(String, String)) {
    for (index, backend) in split.spec.backends.iter().enumerate() {
        let name = &backend.service;
        let key = (split.metadata.namespace.as_str(), name.as_str());
        if *name != split.spec.service && backend.has_weight() && roots.contains(&key) {
            let message = format!(
                "{name} is the root of another split, but splits do not chain: {name} itself serves these requests; name its \
                 backends here"
            );
            warn(format!("spec.backends[{index}].service"), message);
        }
    }
}

/// Returns the warning about a mirror to the only backend that is picked: no backend receives copies of its own requests.
fn mirror(split: &TrafficSplit) -> Option<String> {
    let annotations = &split.metadata.annotations;
    let mirror = annotations.mirror.as_ref().filter(|mirror| mirror.percent > Weight::default())?;
    let mut weighted = split.spec.backends.iter().filter(|backend| backend.has_weight());
    let is_only = weighted.all(|backend| backend.service == mirror.backend);
    (is_only && annotations.override_header.is_none()).then(|| {
        let name = &mirror.backend;
        format!("{name} is the only backend with a weight, so no request is copied; mirror to a backend with weight: 0")
    })
}

/// Returns the warnings about attributes of a cookie with which browsers do not store the cookie as expected.
fn cookie_attributes(attributes: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, value) in attributes.split(';').filter_map(|attribute| attribute.trim().split_once('=')) {
        match name {
            "Path" if value.contains(',') => {
                warnings.push(format!("the comma in `Path={value}` is part of the path; separate attributes with `;`"));
            }
            "Max-Age" if value.bytes().all(|digit| digit == b'0') => {
                warnings.push("with `Max-Age=0` browsers delete the cookie at once; write a number of seconds".into());
            }
            "Expires" if !is_date(value) => warnings.push(format!(
                "browsers ignore `Expires={value}`; write a date such as `Wed, 21 Oct 2026 07:28:00 GMT`"
            )),
            _ => {}
        }
    }
    warnings
}

/// Returns whether browsers read a text as a date: day, month, year and time in any order (RFC 6265, section 5.1.1).
fn is_date(text: &str) -> bool {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let tokens: Vec<_> = text
        .split(|char: char| !char.is_ascii_alphanumeric() && char != ':')
        .filter(|token| !token.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let is_number = |token: &&String| token.bytes().all(|byte| byte.is_ascii_digit());
    let is_month = |token: &String| MONTHS.iter().any(|month| token.starts_with(month));
    tokens.iter().any(|token| token.split(':').count() == 3)
        && tokens.iter().any(is_month)
        && tokens.iter().filter(is_number).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::{cookie_attributes, is_date};

    #[test]
    fn dates_that_browsers_read_are_no_mistakes() {
        for date in ["Wed, 21 Oct 2026 07:28:00 GMT", "Wednesday, 21-Oct-26 07:28:00 GMT", "Wed Oct 21 07:28:00 2026"] {
            assert!(is_date(date), "{date}");
        }
        for text in ["tomorrow", "0", "2026-10-21T07:28:00Z", "21 Oct 2026"] {
            assert!(!is_date(text), "{text}");
        }
    }

    #[test]
    fn usual_attributes_have_no_warning() {
        for attributes in ["Path=/; HttpOnly; SameSite=Lax", "Path=/cart; Max-Age=3600; Secure", "Max-Age=10"] {
            assert!(cookie_attributes(attributes).is_empty(), "{attributes}");
        }
        assert_eq!(cookie_attributes("Path=/, Max-Age=1; Max-Age=00; Expires=tomorrow").len(), 3);
    }
}
