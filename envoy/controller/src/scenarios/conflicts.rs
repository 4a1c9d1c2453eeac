//! Another client writes between the controller's read and its write.

use crate::testing::objects::{FILTER, split};
use crate::testing::{MockApiServer, Replica, settle};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn conflict_of_the_envoyfilter_is_resolved_by_another_pass() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.before_next("update envoyfilters", |server| {
        server.change("envoyfilters", FILTER, |filter| filter["metadata"]["labels"] = json!({"owner": "other"}));
    });
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.count("update envoyfilters"), 2);
    assert_eq!(server.weights("ns/a"), "v1 50, v2 50");
    assert_eq!(server.get("envoyfilters", FILTER).unwrap()["metadata"]["labels"], json!({"owner": "other"}));
    assert_eq!(replica.metrics.failed_passes.get(), 1);
    assert_eq!(replica.metrics.filter_writes.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn conflict_that_lasts_is_no_refusal() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.refuse("update envoyfilters", 409, "modified");
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert!(replica.metrics.failed_passes.get() > 5);
    assert_eq!(server.condition("ns/a", "Programmed")["reason"], "Programmed");
}

#[tokio::test(start_paused = true)]
async fn failed_write_is_planned_anew_with_the_others_version() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.before_next("update envoyfilters", |server| server.delete("envoyfilters", FILTER));
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 50, v2 50");
    assert_eq!(server.count("create envoyfilters"), 2);
}

#[tokio::test(start_paused = true)]
async fn two_clients_that_create_the_envoyfilter_end_with_one() {
    let server = MockApiServer::with_split();
    server.before_next("create envoyfilters", |server| {
        let metadata = json!({"namespace": "istio-system", "name": "traffic-split"});
        server.put(&json!({"kind": "EnvoyFilter", "metadata": metadata, "spec": {"priority": 1}}));
    });
    let _replica = Replica::start(&server, "a").await;
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
    assert!(server.get("envoyfilters", FILTER).unwrap()["spec"].get("priority").is_none());
}

#[tokio::test(start_paused = true)]
async fn conflict_of_a_status_is_retried_with_the_new_version() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.before_next("patch trafficsplits/status ns/a", |server| {
        server.put(&split("ns", "a", &[("v1", 10), ("v2", 90)]));
    });
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 10, v2 90");
    let programmed = server.condition("ns/a", "Programmed");
    assert_eq!(programmed["observedGeneration"], 3);
    assert_eq!(replica.metrics.status_writes.get(), 2, "the status of the old version is not written");
    assert_eq!(replica.metrics.failed_passes.get(), 0, "a conflict is no failure");
}

#[tokio::test(start_paused = true)]
async fn status_conflict_without_a_visible_change_is_retried() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    // The watch reports no change of metadata that planning does not use.
    server.before_next("patch trafficsplits/status ns/a", |server| {
        server.change("trafficsplits", "ns/a", |split| split["metadata"]["labels"] = json!({"team": "x"}));
    });
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 50, v2 50");
}

#[tokio::test(start_paused = true)]
async fn split_deleted_before_its_status_write_is_no_failure() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.before_next("patch trafficsplits/status ns/a", |server| server.delete("trafficsplits", "ns/a"));
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(replica.metrics.failed_passes.get(), 0);
    assert_eq!(server.weights("ns/a"), "");
    assert_eq!(server.count("patch trafficsplits/status ns/a"), 2, "the first, and the one that found no object");
}

#[tokio::test(start_paused = true)]
async fn missing_status_subresource_is_a_failure() {
    let server = MockApiServer::with_split();
    server.refuse("patch trafficsplits/status", 404, "the server could not find the requested resource");
    let replica = Replica::start(&server, "a").await;
    assert!(replica.metrics.failed_passes.get() > 0);
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0", "the EnvoyFilter is written nevertheless");
    server.heal();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(server.split("ns/a")["status"]["state"], "Programmed");
}
