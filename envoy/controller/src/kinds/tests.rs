//! The fields of each kind of object that the stores keep.

use super::kubernetes::Namespace;
use super::smi::MAX_STATUS_BYTES;
use super::{
    DestinationRules, EnvoyFilters, HttpRouteGroups, Namespaces, Services, Sidecars, TrafficSplits, VirtualServices,
};
use crate::own_writes::OwnWrites;
use crate::projection::{Kind, NotKept};
use crate::raw_object::{RawObject, raw};
use fastrand::Rng;
use serde_json::{Value, json};
use std::fmt::Write;

fn read<K: Kind>(kind: &K, json: &str) -> Result<K::Kept, NotKept> {
    let object = RawObject::new(raw(json).unwrap()).unwrap();
    kind.read(&object, K::MAX_NAMESPACE_BYTES).map(|read| read.kept)
}

fn why<T>(read: Result<T, NotKept>) -> String {
    match read {
        Err(NotKept::Unreadable(why)) => why,
        Err(NotKept::NoRoom) => "no room".into(),
        Ok(_) => "read".into(),
    }
}

fn splits() -> TrafficSplits {
    TrafficSplits { cluster_domain: "cluster.local".into(), own_writes: OwnWrites::default() }
}

fn split(spec: &str) -> String {
    format!(
        r#"{{"apiVersion":"split.smi-spec.io/v1alpha4","kind":"TrafficSplit","metadata":{{"name":"s","namespace":"ns",
            "uid":"u","resourceVersion":"1","generation":2,"creationTimestamp":"2026-01-01T00:00:00Z",
            "managedFields":[{{"deep":{deep}}}],"labels":{{"a":"b"}},
            "annotations":{{"other":"x","traffic-split/override-header":"x-version"}}}},
            "spec":{spec},"status":{{"state":"Programmed"}}}}"#,
        deep = "[".repeat(200) + &"]".repeat(200),
    )
}

