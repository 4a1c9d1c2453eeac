//! What a decision costs, by the number of splits: `cargo bench -p traffic-split`.

use serde_json::json;
use std::borrow::Cow;
use traffic_split::{Chance, Configuration, Request, Rules};

struct To(String);

impl Request for To {
    fn header(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }
}

/// Another number each time.
struct Numbers(u64);

impl Chance for Numbers {
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

fn main() {
    divan::main();
}
