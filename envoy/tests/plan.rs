//! The planned configuration of a cluster's sidecars, and the conditions of each TrafficSplit.

use fixtures::TrafficSplit;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use traffic_split::Configuration;
use traffic_split_envoy::{
    ClusterSnapshot, EnvoyFilterPlan, GroupObject, IstioOptions, ServedVersion, SplitObject, SplitStatus, envoy_filter,
    plan, plan_after_refusal, status_events, status_value, stored_bytes,
};

const ROOM: usize = 1_000_000;

/// Objects as the API server stores them.
#[derive(Clone, Default)]
struct Cluster {
    traffic_splits: Vec<Value>,
    http_route_groups: Vec<Value>,
    services: Vec<Value>,
    virtual_services: Vec<Value>,
    destination_rules: Vec<Value>,
    sidecars: Vec<Value>,
    excluded_namespaces: BTreeSet<String>,
    served: Configuration,
}

impl Cluster {
    fn snapshot(&self) -> ClusterSnapshot {
        let all = |values: &[Value]| values.iter().cloned().map(Arc::new).collect();
        let mut snapshot = ClusterSnapshot::default();
        let domain = &Configuration::default().cluster_domain;
        let splits = self.traffic_splits.iter().map(|split| Arc::new(SplitObject::new(split, domain)));
        snapshot.traffic_splits = splits.collect();
        snapshot.http_route_groups =
            self.http_route_groups.iter().map(|group| Arc::new(GroupObject::new(group))).collect();
        snapshot.services = all(&self.services);
        snapshot.virtual_services = all(&self.virtual_services);
        snapshot.destination_rules = all(&self.destination_rules);
        snapshot.sidecars = all(&self.sidecars);
        snapshot.excluded_namespaces = self.excluded_namespaces.clone();
        snapshot.served = Arc::new(self.served.clone());
        snapshot
    }
}

fn split(name: &str, root: &str, weights: &[(&str, i32)]) -> Value {
    let mut split = TrafficSplit::new(name, root).namespace("shop").backends(weights).build();
    split["metadata"]["creationTimestamp"] = json!("2026-01-02T03:04:05Z");
    split["metadata"]["generation"] = json!(1);
    split
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

fn made_at(object: Value, time: &str) -> Value {
    with(object, "/metadata/creationTimestamp", time.into())
}

fn matching(object: Value, group: &str) -> Value {
    with(object, "/spec/matches", json!([{"kind": "HTTPRouteGroup", "name": group}]))
}

fn group(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"matches": [{"pathRegex": path}]},
    })
}

fn service(name: &str, ports: &[u16]) -> Value {
    let ports: Vec<_> = ports.iter().map(|port| json!({"port": port})).collect();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": ports},
    })
}

/// Services `web`, `v1` and `v2` with port 80, and these splits.
fn cluster(splits: &[Value]) -> Cluster {
    let services = ["web", "v1", "v2"].map(|name| service(name, &[80])).into();
    Cluster { services, traffic_splits: splits.into(), ..Cluster::default() }
}

fn planned(cluster: &Cluster) -> EnvoyFilterPlan {
    plan(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), ROOM)
}

/// Returns the next plan, for a cluster whose sidecars have the configuration of this plan.
fn after(plan: EnvoyFilterPlan, mut cluster: Cluster) -> EnvoyFilterPlan {
    cluster.served = plan.configuration;
    planned(&cluster)
}

fn served(plan: &EnvoyFilterPlan) -> Vec<String> {
    plan.configuration.traffic_splits.iter().map(|split| split.key()).collect()
}

#[track_caller]
fn status<'p>(plan: &'p EnvoyFilterPlan, name: &str) -> &'p SplitStatus {
    plan.statuses.get(&format!("shop/{name}")).unwrap()
}

/// Returns the state of a split, its served version, whether it is accepted, and the served weights.
#[track_caller]
fn summary<'p>(plan: &'p EnvoyFilterPlan, name: &str) -> (&'static str, ServedVersion, bool, &'p str) {
    let status = status(plan, name);
    (status.state(), status.served_version, status.accepted.is_met, &status.backends)
}

#[test]
fn valid_split_is_served_and_programmed() {
    let plan = planned(&cluster(&[split("canary", "web", &[("v1", 90), ("v2", 10)])]));
    assert_eq!(served(&plan), ["shop/canary"]);
    let status = status(&plan, "canary");
    assert!(status.accepted.is_met && status.programmed.is_met && status.resolved.is_met);
    assert_eq!(
        (status.state(), status.backends.as_str(), status.served_version),
        ("Programmed", "v1 90, v2 10", ServedVersion::Current)
    );
}

#[test]
fn only_services_that_splits_name_have_their_ports_served() {
    let mut cluster = cluster(&[split("canary", "web", &[("v1", 1)])]);
    cluster.services.push(service("other", &[80]));
    let services = planned(&cluster).configuration.services;
    assert_eq!(
        serde_json::to_value(services).unwrap(),
        json!({"shop/v1": {"ports": [80]}, "shop/web": {"ports": [80]}})
    );
}

#[test]
fn invalid_split_is_left_out_and_others_are_served() {
    let wrong = split("wrong", "web", &[("v1", 0)]);
    let plan = planned(&cluster(&[wrong, split("right", "v1", &[("v2", 1)])]));
    assert_eq!(served(&plan), ["shop/right"]);
    let status = status(&plan, "wrong");
    assert_eq!(status.accepted.reason, "Invalid");
    assert_eq!(
        status.accepted.message,
        "spec.backends: the weights sum to 0; give at least one backend a weight above 0"
    );
    assert_eq!((status.served_version, status.state()), (ServedVersion::NotServed, "Invalid"));
    assert!(!status.programmed.is_met);
}

#[test]
fn split_that_becomes_invalid_keeps_its_last_good_version() {
    let first = planned(&cluster(&[split("a", "web", &[("v1", 90)]), split("b", "v1", &[("v2", 1)])]));
    let changed = cluster(&[split("a", "web", &[("v1", -1)]), split("b", "v1", &[("v1", 3), ("v2", 4)])]);
    let mut plan = after(first, changed.clone());
    for _ in 0..2 {
        assert_eq!(status(&plan, "a").backends, "v1 90");
        assert_eq!(status(&plan, "a").served_version, ServedVersion::LastGood);
        assert_eq!(status(&plan, "a").accepted.message, "spec.backends[0].weight: -1 is negative; use 0 or more");
        assert_eq!(status(&plan, "a").programmed.reason, "LastGoodVersion");
        assert_eq!(status(&plan, "b").backends, "v1 3, v2 4");
        // A restarted controller knows only the configuration that sidecars have.
        plan = after(plan, changed.clone());
    }
    assert_eq!(served(&after(plan, cluster(&[]))), [""; 0], "deleted is deleted");
}

