//! The plugin configuration, and decisions with it.

use crate::{decision, message};
use fixtures::FakeRequest;
use traffic_split::{Configuration, Rules};

/// The most splits and hosts for which requests are sent.
const MAX_ROOTS: usize = 8;

/// Parses a plugin configuration. An accepted one is the same after serializing and parsing it, and its decisions agree
/// with their explanations.
pub fn configuration(data: &[u8]) {
    let configuration = match Configuration::from_json(data) {
        Ok(configuration) => configuration,
        Err(problems) => {
            assert!(!problems.is_empty(), "a configuration is refused without a problem");
            return problems.iter().for_each(message::check);
        }
    };
    check(&configuration);
}

/// Checks an accepted configuration.
pub(crate) fn check(configuration: &Configuration) {
    let text = serde_json::to_vec(configuration).expect("a configuration is serialized");
    assert_eq!(Configuration::from_json(&text).as_ref(), Ok(configuration), "{}", text.escape_ascii());
    let rules = Rules::new(configuration, Some("default"));
    rules.warnings().iter().for_each(message::check);
    let shared = Rules::sharing(configuration, Some("default"), [&rules]);
    for request in requests(configuration) {
        decision::check(&rules, &request);
        assert_eq!(rules.explain(&request), shared.explain(&request));
    }
}

/// Returns requests to the roots of a configuration. All headers have a backend's name, an unusual value, or none.
fn requests(configuration: &Configuration) -> Vec<FakeRequest> {
    let mut requests = Vec::new();
    let splits = configuration.traffic_splits.iter().take(MAX_ROOTS);
    let roots = splits.map(|split| format!("{}.{}", split.spec.service, split.metadata.namespace));
    let hosts = configuration.hosts.keys().take(MAX_ROOTS).cloned();
    let backends = configuration.traffic_splits.iter().take(MAX_ROOTS).flat_map(|split| split.spec.backends.first());
    let mut values: Vec<Option<String>> = backends.map(|backend| Some(backend.service.clone())).collect();
    values.truncate(2);
    values.extend([None, Some("traffic-split=a; id=\"b\"; =;".to_owned())]);
    for host in roots.chain(hosts) {
        let port = configuration.services.values().find_map(|service| Some(*service.ports.as_ref()?.keys().next()?));
        for authority in [host.clone(), format!("{host}:{}", port.unwrap_or(80))] {
            for value in &values {
                let request =
                    FakeRequest::to(&authority).header(":method", "GET").header(":path", "/a?b").destination_port(80);
                requests.push(match value {
                    Some(value) => request.every_other_header(value),
                    None => request.body(),
                });
            }
        }
    }
    requests
}
