//! The filter accepts every planned configuration: random Kubernetes clusters at and around every limit.

use fastrand::Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use traffic_split::{Budget, Configuration};
use traffic_split_envoy::{ClusterSnapshot, GroupObject, IstioOptions, SplitObject, plan, stored_bytes};

/// The default number of random clusters; `TRAFFIC_SPLIT_CASES` sets another number.
const CASES: usize = 40;

/// Returns a cluster in which some namespaces need about as much of one resource as their limit, or several times as much.
fn random_cluster(rng: &mut Rng) -> ClusterSnapshot {
    let mut cluster = ClusterSnapshot::default();
    for namespace in 0..rng.usize(1..6) {
        let namespace = format!("ns{namespace}");
        match rng.u8(0..4) {
            0 => backends(rng, &namespace, &mut cluster),
            1 => patterns(rng, &namespace, &mut cluster),
            2 => conditions(rng, &namespace, &mut cluster),
            _ => text(rng, &namespace, &mut cluster),
        }
    }
    cluster
}

fn metadata(rng: &mut Rng, namespace: &str, name: &str) -> Value {
    let created = format!("20{:02}-01-01T00:00:00Z", rng.u8(10..30));
    json!({"name": name, "namespace": namespace, "creationTimestamp": created})
}

fn add_split(rng: &mut Rng, cluster: &mut ClusterSnapshot, namespace: &str, root: &str, spec: Value) {
    let name = format!("{root}-{}", cluster.traffic_splits.len());
    let mut object = json!({
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": metadata(rng, namespace, &name), "spec": {"service": root},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    cluster.traffic_splits.push(Arc::new(SplitObject::new(&object, "cluster.local")));
}

fn add_group(rng: &mut Rng, cluster: &mut ClusterSnapshot, namespace: &str, name: &str, matches: Value) {
    let object = json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
        "metadata": metadata(rng, namespace, name), "spec": {"matches": matches},
    });
    cluster.http_route_groups.push(Arc::new(GroupObject::new(&object)));
}

fn backends(rng: &mut Rng, namespace: &str, cluster: &mut ClusterSnapshot) {
    // The limit of a namespace is 128 splits with 256 backends each.
    for root in 0..rng.usize(100..200) {
        let count = if rng.bool() { 256 } else { rng.usize(200..256) };
        let list: Vec<_> = (0..count).map(|n| json!({"service": format!("v{n}"), "weight": 1})).collect();
        add_split(rng, cluster, namespace, &format!("r{root}"), json!({"backends": list}));
    }
}

fn patterns(rng: &mut Rng, namespace: &str, cluster: &mut ClusterSnapshot) {
    // The limit of a namespace is that of eight roots.
    for root in 0..rng.usize(4..20) {
        let mut names = Vec::new();
        for number in 0..rng.usize(1..4) {
            let name = format!("g{root}-{number}");
            let pattern = format!("a{{{}}}", rng.usize(1000..4090));
            let count = rng.usize(1..16);
            let matches: Vec<_> = (0..count).map(|_| json!({"pathRegex": pattern})).collect();
            add_group(rng, cluster, namespace, &name, json!(matches));
            names.push(json!({"name": name}));
        }
        let spec = json!({"backends": [{"service": "v1", "weight": 1}], "matches": names});
        add_split(rng, cluster, namespace, &format!("p{root}"), spec);
    }
}

fn conditions(rng: &mut Rng, namespace: &str, cluster: &mut ClusterSnapshot) {
    for root in 0..rng.usize(10..40) {
        let name = format!("c{root}");
        let methods: Vec<_> = (0..rng.usize(1000..2100)).map(|_| "GET").collect();
        add_group(rng, cluster, namespace, &name, json!([{"methods": methods}]));
        let spec = json!({"backends": [{"service": "v1", "weight": 1}], "matches": [{"name": name}]});
        add_split(rng, cluster, namespace, &name, spec);
    }
}

/// Quotation marks and backslashes take two stored bytes, and characters that the API server escapes take six.
fn text(rng: &mut Rng, namespace: &str, cluster: &mut ClusterSnapshot) {
    for root in 0..rng.usize(1..400) {
        let value = format!("Path=/{}; Max-Age=1", "<>&".repeat(rng.usize(0..20)));
        let name = format!("t{root}");
        let mut object = json!({
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": metadata(rng, namespace, &name),
            "spec": {"service": name, "backends": [{"service": "v".repeat(rng.usize(1..63)), "weight": "500m"}]},
        });
        object["metadata"]["annotations"] =
            json!({"traffic-split/sticky-cookie": "c", "traffic-split/sticky-cookie-attributes": value});
        cluster.traffic_splits.push(Arc::new(SplitObject::new(&object, "cluster.local")));
    }
}

#[test]
fn filter_accepts_every_planned_configuration() {
    let cases = std::env::var("TRAFFIC_SPLIT_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let mut rng = Rng::with_seed(2011);
    let (mut held_back, mut near_backends, mut near_room) = (0, 0, 0);
    for case in 0..cases {
        let mut cluster = random_cluster(&mut rng);
        let mut check = |cluster: &ClusterSnapshot, room: usize| {
            let planned = plan(&Configuration::default(), &IstioOptions::default(), cluster, room);
            let text = serde_json::to_vec(&planned.configuration).unwrap();
            let read = Configuration::from_json(&text);
            let read = read.unwrap_or_else(|problems| panic!("case {case}, room {room}: {}", problems[0]));
            assert_eq!(read, planned.configuration, "case {case}, room {room}");
            let size = stored_bytes(&read);
            assert!(size <= room, "case {case}: {size} bytes in {room}");
            held_back += planned.statuses.values().filter(|status| status.state() == "TooLarge").count();
            let backends: usize = read.traffic_splits.iter().map(|split| split.spec.backends.len()).sum();
            near_backends += usize::from(backends as u64 * 20 > Budget::FILTER.total.backends * 19);
            near_room += usize::from(size > room / 10 * 9);
            (planned.configuration, size)
        };
        let (all, size) = check(&cluster, usize::MAX);
        // With a lower limit, and no served configuration.
        let (part, _) = check(&cluster, size * rng.usize(30..100) / 100 + 2000);
        // With a served configuration. About half of its splits are deleted; the others keep their served versions.
        cluster.served = (if rng.bool() { all } else { part }).into();
        rng.shuffle(&mut cluster.traffic_splits);
        cluster.traffic_splits.truncate(cluster.traffic_splits.len() / 2 + 1);
        check(&cluster, size + 200);
    }
    assert!(held_back > cases, "only {held_back} splits were above a limit");
    assert!(near_backends > 0 && near_room > cases / 4, "too few at a limit: {near_backends}, {near_room}");
    println!(
        "{cases} clusters: {held_back} splits held back, {near_backends} at the limit of backends, {near_room} of bytes"
    );
}