#[test]
fn older_of_two_splits_without_matches_serves_the_root() {
    let young = made_at(split("a", "web", &[("v1", 1)]), "2026-01-02T00:00:00Z");
    let old = made_at(split("b", "web", &[("v2", 1)]), "2026-01-01T00:00:00Z");
    let plan = planned(&cluster(&[young.clone(), old.clone()]));
    assert_eq!(served(&plan), ["shop/b"]);
    let loser = status(&plan, "a");
    assert_eq!(
        (loser.accepted.reason, loser.state(), loser.served_version),
        ("Conflict", "Conflict", ServedVersion::NotServed)
    );
    assert!(loser.accepted.message.contains("shop/b"), "{}", loser.accepted.message);
    // The younger split is served after the older split is deleted.
    assert_eq!(served(&planned(&cluster(std::slice::from_ref(&young)))), ["shop/a"]);
    // An older split that was never valid does not block the younger split.
    let wrong = with(old, "/spec/backends", json!([]));
    assert_eq!(served(&planned(&cluster(&[young, wrong]))), ["shop/a"]);
}

#[test]
fn of_two_splits_of_one_age_the_first_by_name_serves() {
    let plan = planned(&cluster(&[split("b", "web", &[("v1", 1)]), split("a", "web", &[("v2", 1)])]));
    assert_eq!(served(&plan), ["shop/a"]);
}

#[test]
fn splits_with_matches_come_first_by_age() {
    let all = made_at(split("all", "web", &[("v1", 1)]), "2026-01-01T00:00:00Z");
    let old = made_at(matching(split("old", "web", &[("v2", 1)]), "beta"), "2026-01-02T00:00:00Z");
    let new = made_at(matching(split("new", "web", &[("v2", 1)]), "beta"), "2026-01-03T00:00:00Z");
    let mut cluster = cluster(&[new, all, old]);
    cluster.http_route_groups = vec![group("beta", "/beta")];
    assert_eq!(served(&planned(&cluster)), ["shop/old", "shop/new", "shop/all"]);
}

#[test]
fn split_is_left_out_until_its_group_exists() {
    let split = matching(split("beta", "web", &[("v2", 1)]), "beta");
    let mut cluster = cluster(&[split]);
    let without = planned(&cluster);
    assert_eq!(served(&without), [""; 0]);
    assert!(status(&without, "beta").accepted.message.contains("beta"), "{:?}", status(&without, "beta"));
    cluster.http_route_groups = vec![group("beta", "/beta")];
    assert_eq!(served(&planned(&cluster)), ["shop/beta"]);
}

#[test]
fn group_that_becomes_invalid_keeps_its_last_good_version() {
    let weights = |weights| matching(split("beta", "web", weights), "beta");
    let mut good = cluster(&[weights(&[("v1", 1)])]);
    good.http_route_groups = vec![group("beta", "/beta")];
    let mut wrong = cluster(&[weights(&[("v2", 7)])]);
    wrong.http_route_groups = vec![group("beta", "(")];
    let plan = after(planned(&good), wrong.clone());
    assert_eq!(status(&plan, "beta").backends, "v2 7");
    assert_eq!(status(&plan, "beta").served_version, ServedVersion::Current);
    assert!(status(&plan, "beta").resolved.message.contains("last good version"), "{:?}", status(&plan, "beta"));
    let group = serde_json::to_value(&plan.configuration.http_route_groups[0]).unwrap();
    assert_eq!(group["spec"]["matches"][0]["pathRegex"], "/beta");
    // Without an earlier version, the split is not served.
    let plan = planned(&wrong);
    assert_eq!(served(&plan), [""; 0]);
    assert!(status(&plan, "beta").accepted.message.contains("HTTPRouteGroup beta: spec.matches[0].pathRegex"));
}

#[test]
fn split_whose_group_is_deleted_keeps_the_last_good_group() {
    let split = matching(split("beta", "web", &[("v2", 1)]), "beta");
    let mut there = cluster(std::slice::from_ref(&split));
    there.http_route_groups = vec![group("beta", "/beta")];
    let gone = cluster(&[split]);
    let mut plan = planned(&there);
    for _ in 0..2 {
        plan = after(plan, gone.clone());
        assert_eq!(served(&plan), ["shop/beta"]);
        assert_eq!(plan.configuration.http_route_groups.len(), 1);
        assert_eq!(status(&plan, "beta").served_version, ServedVersion::LastGood);
    }
}

#[test]
fn backend_without_a_service_is_reported_if_it_has_weight() {
    let plan = planned(&cluster(&[split("canary", "web", &[("v1", 1), ("gone", 1)])]));
    assert_eq!(serde_json::to_value(&plan.configuration.services["shop/gone"]).unwrap(), json!({"ports": []}));
    let status_of = status(&plan, "canary");
    assert!(status_of.programmed.is_met);
    assert_eq!(status_of.resolved.message, "Service gone does not exist; it receives no requests");
    assert_eq!(status_of.state(), "RefNotFound");
    let plan = planned(&cluster(&[split("canary", "web", &[("v1", 1), ("gone", 0)])]));
    assert!(status(&plan, "canary").resolved.is_met);
}

#[test]
fn backend_without_the_roots_port_is_reported() {
    let mut cluster = cluster(&[split("canary", "root", &[("v1", 1), ("v2", 1)])]);
    cluster.services = vec![service("root", &[80, 90]), service("v1", &[80, 90]), service("v2", &[80])];
    let plan = planned(&cluster);
    assert_eq!(
        status(&plan, "canary").resolved.message,
        "Service v2 has no port 90; it receives requests to its own ports only"
    );
}

#[test]
fn root_serves_what_no_backend_with_a_weight_can_receive() {
    let serves = "the root root serves all requests of the split";
    let own_ports = "it receives requests to its own ports only";
    for (services, message) in [
        (
            vec![],
            format!(
                "no backend with a weight above 0 can receive requests; {serves}; Service v1 does not exist; it receives no requests"
            ),
        ),
        (
            vec![service("v1", &[81])],
            format!(
                "no backend with a weight above 0 can receive requests; {serves}; Service v1 has no port 80, 90; it receives no requests"
            ),
        ),
        (
            vec![service("v1", &[80])],
            format!(
                "no backend with a weight above 0 has port 90; the root root serves these requests; Service v1 has no port 90; {own_ports}"
            ),
        ),
        (vec![service("v1", &[80, 90, 100])], String::new()),
    ] {
        let mut cluster = cluster(&[split("canary", "root", &[("v1", 1), ("v2", 0)])]);
        cluster.services = services;
        cluster.services.push(service("root", &[80, 90]));
        assert_eq!(status(&planned(&cluster), "canary").resolved.message, message);
    }
}

