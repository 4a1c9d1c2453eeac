//! What a decision costs, by the number of splits and by what decides: `cargo bench -p traffic-split`.

use serde_json::json;
use std::borrow::Cow;
use traffic_split::{Configuration, Decision, RandomSource, Request, Rules};

struct To(String);

impl Request for To {
    fn header(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }
}

/// A request to `root.ns` with these headers.
struct Asks(&'static [(&'static str, &'static str)]);

impl Request for Asks {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut all = [(":authority", "root.ns:14001")].iter().chain(self.0);
        all.find(|(own, _)| *own == name).map(|(_, value)| Cow::Borrowed(value.as_bytes()))
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }
}

/// Another number each time.
struct Numbers(u64);

impl RandomSource for Numbers {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0
    }

    fn id(&mut self) -> Option<[u8; 16]> {
        Some([7; 16])
    }
}

/// A configuration of so many splits, each of two backends.
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

/// A request to a root. The last one, so that a search from the first would show.
#[divan::bench(args = [1, 100, 10_000])]
fn a_request_to_a_root(bencher: divan::Bencher, splits: usize) {
    let (rules, request) = (rules(splits), To(format!("root-{}.ns:14001", splits - 1)));
    let mut chance = Numbers(0);
    bencher.bench_local(|| {
        std::hint::black_box(rules.decide(&request, &mut chance));
    });
}

#[divan::bench(args = [1, 100, 10_000])]
fn a_request_to_another_host(bencher: divan::Bencher, splits: usize) {
    let (rules, request) = (rules(splits), To("other.ns:14001".into()));
    bencher.bench_local(|| std::hint::black_box(rules.decide(&request, &mut Numbers(7))));
}

#[divan::bench(args = [1, 100, 10_000])]
fn reading_a_configuration(bencher: divan::Bencher, splits: usize) {
    let text = configuration(splits);
    bencher.bench_local(|| Configuration::from_json(std::hint::black_box(text.as_bytes())));
}

/// A request to a split that asks for this and no more, which is what decides.
#[divan::bench(args = ["chance", "match", "override-header", "sticky-header", "sticky-cookie", "new cookie", "mirror"])]
fn a_request_decided_by(bencher: divan::Bencher, what: &str) {
    let mut split = json!({
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "s", "namespace": "ns"},
        "spec": {"service": "root", "backends": [{"service": "v1", "weight": 90}, {"service": "v2", "weight": 10}]},
    });
    let annotation = match what {
        "new cookie" => "traffic-split/sticky-cookie".to_owned(),
        _ => format!("traffic-split/{what}"),
    };
    match what {
        "chance" => {}
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
    let request = Asks(match what {
        "new cookie" => &[],
        "override-header" => &[("x-user", "v2")],
        "match" => &[(":method", "GET"), (":path", "/api/v1/users/7?page=2"), ("x-user", "insider-7")],
        _ => &[("x-user", "insider-7"), ("cookie", "a=b; x-user=insider-7")],
    });
    let mut chance = Numbers(0);
    assert!(matches!(rules.decide(&request, &mut chance), Decision::Backend(_)));
    bencher.bench_local(|| {
        std::hint::black_box(rules.decide(&request, &mut chance));
    });
}

fn main() {
    divan::main();
}
