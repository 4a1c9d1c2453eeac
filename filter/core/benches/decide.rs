//! The cost of a decision, by the number of splits and by the rule that decides: `cargo bench -p traffic-split`.

use serde_json::json;
use std::borrow::Cow;
use traffic_split::{Configuration, Decision, RandomSource, Request, Rules};

/// A request in which every header has this value.
struct SameHeaders(String);

impl Request for SameHeaders {
    fn header(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }
}

/// A request to `root.ns` with these headers.
struct FakeRequest(&'static [(&'static str, &'static str)]);

impl Request for FakeRequest {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut all = [(":authority", "root.ns:14001")].iter().chain(self.0);
        all.find(|(own, _)| *own == name).map(|(_, value)| Cow::Borrowed(value.as_bytes()))
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }
}

/// A random source that returns a different number each time.
struct RandomSequence(u64);

impl RandomSource for RandomSequence {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0
    }

    fn id(&mut self) -> Option<[u8; 16]> {
        Some([7; 16])
    }
}

/// Returns a configuration with this number of splits, each of two backends.
fn configuration(splits: usize) -> String {
    let splits: Vec<_> = (0..splits)
        .map(|n| {
            json!({
                "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
                "metadata": {"name": format!("split-{n}"), "namespace": "ns"},
                "spec": {"service": format!("root-{n}"), "backends": [
                    {"service": format!("root-{n}-v1"), "weight": 90}, {"service": format!("root-{n}-v2"), "weight": 10}]},
            })
        })
        .collect();
    json!({ "trafficSplits": splits }).to_string()
}

fn rules(splits: usize) -> Rules {
    let configuration = Configuration::from_json(configuration(splits).as_bytes()).expect("a configuration");
    Rules::new(&configuration, Some("curl"))
}

/// A request to the last root: a linear search would take time that grows with the number of splits.
#[divan::bench(args = [1, 100, 10_000])]
fn request_to_a_root(bencher: divan::Bencher, splits: usize) {
    let (rules, request) = (rules(splits), SameHeaders(format!("root-{}.ns:14001", splits - 1)));
    let mut random = RandomSequence(0);
    bencher.bench_local(|| {
        std::hint::black_box(rules.decide(&request, &mut random));
    });
}

#[divan::bench(args = [1, 100, 10_000])]
fn request_to_another_host(bencher: divan::Bencher, splits: usize) {
    let (rules, request) = (rules(splits), SameHeaders("other.ns:14001".into()));
    bencher.bench_local(|| std::hint::black_box(rules.decide(&request, &mut RandomSequence(7))));
}

#[divan::bench(args = [1, 100, 10_000])]
fn parse_a_configuration(bencher: divan::Bencher, splits: usize) {
    let text = configuration(splits);
    bencher.bench_local(|| Configuration::from_json(std::hint::black_box(text.as_bytes())));
}

/// A request to a split with only this option, which decides.
#[divan::bench(args = ["random", "match", "override-header", "sticky-header", "sticky-cookie", "new cookie", "mirror"])]
fn request_decided_by(bencher: divan::Bencher, option: &str) {
    let mut split = json!({
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "s", "namespace": "ns"},
        "spec": {"service": "root", "backends": [{"service": "v1", "weight": 90}, {"service": "v2", "weight": 10}]},
    });
    let annotation = match option {
        "new cookie" => "traffic-split/sticky-cookie".to_owned(),
        _ => format!("traffic-split/{option}"),
    };
    match option {
        "random" => {}
        "match" => split["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "g"}]),
        "mirror" => split["metadata"]["annotations"] = json!({annotation: "v2=10"}),
        _ => split["metadata"]["annotations"] = json!({annotation: "x-user"}),
    }
    let group = json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": {"name": "g", "namespace": "ns"},
        "spec": {"matches": [{"methods": ["GET"], "pathRegex": "/api/v[0-9]+/users", "headers": {"x-user": "insider-.*"}}]},
    });
    let configuration = json!({"trafficSplits": [split], "httpRouteGroups": [group]}).to_string();
    let configuration = Configuration::from_json(configuration.as_bytes()).expect("a configuration");
    let rules = Rules::new(&configuration, None);
    let request = FakeRequest(match option {
        "new cookie" => &[],
        "override-header" => &[("x-user", "v2")],
        "match" => &[(":method", "GET"), (":path", "/api/v1/users/7?page=2"), ("x-user", "insider-7")],
        _ => &[("x-user", "insider-7"), ("cookie", "a=b; x-user=insider-7")],
    });
    let mut random = RandomSequence(0);
    assert!(matches!(rules.decide(&request, &mut random), Decision::Backend(_)));
    bencher.bench_local(|| {
        std::hint::black_box(rules.decide(&request, &mut random));
    });
}

fn main() {
    divan::main();
}