#[test]
fn backend_of_weight_0_is_reported_if_an_override_or_a_mirror_can_reach_it() {
    for (annotation, value, is_reported) in [
        ("traffic-split/override-header", "x-version", true),
        ("traffic-split/mirror", "gone=10", true),
        ("traffic-split/mirror", "gone=0", false),
        ("traffic-split/mirror", "v1=10", false),
        ("traffic-split/sticky-header", "x-user", false),
    ] {
        let split = split("canary", "web", &[("v1", 1), ("gone", 0)]);
        let split = with(split, "/metadata/annotations", json!({annotation: value}));
        let plan = planned(&cluster(&[split]));
        let reported = if is_reported { "Service gone does not exist; it receives no requests" } else { "" };
        assert_eq!(status(&plan, "canary").resolved.message, reported, "{annotation}: {value}");
    }
}

#[test]
fn root_whose_requests_are_not_split_is_reported() {
    let udp = json!({"ports": [{"port": 80, "protocol": "UDP"}]});
    let headless = json!({"clusterIP": "None", "ports": [{"port": 80}]});
    let not_split = "none of its requests are split";
    for (root, backends, message) in [
        (&udp, [("v1", 1), ("v2", 1)], format!("the root Service root has no TCP ports; {not_split}")),
        // Istio routes the requests of a headless Service by their host.
        (&headless, [("v1", 1), ("v2", 1)], String::new()),
        (
            &headless,
            [("v1", 1), ("root", 1)],
            format!(
                "the root Service root is headless and also a backend; {not_split}; \
                 Service root is headless; it receives no requests"
            ),
        ),
    ] {
        let mut cluster = cluster(&[split("canary", "root", &backends)]);
        cluster.services.push(with(service("root", &[]), "/spec", root.clone()));
        assert_eq!(status(&planned(&cluster), "canary").resolved.message, message);
    }
}

/// Istio's proxies have no cluster of the backend's Service.
#[test]
fn backend_without_a_cluster_receives_no_requests_and_is_reported() {
    for (spec, why) in [
        (json!({"clusterIP": "10.96.0.7"}), "has no ports"),
        (json!({"clusterIP": "10.96.0.7", "ports": []}), "has no ports"),
        (json!({"clusterIP": "None", "ports": [{"port": 80}]}), "is headless"),
        (
            json!({"type": "ExternalName", "externalName": "example.com", "ports": [{"port": 80}]}),
            "is of type ExternalName",
        ),
    ] {
        let mut cluster = cluster(&[split("canary", "web", &[("v1", 1), ("v2", 1)])]);
        cluster.services[2] = with(cluster.services[2].clone(), "/spec", spec.clone());
        let plan_of = planned(&cluster);
        assert_eq!(serde_json::to_value(&plan_of.configuration.services["shop/v2"]).unwrap(), json!({"ports": []}));
        assert_eq!(status(&plan_of, "canary").resolved.message, format!("Service v2 {why}; it receives no requests"));
        // The operator's entry takes precedence.
        let base = Configuration::from_value(&json!({"services": {"shop/v2": {"ports": [80]}}})).unwrap();
        let plan_of = plan(&base, &IstioOptions::default(), &cluster.snapshot(), ROOM);
        assert_eq!(serde_json::to_value(&plan_of.configuration.services["shop/v2"]).unwrap(), json!({"ports": [80]}));
        assert!(status(&plan_of, "canary").resolved.is_met);
        // If the Service is a root, its ports are used like those of any other Service.
        let mut root = cluster.clone();
        root.traffic_splits = vec![split("canary", "v2", &[("web", 1)])];
        let plan_of = planned(&root);
        let has_ports = spec["ports"].as_array().is_some_and(|ports| !ports.is_empty());
        assert_eq!(plan_of.configuration.services.contains_key("shop/v2"), has_ports);
    }
}

#[test]
fn objects_with_the_longest_names_are_distinguished() {
    let namespace = "n".repeat(63);
    let of_namespace = |object: Value| with(object, "/metadata/namespace", namespace.as_str().into());
    let services = ["w", "x", "y"].map(|end| format!("{}{end}", "s".repeat(62)));
    let names = ["a", "b"].map(|end| format!("{}{end}", "t".repeat(252)));
    let [root, first, second] = services.each_ref().map(String::as_str);
    let splits = [split(&names[0], root, &[(first, 1)]), split(&names[1], first, &[(second, 0)])];
    let mut cluster = cluster(&splits.map(of_namespace));
    cluster.services = services.each_ref().map(|name| of_namespace(service(name, &[80]))).into();
    let plan = planned(&cluster);
    let status = |name: &str| &plan.statuses[&format!("{namespace}/{name}")];
    assert!(status(&names[0]).resolved.is_met, "{:?}", status(&names[0]));
    assert_eq!(status(&names[1]).accepted.reason, "Invalid");
}

#[test]
fn message_of_many_missing_services_fits_into_a_condition() {
    let backends: Vec<_> = (0..256).map(|number| format!("{number:03}-{}", "b".repeat(59))).collect();
    let weights: Vec<_> = backends.iter().map(|backend| (backend.as_str(), 1)).collect();
    let plan = planned(&cluster(&[split("canary", "web", &weights)]));
    let message = &status(&plan, "canary").resolved.message;
    let start = "no backend with a weight above 0 can receive requests; the root web serves all requests of the split; Service 000-";
    assert!(message.starts_with(start) && message.ends_with('…'), "{message}");
    assert!(message.len() < 32_768, "{}", message.len());
}

#[test]
fn missing_root_service_is_reported() {
    let plan = planned(&cluster(&[split("canary", "nowhere", &[("v1", 1)])]));
    assert_eq!(status(&plan, "canary").resolved.message, "the root Service nowhere does not exist");
}

#[test]
fn excluded_namespaces_are_in_the_configuration() {
    let mut cluster = cluster(&[]);
    cluster.excluded_namespaces = ["legacy".to_owned()].into();
    assert_eq!(planned(&cluster).configuration.excluded_namespaces, ["legacy"]);
}

