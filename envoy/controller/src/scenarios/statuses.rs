//! Each TrafficSplit's status reports what proxies have of it.

use crate::testing::objects::{condition, service, split};
use crate::testing::{MockApiServer, Replica, settle};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn served_split_is_programmed_with_its_weights_and_generation() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let split = server.split("ns/a");
    assert_eq!(
        (&split["status"]["state"], &split["status"]["backends"]),
        (&json!("Programmed"), &json!("v1 100, v2 0"))
    );
    for name in ["Accepted", "Programmed", "ResolvedRefs", "RulesApply", "Reachable"] {
        let condition = condition(&split, name);
        assert_eq!(
            (&condition["status"], &condition["observedGeneration"]),
            (&json!("True"), &json!(1)),
            "{condition}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn status_keeps_the_transition_time_until_it_changes() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let since = |name: &str| server.condition("ns/a", name)["lastTransitionTime"].clone();
    assert_eq!(since("ResolvedRefs"), "2026-01-01T00:00:00Z");
    sleep(Duration::from_secs(60)).await;
    server.put(&split("ns", "a", &[("v1", 50), ("v3", 50)]));
    settle().await;
    assert_eq!(server.condition("ns/a", "ResolvedRefs")["status"], "False", "v3 does not exist");
    assert_eq!(since("ResolvedRefs"), "2026-01-01T00:01:01Z");
    assert_eq!(since("Programmed"), "2026-01-01T00:00:00Z");
    assert_eq!(server.condition("ns/a", "Programmed")["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn invalid_split_is_reported_and_keeps_its_last_good_version() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.put(&split("ns", "a", &[("v1", 0), ("v2", 0)]));
    server.put(&split("other", "b", &[("v1", 1)]));
    settle().await;
    let accepted = server.condition("ns/a", "Accepted");
    assert_eq!((&accepted["status"], &accepted["reason"]), (&json!("False"), &json!("Invalid")));
    assert!(accepted["message"].as_str().unwrap().contains("spec.backends"), "{accepted}");
    assert_eq!(server.condition("ns/a", "Programmed")["reason"], "LastGoodVersion");
    assert_eq!(server.condition("ns/a", "Programmed")["observedGeneration"], 1, "of the version that proxies have");
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
    assert_eq!(server.weights("other/b"), "v1 1", "others are served");
}

#[tokio::test(start_paused = true)]
async fn younger_split_of_the_same_root_is_in_conflict() {
    let server = MockApiServer::with_split();
    let mut second = split("ns", "b", &[("v2", 1)]);
    second["spec"]["service"] = json!("web-a");
    server.put(&second);
    let _replica = Replica::start(&server, "a").await;
    assert_eq!(server.condition("ns/b", "Accepted")["reason"], "Conflict");
    assert_eq!((server.weights("ns/a").as_str(), server.weights("ns/b").as_str()), ("v1 100, v2 0", ""));
    server.delete("trafficsplits", "ns/a");
    settle().await;
    assert_eq!(server.condition("ns/b", "Accepted")["status"], "True");
    assert_eq!(server.weights("ns/b"), "v2 1");
}

#[tokio::test(start_paused = true)]
async fn status_changed_by_another_client_is_restored() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let status = server.split("ns/a")["status"].clone();
    server.change("trafficsplits", "ns/a", |split| split["status"] = json!({"state": "Broken"}));
    settle().await;
    let restored = server.split("ns/a")["status"].clone();
    assert_eq!((&restored["state"], &restored["backends"]), (&status["state"], &status["backends"]));
    assert_eq!(restored["conditions"].as_array().map(Vec::len), Some(5));
}

#[tokio::test(start_paused = true)]
async fn status_follows_the_services_that_a_split_names() {
    let server = MockApiServer::with_split();
    server.delete("services", "ns/v1");
    let _replica = Replica::start(&server, "a").await;
    let resolved = server.condition("ns/a", "ResolvedRefs");
    assert_eq!((&resolved["status"], &resolved["reason"]), (&json!("False"), &json!("RefNotFound")));
    assert!(resolved["message"].as_str().unwrap().contains("Service v1"), "{resolved}");
    server.put(&service("ns", "v1"));
    settle().await;
    assert_eq!(server.condition("ns/a", "ResolvedRefs")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn slow_status_writes_of_a_namespace_delay_no_other() {
    let server = MockApiServer::new();
    for number in 0..30 {
        server.put(&split("slow", &format!("s{number}"), &[("v1", 1)]));
    }
    server.put(&split("ns", "a", &[("v1", 1)]));
    server.hang("patch trafficsplits/status slow/");
    let _replica = Replica::start(&server, "a").await;
    assert_eq!(server.count("patch trafficsplits/status slow/"), 4, "at most four at a time");
    server.put(&split("ns", "a", &[("v1", 2)]));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(server.weights("ns/a"), "v1 2");
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 2");
}

#[tokio::test(start_paused = true)]
async fn failed_status_write_is_retried_and_others_are_written() {
    let server = MockApiServer::with_split();
    server.put(&split("ns", "b", &[("v1", 1)]));
    server.put(&service("ns", "web-b"));
    server.refuse("patch trafficsplits/status ns/a", 500, "unavailable");
    let replica = Replica::start(&server, "a").await;
    assert!(replica.metrics.failed_passes.get() > 0);
    assert_eq!(server.split("ns/b")["status"]["state"], "Programmed");
    assert!(server.split("ns/a").get("status").is_none());
    server.heal();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(server.split("ns/a")["status"]["state"], "Programmed");
}

#[tokio::test(start_paused = true)]
async fn gauges_count_splits_and_those_not_programmed() {
    let server = MockApiServer::with_split();
    server.put(&split("ns", "bad", &[("v1", 0)]));
    let replica = Replica::start(&server, "a").await;
    assert_eq!((replica.metrics.splits.get(), replica.metrics.not_programmed.get()), (2, 1));
    let bytes = replica.metrics.bytes.get();
    server.delete("trafficsplits", "ns/a");
    settle().await;
    assert_eq!((replica.metrics.splits.get(), replica.metrics.not_programmed.get()), (1, 1));
    assert!(replica.metrics.bytes.get() < bytes);
}
