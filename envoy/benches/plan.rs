//! What one pass of the controller computes: a plan, and the EnvoyFilter for it.
//!
//! `cargo bench -p traffic-split-envoy`

use divan::{Bencher, black_box};
use serde_json::{Value, json};
use std::sync::Arc;
use traffic_split::Configuration;
use traffic_split_envoy::{
    ClusterSnapshot, GroupObject, IstioOptions, SplitObject, envoy_filter, next_vm_epoch, plan, served_configuration,
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

/// The room that a namespace has for each kind.
const NAMESPACE_BYTES: usize = 4 << 20;

/// Objects until the next would not fit into the namespace's room.
fn filled(mut object: impl FnMut(usize) -> Value) -> Vec<Value> {
    let mut room = NAMESPACE_BYTES;
    let fits = |object: &Value| {
        let bytes = object.to_string().len() + 512;
        let fits = bytes <= room;
        room -= bytes.min(room);
        fits
    };
    (0..).map(&mut object).take_while(fits).collect()
}

fn istio(name: String, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "tenant"}, "spec": spec})
}

/// Usual splits beside a tenant that fills its room with everything that conditions depend on.
fn full() -> ClusterSnapshot {
    let mut cluster = usual();
    let arcs = |values: Vec<Value>| values.into_iter().map(Arc::new).collect::<Vec<_>>();
    let exports: Vec<_> = (0..20_000).map(|n| format!("{n:x}")).collect();
    let ports: Vec<_> = (1..2500).map(|port| json!({"port": port})).collect();
    cluster.services = arcs(filled(|n| {
        let mut service = istio(format!("b{n}"), json!({"ports": [{"port": 80}]}));
        if n < 30 {
            service["spec"]["ports"] = json!(ports);
        } else {
            // The first 100 lists are short enough to be evaluated.
            let length = if n < 130 { 50 + n % 50 } else { 2000 };
            let list = exports[..length].join(",");
            service["metadata"]["annotations"] = json!({"networking.istio.io/exportTo": list});
        }
        service
    }));
    cluster.sidecars = arcs(filled(|n| {
        let host = format!("*/s{}.tenant.svc.cluster.local", n % 300);
        istio(format!("s{n}"), json!({"egress": [{"hosts": ["*/*", host]}]}))
    }));
    cluster.virtual_services = arcs(filled(|n| {
        // Wildcards of 1 to 2,500 characters.
        let hosts: Vec<_> = (0..30).map(|index| format!("*{}", "x".repeat((n * 30 + index) % 2500 + 1))).collect();
        istio(format!("v{n}"), json!({"hosts": hosts, "gateways": [], "http": [{}]}))
    }));
    let bad: serde_json::Map<_, _> = (0..100).map(|n| (format!("h{n}"), json!("("))).collect();
    let groups = (0..300).map(|n| group(&format!("g{n}"), vec![json!({"headers": bad}); 10]));
    cluster.http_route_groups = groups.collect();
    let tenant = |name: String, backends: Vec<Value>, matches: Vec<Value>| {
        let object = json!({
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": name, "namespace": "tenant", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"service": name, "backends": backends, "matches": matches},
        });
        Arc::new(SplitObject::new(&object, "cluster.local"))
    };
    for n in 0..900 {
        let groups = (0..64).map(|index| json!({"name": format!("g{}", (n * 64 + index) % 300)})).collect();
        cluster.traffic_splits.push(tenant(format!("g{n}"), vec![json!({"service": "b0", "weight": 1})], groups));
    }
    for n in 0..400 {
        // Services that exist with many ports or long lists, and those that do not exist.
        let first = if n % 2 == 0 { 0 } else { n * 4 };
        let count = if n % 2 == 0 { 30 } else { 256 };
        let backends = (first..first + count).map(|n| json!({"service": format!("b{n}"), "weight": 1})).collect();
        cluster.traffic_splits.push(tenant(format!("s{n}"), backends, vec![]));
    }
    cluster
}

fn cluster(kind: &str) -> ClusterSnapshot {
    served(match kind {
        "usual" => usual(),
        "full" => full(),
        _ => hostile(),
    })
}

fn served(mut cluster: ClusterSnapshot) -> ClusterSnapshot {
    cluster.served = plan(&Configuration::default(), &IstioOptions::default(), &cluster, ROOM).configuration.into();
    cluster
}

#[divan::bench(args = ["usual", "hostile", "full"])]
fn planning(bencher: Bencher, kind: &str) {
    let cluster = cluster(kind);
    bencher.bench(|| plan(black_box(&Configuration::default()), &IstioOptions::default(), &cluster, ROOM));
}

#[divan::bench(args = ["usual", "hostile"])]
fn rendering_and_reading_back(bencher: Bencher, kind: &str) {
    let cluster = cluster(kind);
    let filter = envoy_filter(&cluster.served, &IstioOptions::default());
    bencher.bench(|| {
        let epoch = next_vm_epoch(black_box(&filter), &cluster.served);
        let wanted = {
            let mut istio = IstioOptions::default();
            istio.vm_epoch = Some(epoch);
            envoy_filter(&cluster.served, &istio)
        };
        (served_configuration(&filter), wanted["spec"] == filter["spec"])
    });
}