#[test]
fn operators_settings_are_kept() {
    let base = Configuration::from_value(&json!({
        "clusterHeader": "x-own", "excludedNamespaces": ["legacy"],
        "services": {"shop/v1": {"cluster": "own"}},
    }));
    let plan = plan(
        &base.unwrap(),
        &IstioOptions::default(),
        &cluster(&[split("canary", "web", &[("v1", 1)])]).snapshot(),
        ROOM,
    );
    assert_eq!(plan.configuration.cluster_header, "x-own");
    assert_eq!(plan.configuration.excluded_namespaces, ["legacy"]);
    let service = serde_json::to_value(&plan.configuration.services["shop/v1"]).unwrap();
    assert_eq!(service, json!({"cluster": "own", "ports": [80]}));
}

#[test]
fn splits_above_the_limit_are_left_out_or_keep_their_served_version() {
    let small = planned(&cluster(&[split("a", "web", &[("v1", 10)]), split("c", "v2", &[("v1", 1)])]));
    let room = stored_bytes(&small.configuration);
    let of = |splits: &[Value]| plan_with_room(splits, &small.configuration, room);
    let (a, c) = (split("a", "web", &[("v1", 20)]), split("c", "v2", &[("v1", 1)]));
    let larger = split("c", "v2", &[("v1", 1), ("web", 1)]);
    // A new split and a larger split do not fit, and their statuses report it. The change of `a` is served.
    let plan = of(&[a.clone(), split("b", "v1", &[("v2", 1)]), larger.clone()]);
    assert_eq!(served(&plan), ["shop/a", "shop/c"]);
    assert_eq!(stored_bytes(&plan.configuration), room);
    let summary = |name| summary(&plan, name);
    assert_eq!(summary("a"), ("Programmed", ServedVersion::Current, true, "v1 20"));
    assert_eq!(summary("b"), ("TooLarge", ServedVersion::NotServed, true, ""));
    assert_eq!(summary("c"), ("TooLarge", ServedVersion::LastGood, true, "v1 1"));
    let message = &status(&plan, "b").programmed.message;
    assert!(message.starts_with("the configuration would exceed the limit of "), "{message}");
    assert!(
        message
            .ends_with("; remove splits or backends, or raise --max-bytes of the controller; this split is not served"),
        "{message}"
    );

    // A deleted split makes room for others.
    assert_eq!(served(&of(&[a, split("b", "v1", &[("v2", 1)])])), ["shop/a", "shop/b"]);
    assert_eq!(status(&of(&[larger]), "c").state(), "Programmed");
    // A served split stays, although it exceeds the limit.
    let nothing = plan_with_room(&[c], &small.configuration, 1);
    assert_eq!(served(&nothing), ["shop/c"]);
}

#[test]
fn group_above_the_limit_keeps_its_served_version() {
    let splits = [matching(split("a", "web", &[("v1", 1)]), "beta"), split("b", "v1", &[("v2", 1)])];
    let mut cluster = cluster(&splits);
    cluster.http_route_groups = vec![group("beta", "/beta")];
    let small = planned(&cluster);
    cluster.served = small.configuration.clone();
    cluster.http_route_groups = vec![group("beta", &"/beta".repeat(100))];
    let plan = plan(
        &Configuration::default(),
        &IstioOptions::default(),
        &cluster.snapshot(),
        stored_bytes(&small.configuration),
    );
    assert_eq!(plan.configuration, small.configuration);
    assert_eq!(status(&plan, "a").state(), "TooLarge");
    assert_eq!(status(&plan, "b").state(), "Programmed");
}

/// The deleted split and the excluded namespace leave the configuration, although the changed group does not fit.
#[test]
fn deleted_splits_are_removed_even_above_the_limit() {
    let splits = [matching(split("a", "web", &[("v1", 1)]), "beta"), split("b", "v1", &[("v2", 1)])];
    let mut cluster = cluster(&splits);
    cluster.http_route_groups = vec![group("beta", "/beta")];
    cluster.served = planned(&cluster).configuration;
    cluster.http_route_groups = vec![group("beta", &"/beta".repeat(100))];
    cluster.traffic_splits.pop();
    cluster.excluded_namespaces = ["quiet".to_owned()].into();
    let plan =
        plan(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), stored_bytes(&cluster.served));
    assert_eq!(served(&plan), ["shop/a"]);
    assert_eq!(plan.configuration.excluded_namespaces, ["quiet"]);
    assert_eq!(status(&plan, "a").state(), "TooLarge");
}

#[test]
fn split_above_the_limit_does_not_take_a_served_splits_root() {
    let old = planned(&cluster(&[split("b", "web", &[("v1", 1)])]));
    let large: Vec<_> = (0..50).map(|number| format!("a-backend-{number}")).collect();
    let large: Vec<_> = large.iter().map(|name| (name.as_str(), 1)).collect();
    let (older, b) = (made_at(split("a", "web", &large), "2025-01-01T00:00:00Z"), split("b", "web", &[("v1", 2)]));
    // This split is younger and was never served: it conflicts with `b`, whichever splits fit.
    let c = made_at(split("c", "web", &[("v2", 1)]), "2027-01-01T00:00:00Z");
    let plan = plan_with_room(&[older, b, c], &old.configuration, stored_bytes(&old.configuration));
    assert_eq!(served(&plan), ["shop/b"]);
    let states = ["a", "b", "c"].map(|name| status(&plan, name).state());
    assert_eq!(states, ["TooLarge", "Programmed", "Conflict"]);
}

#[test]
fn split_that_loses_its_room_yields_the_root_to_an_older_split() {
    let old = planned(&cluster(&[split("b", "web", &[("v1", 1)])]));
    let room = stored_bytes(
        &planned(&cluster(&[split("a", "web", &[("v2", 1)]), split("b", "v1", &[("web", 1)])])).configuration,
    );
    let mut cluster = cluster(&[split("a", "web", &[("v2", 1)]), matching(split("b", "web", &[("v1", 1)]), "beta")]);
    cluster.http_route_groups = vec![group("beta", &"/beta".repeat(100))];
    assert_eq!(served(&planned(&cluster)), ["shop/b", "shop/a"]);
    cluster.served = old.configuration;
    // A Service that both splits name counts for each of them.
    let plan = plan(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), room + 200);
    assert_eq!(served(&plan), ["shop/a"]);
    assert_eq!((status(&plan, "a").state(), status(&plan, "b").state()), ("Programmed", "Conflict"));
}

