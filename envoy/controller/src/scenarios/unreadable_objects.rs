//! An object that cannot be decoded affects no other object.

use crate::testing::objects::{nested, service, split};
use crate::testing::{MockApiServer, Replica, settle};
use serde_json::json;

const TOO_DEEP: &str = "spec: nests more than 127 levels deep";

#[tokio::test(start_paused = true)]
async fn undecodable_split_is_reported_and_others_are_served() {
    let server = MockApiServer::with_split();
    let mut deep = split("ns", "deep", &[]);
    deep["spec"] = nested(200);
    server.put(&deep);
    let _replica = Replica::start(&server, "a").await;
    let accepted = server.condition("ns/deep", "Accepted");
    assert_eq!((&accepted["status"], &accepted["message"]), (&json!("False"), &json!(TOO_DEEP)));
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
}

#[tokio::test(start_paused = true)]
async fn split_that_becomes_undecodable_keeps_its_last_good_version() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.change("trafficsplits", "ns/a", |split| split["spec"] = nested(200));
    settle().await;
    assert_eq!(server.condition("ns/a", "Accepted")["message"], TOO_DEEP);
    assert_eq!(server.condition("ns/a", "Programmed")["reason"], "LastGoodVersion");
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
    server.put(&split("ns", "a", &[("v1", 1), ("v2", 1)]));
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 1, v2 1");
    assert_eq!(server.condition("ns/a", "Accepted")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn too_large_split_is_reported_with_its_size_and_limit() {
    let server = MockApiServer::with_split();
    let mut large = split("ns", "large", &[("v1", 1)]);
    large["spec"]["x"] = "x".repeat(200_000).into();
    server.put(&large);
    let _replica = Replica::start(&server, "a").await;
    let accepted = server.condition("ns/large", "Accepted");
    assert_eq!(accepted["message"], "the object has 196 KiB of JSON; the limit for a TrafficSplit is 128 KiB");
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
}

#[tokio::test(start_paused = true)]
async fn undecodable_parts_that_are_not_used_are_ignored() {
    let server = MockApiServer::with_split();
    let mut deep = service("ns", "v2");
    deep["spec"]["selector"] = nested(200);
    deep["status"] = nested(200);
    server.put(&deep);
    let _replica = Replica::start(&server, "a").await;
    assert_eq!(server.condition("ns/a", "ResolvedRefs")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn envoyfilter_without_a_readable_configuration_is_replaced() {
    let server = MockApiServer::with_split();
    let metadata = json!({"namespace": "istio-system", "name": "traffic-split"});
    server.put(&json!({"kind": "EnvoyFilter", "metadata": metadata, "spec": {"configPatches": "none"}}));
    let _replica = Replica::start(&server, "a").await;
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
}