#[test]
fn only_changes_that_planning_depends_on_count() {
    let kind = splits();
    let text = split(r#"{"service":"web","backends":[{"service":"v1","weight":1}]}"#);
    let version = |old: &str, new: &str| {
        assert!(text.contains(old), "{old}");
        read(&kind, &text.replace(old, new)).unwrap()
    };
    let first = version("ns", "ns");
    let is_same = |old: &str, new: &str| kind.is_same(&first, &version(old, new));
    assert!(is_same(r#""resourceVersion":"1""#, r#""resourceVersion":"2""#));
    assert!(is_same(r#""other":"x""#, r#""other":"y""#) && is_same(r#""a":"b""#, r#""a":"c""#));
    assert!(!is_same("x-version", "x-other") && !is_same(r#""weight":1"#, r#""weight":2"#));
    assert!(!is_same(r#""generation":2"#, r#""generation":3"#));
    assert!(!is_same(r#""Programmed""#, r#""Other""#), "another client wrote the status");
    kind.own_writes.record_status("ns/s".into(), json!({"state": "Other"}));
    assert!(is_same(r#""Programmed""#, r#""Other""#), "the controller wrote the status");
    assert!(!is_same(r#""status":{"state":"Programmed"}"#, r#""x":0"#));

    let kind = EnvoyFilters { own_writes: OwnWrites::default() };
    let filter = |spec: &str| {
        let metadata = r#""metadata":{"name":"f","namespace":"ns","uid":"u","resourceVersion":"1"}"#;
        read(&kind, &format!(r#"{{{metadata},"spec":{spec}}}"#)).unwrap()
    };
    kind.own_writes.record_filter_spec(json!({"a": 1}));
    let old = filter("{}");
    assert!(kind.is_same(&old, &filter(r#"{"a":1}"#)) && !kind.is_same(&old, &filter("{}")));
}

#[test]
fn a_split_keeps_its_spec_status_and_our_annotations() {
    let kept = read(&splits(), &split(r#"{"service":"s","backends":[{"service":"v1","weight":1}]}"#)).unwrap();
    let metadata = json!({"name": "s", "namespace": "ns", "uid": "u", "resourceVersion": "1", "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"traffic-split/override-header": "x-version"}});
    assert_eq!(kept.object["metadata"], metadata);
    assert_eq!(kept.object["status"], json!({"state": "Programmed"}));
    assert_eq!(kept.key, "ns/s");
    assert!(kept.split.is_ok(), "{:?}", kept.split);
}

#[test]
fn an_unreadable_split_keeps_metadata_and_status() {
    let deep = split(&("[".repeat(200) + &"]".repeat(200)));
    assert_eq!(why(read(&splits(), &deep)), "spec: nests more than 127 levels deep");
    let large = split(&format!("{{\"x\":\"{}\"}}", "x".repeat(1_500_000)));
    let message = why(read(&splits(), &large));
    assert_eq!(message, "the object has 1465 KiB of JSON; the limit for a TrafficSplit is 128 KiB");
    let large = RawObject::new(raw(&large).unwrap()).unwrap();
    let kept = splits().unreadable(&large, message.clone()).unwrap();
    assert_eq!(kept.split.as_ref().unwrap_err(), &message);
    assert_eq!(
        (&kept.object["metadata"]["generation"], &kept.object["status"]["state"]),
        (&json!(2), &json!("Programmed"))
    );
}

#[test]
fn a_status_that_is_too_deep_or_too_large_is_left_out() {
    for status in ["[".repeat(200) + &"]".repeat(200), format!("\"{}\"", "x".repeat(MAX_STATUS_BYTES)), "1e999".into()]
    {
        let json = split("{}").replace(r#"{"state":"Programmed"}"#, &status);
        assert_eq!(read(&splits(), &json).unwrap().object.get("status"), None);
    }
}

#[test]
fn a_group_has_its_matches_in_the_spec_or_at_the_top() {
    let matches = r#"[{"name":"m","headers":{"h":"v"}}]"#;
    for part in [format!(r#""spec":{{"matches":{matches}}}"#), format!(r#""matches":{matches}"#)] {
        let json = format!(
            r#"{{"apiVersion":"specs.smi-spec.io/v1alpha4","kind":"HTTPRouteGroup","metadata":{{"name":"g","namespace":"ns"}},{part}}}"#
        );
        let kept = read(&HttpRouteGroups, &json).unwrap();
        assert!(kept.group.is_ok(), "{:?}", kept.group);
    }
    let deep = format!(
        r#"{{"metadata":{{"name":"g","namespace":"ns"}},"spec":{{"matches":[{{"headers":{}1{}}}]}}}}"#,
        r#"{"a":"#.repeat(130),
        "}".repeat(130)
    );
    assert_eq!(why(read(&HttpRouteGroups, &deep)), "spec: nests more than 127 levels deep");
    let object = RawObject::new(raw(&deep).unwrap()).unwrap();
    let kept = HttpRouteGroups.unreadable(&object, "why".into()).unwrap();
    assert_eq!((kept.key.as_str(), kept.group.as_ref().unwrap_err().as_str()), ("ns/g", "why"));
}

#[test]
fn other_kinds_keep_only_what_planning_uses() {
    let service = r#"{"metadata":{"name":"a","namespace":"ns","annotations":{"x":"y","networking.istio.io/exportTo":"."},
        "labels":{"a":"b"}},"spec":{"type":"ClusterIP","clusterIP":"None","selector":{"a":"b"},"ports":[
        {"port":80,"protocol":"TCP","name":"http","appProtocol":"http","targetPort":8080},{"port":[[]]},7]},"status":{}}"#;
    let kept = json!({"metadata": {"name": "a", "namespace": "ns", "annotations": {"networking.istio.io/exportTo": "."}},
        "spec": {"type": "ClusterIP", "clusterIP": "None",
        "ports": [{"port": 80, "protocol": "TCP", "name": "http", "appProtocol": "http"}, {}, {}]}});
    assert_eq!(*read(&Services, service).unwrap(), kept);
    let rule = r#"{"metadata":{"name":"a","namespace":"ns"},"spec":{"hosts":["b",{}],"gateways":["mesh"],"http":[{"x":[1]},{}]}}"#;
    let kept = json!({"hosts": ["b"], "gateways": ["mesh"], "http": [{}]});
    assert_eq!(read(&VirtualServices, rule).unwrap()["spec"], kept);
    let rule = r#"{"metadata":{"name":"a"},"spec":{"host":"b","subsets":[{}],"trafficPolicy":{
        "connectionPool":{},"loadBalancer":{"simple":"X","consistentHash":{"httpHeaderName":"h","minimumRingSize":1}},
        "portLevelSettings":[{"port":{}},{"loadBalancer":{"consistentHash":{"useSourceIp":true}}}]}}}"#;
    let hash = |by: Value| json!({"loadBalancer": {"consistentHash": by}});
    let mut policy = hash(json!({"httpHeaderName": "h"}));
    policy["portLevelSettings"] = json!([hash(json!({}))]);
    assert_eq!(read(&DestinationRules, rule).unwrap()["spec"], json!({"host": "b", "trafficPolicy": policy}));
    let sidecar = r#"{"metadata":{"name":"a"},"spec":{"egress":[{"hosts":["./*",1],"port":{}},{}],"ingress":[{}]}}"#;
    assert_eq!(read(&Sidecars, sidecar).unwrap()["spec"], json!({"egress": [{"hosts": ["./*", 1]}, {"hosts": []}]}));
    for (label, is_excluded) in [("\"true\"", true), ("true", false), ("\"no\"", false), ("[[]]", false)] {
        let namespace = format!(r#"{{"metadata":{{"name":"ns","labels":{{"x/y":{label}}}}}}}"#);
        let kept = read(&Namespaces { exclude_label: "x/y" }, &namespace).unwrap();
        assert_eq!(kept, Namespace { name: "ns".into(), is_excluded });
    }
}

#[test]
fn large_parts_that_are_not_used_cost_nothing() {
    let service = format!(r#"{{"metadata":{{"name":"a","annotations":{{"x":"{}"}}}}}}"#, "x".repeat(1_500_000));
    assert_eq!(*read(&Services, &service).unwrap(), json!({"metadata": {"name": "a"}}));
    let hosts = vec!["\"a-long-host.example.com\""; 10_000].join(",");
    let rule = format!(r#"{{"metadata":{{"name":"a"}},"spec":{{"hosts":[{hosts}]}}}}"#);
    assert!(why(read(&VirtualServices, &rule)).ends_with("the limit for a VirtualService is 128 KiB"));
}

/// Writes random JSON, often with the names that are read, at times deeper than can be parsed.
fn write_json(rng: &mut Rng, depth: usize, json: &mut String) {
    const NAMES: [&str; 22] = [
        "spec",
        "status",
        "metadata",
        "annotations",
        "labels",
        "matches",
        "ports",
        "hosts",
        "http",
        "egress",
        "trafficPolicy",
        "loadBalancer",
        "consistentHash",
        "portLevelSettings",
        "name",
        "namespace",
        "generation",
        "traffic-split/mirror",
        "networking.istio.io/exportTo",
        "x/y",
        "\\ud800",
        "n\\u0061me",
    ];
    const SCALARS: [&str; 14] = [
        "null",
        "true",
        "0",
        "-0",
        "1e999",
        "-1E-999",
        "18446744073709551616",
        "0.1",
        "\"\"",
        "\"true\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800x\"",
        "\"\\u0000\\n\u{202e}ü\"",
        "\"spec\"",
    ];
    match rng.usize(..if depth == 0 { 1 } else { 4 }) {
        0 => json.push_str(SCALARS[rng.usize(..SCALARS.len())]),
        1 if rng.usize(..20) == 0 => {
            let levels = rng.usize(100..300);
            json.push_str(&"[".repeat(levels));
            json.push_str(&"]".repeat(levels));
        }
        1 => {
            json.push('[');
            for index in 0..rng.usize(..4) {
                json.push_str(if index > 0 { ", " } else { "" });
                write_json(rng, depth - 1, json);
            }
            json.push(']');
        }
        _ => {
            json.push('{');
            for index in 0..rng.usize(..5) {
                let name = NAMES[rng.usize(..NAMES.len())];
                write!(json, "{}\"{name}\": ", if index > 0 { "," } else { "" }).unwrap();
                write_json(rng, depth - 1, json);
            }
            json.push('}');
        }
    }
}

fn object(rng: &mut Rng) -> String {
    let mut json = String::from("{");
    for name in ["apiVersion", "kind", "spec", "status", "matches", "spec"] {
        if rng.bool() {
            write!(json, "\"{name}\":").unwrap();
            write_json(rng, 5, &mut json);
            json.push(',');
        }
    }
    json.push_str("\"metadata\":{");
    for name in ["namespace", "labels", "annotations", "name", "uid", "resourceVersion", "creationTimestamp"] {
        if rng.bool() {
            write!(json, "\"{name}\":").unwrap();
            write_json(rng, 5, &mut json);
            json.push(',');
        }
    }
    json + "\"name\":\"it\"}}"
}

/// Returns whether the store keeps the object: its fields, or the error that makes the object unreadable.
fn is_kept<K: Kind>(kind: &K, object: &RawObject<'_>) -> bool {
    match kind.read(object, K::MAX_NAMESPACE_BYTES) {
        Ok(_) => true,
        Err(NotKept::Unreadable(why)) => kind.unreadable(object, why).is_some(),
        Err(NotKept::NoRoom) => panic!("there is room"),
    }
}

#[test]
fn every_object_with_a_name_is_kept() {
    let mut rng = Rng::with_seed(11);
    for case in 0..20_000 {
        let json = object(&mut rng);
        let object = raw(&json).ok().and_then(RawObject::new);
        let object = object.unwrap_or_else(|| panic!("case {case} is not read: {json}"));
        assert_eq!(object.name, "it");
        let kept = [
            is_kept(&splits(), &object),
            is_kept(&HttpRouteGroups, &object),
            is_kept(&Services, &object),
            is_kept(&VirtualServices, &object),
            is_kept(&DestinationRules, &object),
            is_kept(&Sidecars, &object),
            is_kept(&Namespaces { exclude_label: "x/y" }, &object),
        ];
        assert_eq!(kept, [true; 7], "case {case}: {json}");
    }
}