#[test]
fn refusal_is_reported_on_the_changed_splits_only() {
    let mut cluster = cluster(&[
        split("changed", "web", &[("v1", 1)]),
        split("the-same", "v1", &[("v1", 1)]),
        split("gone-wrong", "v2", &[("v1", 1)]),
        matching(split("with-a-group", "web", &[("v2", 1)]), "beta"),
    ]);
    cluster.http_route_groups = vec![group("beta", "/beta")];
    cluster.served = planned(&cluster).configuration;
    cluster.http_route_groups = vec![group("beta", "/gamma")];
    cluster.traffic_splits[0] = split("changed", "web", &[("v2", 1)]);
    cluster.traffic_splits[2] = split("gone-wrong", "v2", &[("v1", -1)]);
    // This split is older than the served split of the same root, and would take the root.
    let older = made_at(split("new", "v1", &[("v2", 1)]), "2025-01-01T00:00:00Z");
    cluster.traffic_splits.push(older);
    cluster.traffic_splits.push(made_at(split("younger", "v1", &[("v2", 1)]), "2027-01-01T00:00:00Z"));
    let plan =
        plan_after_refusal(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), "no more today");
    assert_eq!(plan.configuration, cluster.served);
    let summary = |name| summary(&plan, name);
    assert_eq!(summary("changed"), ("Refused", ServedVersion::LastGood, true, "v1 1"));
    assert_eq!(summary("the-same"), ("Programmed", ServedVersion::Current, true, "v1 1"));
    assert_eq!(summary("gone-wrong"), ("Invalid", ServedVersion::LastGood, false, "v1 1"));
    assert_eq!(summary("with-a-group"), ("Refused", ServedVersion::LastGood, true, "v2 1"));
    assert_eq!(summary("new"), ("Refused", ServedVersion::NotServed, true, ""));
    assert_eq!(summary("younger"), ("Conflict", ServedVersion::NotServed, false, ""));
    let message = "the API server refused the EnvoyFilter: no more today; sidecars keep the version that they have";
    assert_eq!(status(&plan, "changed").programmed.message, message);
}

/// The API server's message may contain, for example, the port of a connection, which differs in each attempt.
#[test]
fn refusal_that_differs_in_digits_is_reported_once() {
    let mut object = split("canary", "web", &[("v1", 1)]);
    let mut told = |why: &str, now: &str| {
        let cluster = cluster(std::slice::from_ref(&object));
        let plan = plan_after_refusal(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), why);
        let events: Vec<_> =
            status_events(status(&plan, "canary"), &object).into_iter().map(|events| events.reason).collect();
        object["status"] = status_value(status(&plan, "canary"), &object, now);
        (events, object["status"].clone())
    };
    let (events, first) = told("10.0.0.1:46864: connection reset", "2026-01-02T03:04:05Z");
    assert_eq!(events, ["Refused"]);
    assert!(first["conditions"][1]["message"].as_str().unwrap().contains(":46864: connection reset"));
    let (events, second) = told("10.0.0.1:5: connection reset", "2026-01-02T03:04:06Z");
    assert_eq!((events.len(), &second), (0, &first));
    let (events, third) = told("10.0.0.1:5: connection refused", "2026-01-02T03:04:07Z");
    assert_eq!(events, ["Refused"]);
    assert_ne!(third, first);
}

/// The split has also lost its root to another split, but `Invalid` is the reason to report.
#[test]
fn invalid_split_is_reported_as_invalid_not_as_conflicting() {
    let served = planned(&cluster(&[split("old", "api", &[("v1", 1)]), split("young", "web", &[("v1", 1)])]));
    let young = made_at(split("young", "v2", &[("v1", -1)]), "2027-01-01T00:00:00Z");
    let plan = after(served, cluster(&[split("old", "web", &[("v1", 1)]), young]));
    assert_eq!((status(&plan, "old").state(), status(&plan, "young").state()), ("Programmed", "Invalid"));
    assert_eq!(status(&plan, "young").served_version, ServedVersion::NotServed);
}

fn plan_with_room(splits: &[Value], served: &Configuration, max_bytes: usize) -> EnvoyFilterPlan {
    let mut cluster = cluster(splits);
    cluster.served = served.clone();
    plan(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), max_bytes)
}

#[test]
fn roots_above_the_limit_of_patches_leave_a_hint_without_an_event() {
    let split = |number: usize| split(&format!("s{number}"), &format!("r{number}"), &[("v1", 1)]);
    let mut options = IstioOptions::default();
    options.knows_all_services = true;
    let planned = |count| {
        let cluster = cluster(&(0..count).map(split).collect::<Vec<_>>());
        plan(&Configuration::default(), &options, &cluster.snapshot(), ROOM)
    };
    let few = planned(200);
    assert_eq!(status(&few, "s0").programmed.message, "");
    let many = planned(201);
    let programmed = &status(&many, "s0").programmed;
    assert!(programmed.is_met, "{programmed:?}");
    let hint = "the roots have more than 200 names and ports, so proxies run the filter for all hosts, not only for the roots; to reduce its \
        cost, remove splits, or ports of their roots";
    assert_eq!(programmed.message, hint);
    let mut object = split(0);
    assert_eq!(status_events(status(&many, "s0"), &object)[0].message, "sidecars get v1 1");
    object["status"] = status_value(status(&few, "s0"), &object, "2026-01-02T03:04:05Z");
    assert_eq!(status_events(status(&many, "s0"), &object), []);
    let changed = status_value(status(&many, "s0"), &object, "2026-01-02T03:04:06Z");
    assert_eq!(changed["conditions"][1]["message"], hint);
    assert_eq!(changed["conditions"][1]["lastTransitionTime"], "2026-01-02T03:04:05Z");
}

/// An EnvoyFilter contains the configuration as JSON in a JSON string.
#[test]
fn stored_bytes_equal_the_size_in_an_envoy_filter() {
    let mut cluster = cluster(&[matching(split("a", "web", &[("v1", 1)]), "beta")]);
    cluster.http_route_groups = vec![group("beta", &r"\\.".repeat(200))];
    let configuration = planned(&cluster).configuration;
    let filter = envoy_filter(&configuration, &IstioOptions::default());
    let empty = envoy_filter(&Configuration::default(), &IstioOptions::default());
    let extension = |filter: &Value| filter["spec"]["configPatches"][2].to_string().len();
    let grown = extension(&filter) - extension(&empty);
    assert!(stored_bytes(&configuration).abs_diff(grown) < 400, "{} for {grown}", stored_bytes(&configuration));
    assert!(grown > 1800, "{grown}");
}

