//! What one pass of the controller computes: a plan, and the EnvoyFilter for it.
//!
//! `cargo bench -p traffic-split-envoy`

use divan::{Bencher, black_box};
use serde_json::{Value, json};
use std::sync::Arc;
use traffic_split::Configuration;
use traffic_split_envoy::{
    ClusterSnapshot, GroupObject, Istio, SplitObject, envoy_filter, next_vm_epoch, plan, served_configuration,
};

fn main() {
    divan::main();
}

/// What the controller's `--max-bytes` is by default.
const ROOM: usize = 1_000_000;

fn split(namespace: &str, name: &str, backends: usize, group: Option<&str>) -> Arc<SplitObject> {
    let backends: Vec<_> = (0..backends).map(|n| json!({"service": format!("b{n}"), "weight": 1})).collect();
    let matches: Vec<_> = group.iter().map(|name| json!({"name": name})).collect();
    let object = json!({
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"service": name, "backends": backends, "matches": matches},
    });
    Arc::new(SplitObject::new(&object, "cluster.local"))
}

fn group(name: &str, matches: Vec<Value>) -> Arc<GroupObject> {
    let object = json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
        "metadata": {"name": name, "namespace": "tenant"}, "spec": {"matches": matches},
    });
    Arc::new(GroupObject::new(&object))
}

/// A thousand splits of two backends in a hundred namespaces.
fn usual() -> ClusterSnapshot {
    let mut cluster = ClusterSnapshot::default();
    let splits = (0..1000).map(|n| split(&format!("team-{}", n % 100), &format!("s{n}"), 2, None));
    cluster.traffic_splits = splits.collect();
    cluster
}

/// The same beside a tenant that asks for several times its share of everything.
fn hostile() -> ClusterSnapshot {
    let mut cluster = usual();
    for n in 0..40 {
        let (patterns, conditions) = (format!("patterns{n}"), format!("conditions{n}"));
        cluster.http_route_groups.push(group(&patterns, vec![json!({"pathRegex": "(?:.*a){15}b"}); 80]));
        cluster.http_route_groups.push(group(&conditions, vec![json!({"methods": vec!["GET"; 30]}); 60]));
        cluster.traffic_splits.extend([&patterns, &conditions].map(|name| split("tenant", name, 1, Some(name))));
    }
    cluster.traffic_splits.extend((0..160).map(|n| split("tenant", &format!("large{n}"), 256, None)));
    cluster
}

fn served(mut cluster: ClusterSnapshot) -> ClusterSnapshot {
    cluster.served = plan(&Configuration::default(), &Istio::default(), &cluster, ROOM).configuration.into();
    cluster
}

#[divan::bench(args = ["usual", "hostile"])]
fn planning(bencher: Bencher, kind: &str) {
    let cluster = served(if kind == "usual" { usual() } else { hostile() });
    bencher.bench(|| plan(black_box(&Configuration::default()), &Istio::default(), &cluster, ROOM));
}

#[divan::bench(args = ["usual", "hostile"])]
fn rendering_and_reading_back(bencher: Bencher, kind: &str) {
    let cluster = served(if kind == "usual" { usual() } else { hostile() });
    let filter = envoy_filter(&cluster.served, &Istio::default());
    bencher.bench(|| {
        let epoch = next_vm_epoch(black_box(&filter), &cluster.served);
        let wanted = {
            let mut istio = Istio::default();
            istio.vm_epoch = Some(epoch);
            envoy_filter(&cluster.served, &istio)
        };
        (served_configuration(&filter), wanted["spec"] == filter["spec"])
    });
}
