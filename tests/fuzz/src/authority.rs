//! The `:authority` of a request.

use crate::decision;
use fixtures::{FakeRequest, TrafficSplit};
use serde_json::json;
use std::sync::LazyLock;
use traffic_split::{Configuration, Rules};

/// Splits of one root and of a name in `hosts`, without known ports.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let split = TrafficSplit::new("split", "web").backends(&[("v1", 1), ("v2", 1)]).build();
    let hosts = json!({"shop.example.com": "ns/web"});
    let configuration = Configuration::from_value(&json!({"trafficSplits": [split], "hosts": hosts}));
    Rules::new(&configuration.expect("the configuration is valid"), Some("ns"))
});

/// Parses an `:authority`. A second, simpler parser must find the same root and port.
pub fn authority(data: &[u8]) {
    let request = FakeRequest::default().header(":authority", data).destination_port(81);
    decision::check(&RULES, &request);
    let trace = RULES.explain(&request);
    assert_eq!(trace.root.is_some(), is_root(data), "{}", data.escape_ascii());
    if let Some(port) = port(data).filter(|_| trace.root.is_some() && !is_shop(data)) {
        assert_eq!(trace.port, port, "{}", data.escape_ascii());
    }
}

/// Returns the host in lower case, without port and trailing dot.
fn host(data: &[u8]) -> Vec<u8> {
    let mut host: Vec<u8> = data.iter().copied().take_while(|byte| *byte != b':').collect();
    host.pop_if(|last| *last == b'.');
    host.make_ascii_lowercase();
    host
}

fn is_shop(data: &[u8]) -> bool {
    host(data) == b"shop.example.com"
}

fn is_root(data: &[u8]) -> bool {
    const ROOTS: [&str; 5] = ["web", "web.ns", "web.ns.svc", "web.ns.svc.cluster", "web.ns.svc.cluster.local"];
    std::str::from_utf8(data).is_ok() && (is_shop(data) || ROOTS.iter().any(|root| root.as_bytes() == host(data)))
}

/// Returns the port after the colon, which is `None` if it is invalid; `None` if there is no colon.
fn port(data: &[u8]) -> Option<Option<u16>> {
    let digits = data.iter().position(|byte| *byte == b':').map(|colon| &data[colon + 1..])?;
    let is_port = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number = digits.iter().take(5).fold(0, |number, digit| number * 10 + u32::from(digit.wrapping_sub(b'0')));
    Some(u16::try_from(number).ok().filter(|port| is_port && *port > 0))
}