#[test]
fn plan_is_independent_of_order_and_stable() {
    let splits: Vec<_> =
        (0..20).map(|number| split(&format!("s{number}"), &format!("r{number}"), &[("v1", 1)])).collect();
    let forth = planned(&cluster(&splits));
    let back = planned(&cluster(&splits.iter().rev().cloned().collect::<Vec<_>>()));
    assert_eq!(forth.configuration, back.configuration);
    assert_eq!(after(forth.clone(), cluster(&splits)).configuration, forth.configuration);
}

#[test]
fn malformed_objects_are_reported_as_invalid() {
    let good = split("good", "web", &[("v1", 1)]);
    for odd in [json!(null), json!({}), json!([]), json!({"metadata": {"name": 1}}), json!({"metadata": {"name": "x"}})]
    {
        let mut cluster = cluster(&[odd.clone(), good.clone()]);
        cluster.http_route_groups = vec![odd.clone()];
        cluster.services.push(odd);
        assert_eq!(served(&planned(&cluster)), ["shop/good"]);
    }
}

fn istio(kind: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": kind,
        "metadata": {"name": "theirs", "namespace": namespace}, "spec": spec,
    })
}

fn canary() -> Cluster {
    cluster(&[split("canary", "web", &[("v1", 90), ("v2", 10)])])
}

#[test]
fn bypassed_virtual_service_is_reported() {
    let condition = |namespace: &str, spec: Value| {
        let mut cluster = canary();
        cluster.virtual_services = vec![istio("VirtualService", namespace, spec)];
        status(&planned(&cluster), "canary").rules_apply.clone()
    };
    let http = json!([{"timeout": "5s", "route": [{"destination": {"host": "web"}}]}]);
    for (namespace, host) in [
        ("shop", "web"),
        ("other", "web.shop.svc.cluster.local"),
        ("shop", "v2"),
        ("other", "*.shop.svc.cluster.local"),
        ("other", "*"),
    ] {
        let condition = condition(namespace, json!({"hosts": [host], "http": http}));
        assert_eq!((condition.is_met, condition.reason), (false, "RulesBypassed"), "{host}");
        assert!(condition.message.contains(&format!("VirtualService {namespace}/theirs")), "{}", condition.message);
    }
    for (namespace, spec) in [
        ("other", json!({"hosts": ["web"], "http": http})),
        ("shop", json!({"hosts": ["others"], "http": http})),
        ("shop", json!({"hosts": ["web"], "tcp": [{}]})),
        // A VirtualService for a gateway only: sidecars ignore it.
        ("shop", json!({"hosts": ["web"], "gateways": ["shop/gateway"], "http": http})),
        ("shop", json!(null)),
    ] {
        assert!(condition(namespace, spec.clone()).is_met, "{spec}");
    }
    assert!(!condition("shop", json!({"hosts": ["web"], "gateways": ["shop/gateway", "mesh"], "http": http})).is_met);
}

#[test]
fn bypassed_consistent_hash_is_reported() {
    let condition = |spec: Value| {
        let mut cluster = canary();
        cluster.destination_rules = vec![istio("DestinationRule", "shop", spec)];
        status(&planned(&cluster), "canary").rules_apply.clone()
    };
    let hashes = json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}});
    let bypassed = condition(json!({"host": "v1", "trafficPolicy": hashes}));
    assert!(bypassed.message.contains("--hash-header"), "{}", bypassed.message);
    // The operator has set `--hash-header`.
    let mut istio_of = IstioOptions::default();
    istio_of.route.hash_header = Some("x-user".into());
    for (header, applies) in [("X-User", true), ("x-session", false)] {
        let mut cluster = canary();
        let hashes = json!({"loadBalancer": {"consistentHash": {"httpHeaderName": header}}});
        cluster.destination_rules =
            vec![istio("DestinationRule", "shop", json!({"host": "v1", "trafficPolicy": hashes}))];
        let plan = plan(&Configuration::default(), &istio_of, &cluster.snapshot(), ROOM);
        assert_eq!(status(&plan, "canary").rules_apply.is_met, applies, "{header}");
    }
    assert!(condition(json!({"host": "v1", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}})).is_met);
    assert!(condition(json!({"host": "others", "trafficPolicy": hashes})).is_met);
    let mut of_one_port = hashes.clone();
    of_one_port["port"] = json!({"number": 80});
    assert!(!condition(json!({"host": "v1", "trafficPolicy": {"portLevelSettings": [of_one_port]}})).is_met);
}

#[test]
fn backend_hidden_by_a_sidecar_is_reported() {
    let status_for = |namespace: &str, hosts: Value| {
        let mut cluster = canary();
        cluster.sidecars = vec![istio("Sidecar", namespace, json!({"egress": [{"hosts": hosts}]}))];
        status(&planned(&cluster), "canary").clone()
    };
    for (namespace, hosts) in [
        ("curl", json!(["shop/web.shop.svc.cluster.local", "shop/v1.shop.svc.cluster.local"])),
        ("shop", json!(["./web.shop.svc.cluster.local", "*/v1.shop.svc.cluster.local", "istio-system/*"])),
    ] {
        let status = status_for(namespace, hosts);
        assert_eq!(status.reachable.reason, "BackendHidden");
        assert!(status.reachable.message.contains(&format!("v2 from clients of Sidecar {namespace}/theirs")));
        assert_eq!(status.state(), "BackendHidden");
    }
    for (namespace, hosts) in [
        ("curl", json!(["shop/*"])),
        ("curl", json!(["*/*"])),
        ("curl", json!(["*/*.shop.svc.cluster.local"])),
        ("shop", json!(["./*"])),
        // The Sidecar hides the root too.
        ("curl", json!(["./*", "istio-system/*"])),
        ("curl", json!([])),
    ] {
        assert!(status_for(namespace, hosts.clone()).reachable.is_met, "{hosts}");
    }
}

#[test]
fn backend_exported_to_fewer_namespaces_than_the_root_is_reported() {
    let condition = |root: Option<&str>, v2: Option<&str>| {
        let mut cluster = canary();
        for (service, to) in [(0, root), (2, v2)] {
            if let Some(to) = to {
                let annotations = json!({"networking.istio.io/exportTo": to});
                cluster.services[service] =
                    with(cluster.services[service].clone(), "/metadata/annotations", annotations);
            }
        }
        status(&planned(&cluster), "canary").reachable.clone()
    };
    assert_eq!(
        condition(None, Some(".")).message,
        "split requests get 503, because backends are hidden: v2 from clients outside shop (networking.istio.io/exportTo)"
    );
    assert!(!condition(Some("shop, curl"), Some("shop")).is_met);
    assert!(
        condition(Some("."), Some(".")).is_met
            && condition(Some("shop"), Some("*")).is_met
            && condition(None, None).is_met
    );
    assert!(condition(Some("curl"), Some("curl,shop")).is_met);
}

fn of_namespace(object: Value, namespace: &str) -> Value {
    with(object, "/metadata/namespace", namespace.into())
}

/// Returns the splits of a tenant that fills all room. They are older than all other splits.
fn hog(splits: usize) -> impl Iterator<Item = Value> {
    (0..splits).map(|n| {
        let split = split(&format!("s{n:03}"), &format!("r{n}"), &[("v1", 1), ("v2", 1)]);
        made_at(of_namespace(split, "hog"), "2020-01-01T00:00:00Z")
    })
}

#[test]
fn namespace_that_fills_the_room_delays_no_change_of_others() {
    let room = 20_000;
    let mut cluster = cluster(&hog(300).collect::<Vec<_>>());
    let plan_now =
        |cluster: &Cluster| plan(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), room);
    let full = plan_now(&cluster);
    let before = full.configuration.traffic_splits.len();
    assert!(before > 50 && before < 300, "a namespace may use what no other needs: {before}");
    assert!(stored_bytes(&full.configuration) <= room);

    // A newer split does not fit into the remaining room: it is served, and the tenant loses its newest split.
    cluster.served = full.configuration;
    cluster.traffic_splits.push(split("canary", "web", &[("v1", 1), ("v2", 1)]));
    let mut plan = plan_now(&cluster);
    assert_eq!(summary(&plan, "canary"), ("Programmed", ServedVersion::Current, true, "v1 1, v2 1"));
    assert_eq!(plan.configuration.traffic_splits.len(), before);

    // Every change of this split is served, although the tenant also changes its splits.
    for weight in [10, 100, 1000] {
        cluster.served = plan.configuration;
        *cluster.traffic_splits.last_mut().unwrap() = split("canary", "web", &[("v1", weight), ("v2", 1)]);
        cluster.traffic_splits[0] =
            hog(1).next().map(|split| with(split, "/spec/backends/0/weight", 1000.into())).unwrap();
        plan = plan_now(&cluster);
        assert_eq!(summary(&plan, "canary").0, "Programmed");
        assert!(stored_bytes(&plan.configuration) <= room);
    }
}

#[test]
fn namespaces_above_the_limit_get_equal_shares() {
    let of = |namespace: &'static str, time: &'static str| {
        hog(200).map(move |split| made_at(of_namespace(split, namespace), time))
    };
    let splits = of("hog-a", "2020-01-01T00:00:00Z").chain(of("hog-b", "2026-01-01T00:00:00Z"));
    let cluster = Cluster { traffic_splits: splits.collect(), ..Cluster::default() };
    let plan = plan(&Configuration::default(), &IstioOptions::default(), &cluster.snapshot(), 20_000);
    let count = |namespace: &str| served(&plan).iter().filter(|key| key.starts_with(namespace)).count();
    assert!(count("hog-a").abs_diff(count("hog-b")) <= 1, "{} and {}", count("hog-a"), count("hog-b"));
    assert!(count("hog-a") > 20);
}

#[test]
fn group_above_the_budget_keeps_its_served_version() {
    let splits = [matching(split("a", "web", &[("v1", 1)]), "beta"), split("b", "v1", &[("v2", 1)])];
    let mut cluster = cluster(&splits);
    cluster.http_route_groups = vec![group("beta", "/beta")];
    cluster.served = planned(&cluster).configuration;
    // Each of the two groups is valid, but together they exceed the limit of one root.
    let matches: Vec<_> = (0..200).map(|_| json!({"pathRegex": "a{40}"})).collect();
    let large = |name: &str| with(group(name, "/"), "/spec/matches", json!(matches));
    cluster.http_route_groups = vec![large("beta"), large("gamma")];
    let both = json!([{"name": "beta"}, {"name": "gamma"}]);
    cluster.traffic_splits[0] = with(splits[0].clone(), "/spec/matches", both);
    cluster.traffic_splits[1] = split("b", "v1", &[("v2", 2)]);
    let plan = planned(&cluster);
    assert_eq!(summary(&plan, "b"), ("Programmed", ServedVersion::Current, true, "v2 2"), "others' changes go out");
    assert_eq!(summary(&plan, "a").0, "TooLarge");
    assert_eq!(
        status(&plan, "a").programmed.message,
        "the splits of the root shop/web together would exceed the limit of 16384 units of pattern size; use fewer or \
         shorter patterns and smaller repetitions; sidecars keep the version that they have"
    );
    let text = serde_json::to_vec(&plan.configuration).unwrap();
    assert_eq!(Configuration::from_json(&text).unwrap(), plan.configuration);
}

#[test]
fn missing_weights_are_served_as_explicit_zeros() {
    let object =
        with(split("canary", "web", &[]), "/spec/backends", json!([{"service": "v1", "weight": 1}, {"service": "v2"}]));
    let plan = planned(&cluster(&[object]));
    let split = serde_json::to_value(&plan.configuration.traffic_splits[0]).unwrap();
    assert_eq!(split["spec"]["backends"][1], json!({"service": "v2", "weight": 0}));
}

/// Maximum number of characters of a condition's message.
const MAX_CHARACTERS: usize = 8000;

#[track_caller]
fn is_bounded(message: &String) {
    assert!(message.chars().count() <= MAX_CHARACTERS, "{} characters", message.chars().count());
    assert!(message.capacity() <= message.len() + 64, "{} bytes for {}", message.capacity(), message.len());
}

fn bad_group(name: &str) -> Value {
    let headers: serde_json::Map<_, _> = (0..100).map(|n| (format!("h{n}"), json!("("))).collect();
    with(group(name, "/"), "/spec/matches", json!(vec![json!({"headers": headers}); 10]))
}

#[test]
fn message_lists_the_first_problems_of_groups_and_is_bounded() {
    let names: Vec<_> = (0..64).map(|n| format!("g{n}")).collect();
    let references: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
    let mut cluster = cluster(&[with(split("canary", "web", &[("v1", 1)]), "/spec/matches", json!(references))]);
    cluster.http_route_groups = names.iter().map(|name| bad_group(name)).collect();
    for group in &cluster.snapshot().http_route_groups {
        let problems = group.group.as_ref().unwrap_err();
        is_bounded(problems);
        assert!(problems.starts_with("spec.matches[0].headers"), "{problems}");
        assert!(problems.contains("; and 98"), "{problems}");
    }
    let plan = planned(&cluster);
    let message = &status(&plan, "canary").accepted.message;
    is_bounded(message);
    assert!(message.starts_with("HTTPRouteGroup g0: spec.matches[0].headers"), "{message}");
    assert!(message.contains("; and 980 more; HTTPRouteGroup g1: spec.matches[0]"), "{message}");
    assert!(message.ends_with('…'), "{message}");
}

#[test]
fn message_tells_a_missing_group_from_an_invalid_one() {
    let references = json!([{"name": "missing"}, {"name": "invalid"}]);
    let mut cluster = cluster(&[with(split("canary", "web", &[("v1", 1)]), "/spec/matches", references)]);
    cluster.http_route_groups = vec![with(group("invalid", "/"), "/spec/matches", json!([{"pathRegex": "("}]))];
    let plan = planned(&cluster);
    let message = &status(&plan, "canary").accepted.message;
    let (missing, invalid) = message.split_once("; HTTPRouteGroup ").expect("both");
    assert_eq!(missing, "spec.matches[0].name: there is no HTTPRouteGroup \"missing\" in the namespace \"shop\"");
    assert!(invalid.starts_with("invalid: spec.matches[0].pathRegex: "), "{message}");
}

#[test]
fn message_of_missing_ports_is_bounded() {
    let ports: Vec<_> = (1..=2500).collect();
    let names: Vec<_> = (0..256).map(|n| format!("b{n}")).collect();
    let weights: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut cluster = cluster(&[split("canary", "web", &weights), split("same", "v1", &[("web", 1)])]);
    cluster.services = names.iter().map(|name| service(name, &[1])).collect();
    cluster.services.extend([service("web", &ports), service("v1", &ports)]);
    let plan = planned(&cluster);
    let message = &status(&plan, "canary").resolved.message;
    is_bounded(message);
    let start = "no backend with a weight above 0 has port 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, …; the root web serves these requests; ";
    let message = message.strip_prefix(start).unwrap();
    assert!(message.starts_with("Service b0 has no port 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, …; it receives requests to its own ports only; Service b1 has"));
    assert!(status(&plan, "same").resolved.is_met);
}

#[test]
fn export_list_above_100_entries_is_not_evaluated() {
    let condition = |root: usize, v2: usize| {
        let mut cluster = canary();
        for (service, count) in [(0, root), (2, v2)] {
            let list: Vec<_> = (0..count).map(|n| format!("ns{n}")).collect();
            let annotations = json!({"networking.istio.io/exportTo": list.join(",")});
            cluster.services[service] = with(cluster.services[service].clone(), "/metadata/annotations", annotations);
        }
        // Leave out the backend v1, whose Service has no export list.
        cluster.traffic_splits[0] = split("canary", "web", &[("v2", 1)]);
        status(&planned(&cluster), "canary").reachable.clone()
    };
    assert!(condition(100, 100).is_met && condition(50, 100).is_met);
    let hidden = condition(100, 50).message;
    assert!(hidden.contains("hidden: v2 from clients outside ns0, ns1, ns10, "), "{hidden}");
    assert!(hidden.ends_with(", … (networking.istio.io/exportTo)") && hidden.len() < 200, "{hidden}");
    assert!(!condition(101, 100).is_met);
    let hidden = condition(1, 26_000).message;
    assert!(
        hidden.contains("v2 from some clients, because networking.istio.io/exportTo has more than 100 entries"),
        "{hidden}"
    );
}

#[test]
fn hiding_sidecars_are_listed_in_order() {
    let mut cluster = canary();
    let all = json!({"egress": [{"hosts": ["*/*", "shop/web.shop.svc.cluster.local"]}]});
    let root = json!({"egress": [{"hosts": ["*/web.shop.svc.cluster.local"]}]});
    cluster.sidecars = (0..100)
        .map(|n| {
            let sidecar = istio("Sidecar", "curl", if n < 50 { all.clone() } else { root.clone() });
            with(sidecar, "/metadata/name", format!("s{n}").into())
        })
        .collect();
    let listed: Vec<_> = (50..60).map(|n| format!("v1 from clients of Sidecar curl/s{n}")).collect();
    let message = format!("split requests get 503, because backends are hidden: {}", listed.join("; "));
    assert_eq!(status(&planned(&cluster), "canary").reachable.message, message);
    cluster.sidecars.truncate(50);
    assert!(status(&planned(&cluster), "canary").reachable.is_met);
}

#[test]
fn wildcards_match_hosts_by_suffix() {
    let condition = |host: &str| {
        let mut cluster = canary();
        let http = json!([{}]);
        let others = (1..2500).map(|length| json!(format!("*{}", "x".repeat(length))));
        let hosts: Vec<_> = others.chain([json!(host)]).collect();
        cluster.virtual_services = vec![istio("VirtualService", "other", json!({"hosts": hosts, "http": http}))];
        status(&planned(&cluster), "canary").rules_apply.is_met
    };
    for host in ["*", "*l", "*b.shop.svc.cluster.local", "*web.shop.svc.cluster.local", "v1.shop.svc.cluster.local"] {
        assert!(!condition(host), "{host}");
    }
    for host in ["*x", "*ab.shop.svc.cluster.local", "*aweb.shop.svc.cluster.local", "*.shop.svc.cluster.loca"] {
        assert!(condition(host), "{host}");
    }
}

#[test]
fn namespace_above_the_step_limit_does_not_affect_others() {
    // Each split costs as many steps as its hosts have characters.
    let names: Vec<_> = (0..50_000).map(|n| format!("b{n:05}")).collect();
    let splits = names.chunks(250).enumerate().map(|(number, names)| {
        let weights: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        of_namespace(split(&format!("s{number}"), &format!("r{number}"), &weights), "hog")
    });
    let mut cluster = canary();
    cluster.traffic_splits.extend(splits);
    cluster.virtual_services = vec![istio("VirtualService", "other", json!({"hosts": ["*"], "http": [{}]}))];
    let plan = planned(&cluster);
    assert_eq!(status(&plan, "canary").rules_apply.reason, "RulesBypassed");
    let count = |reason: &str| plan.statuses.values().filter(|status| status.rules_apply.reason == reason).count();
    assert!(count("NotChecked") > 20 && count("RulesBypassed") > 100, "{}", count("NotChecked"));
    assert!(
        plan.statuses.values().all(|status| status.rules_apply.reason != "NotChecked" || status.rules_apply.is_met)
    );
}
