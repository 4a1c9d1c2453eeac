//! The API server refuses or fails a request: statuses report it, and the controller retries.

use crate::testing::objects::{FILTER, split};
use crate::testing::{Logs, MockApiServer, Replica, settle};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

const DENIED: &str = "admission webhook denied the request";

/// Starts a replica, lets the API server refuse the EnvoyFilter, and changes the split.
async fn refused() -> (MockApiServer, Replica) {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.refuse("update envoyfilters", 422, DENIED);
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    (server, replica)
}

#[tokio::test(start_paused = true)]
async fn refused_envoyfilter_sets_programmed_false_with_its_message() {
    let (server, _replica) = refused().await;
    let programmed = server.condition("ns/a", "Programmed");
    assert_eq!((&programmed["status"], &programmed["reason"]), (&json!("False"), &json!("Refused")));
    assert!(programmed["message"].as_str().unwrap().contains(DENIED), "{programmed}");
    assert_eq!(server.condition("ns/a", "Accepted")["status"], "True");
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 100, v2 0", "the served version");
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0", "proxies keep the last good version");
}

#[tokio::test(start_paused = true)]
async fn repeated_refusal_is_reported_by_one_event_and_status() {
    let logs = Logs::collect();
    let (server, replica) = refused().await;
    let statuses = server.count("patch trafficsplits/status");
    sleep(Duration::from_secs(60)).await;
    assert!(server.count("update envoyfilters") > 10, "the controller retries");
    assert_eq!(server.count("patch trafficsplits/status"), statuses);
    let events = server.events();
    assert_eq!(events.iter().filter(|event| event.starts_with("Warning Refused ")).count(), 1, "{events:?}");
    let failures = replica.metrics.failed_passes.get();
    let lines = logs.with("\"level\":\"ERROR\"");
    assert!(lines.len() < 6 && failures > 10, "{failures} failures in {} lines", lines.len());
}

#[tokio::test(start_paused = true)]
async fn failed_passes_are_retried_with_backoff_up_to_five_seconds() {
    let (server, _replica) = refused().await;
    sleep(Duration::from_secs(30)).await;
    let times = server.times("update envoyfilters");
    let waits: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits[..6], [500, 1000, 2000, 4000, 5000, 5000]);
}

#[tokio::test(start_paused = true)]
async fn accepted_envoyfilter_ends_the_refusal() {
    let (server, _replica) = refused().await;
    server.heal();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(server.weights("ns/a"), "v1 50, v2 50");
    assert_eq!(server.condition("ns/a", "Programmed")["status"], "True");
    assert_eq!(server.split("ns/a")["status"]["state"], "Programmed");
}

#[tokio::test(start_paused = true)]
async fn new_change_is_tried_at_once_during_a_refusal() {
    let (server, _replica) = refused().await;
    sleep(Duration::from_secs(30)).await;
    server.heal();
    server.put(&split("ns", "a", &[("v1", 10), ("v2", 90)]));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(server.weights("ns/a"), "v1 10, v2 90");
}

#[tokio::test(start_paused = true)]
async fn temporary_server_error_is_retried_and_not_reported() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.refuse_once("update envoyfilters", 503, "unavailable");
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 50, v2 50");
    assert_eq!(server.condition("ns/a", "Programmed")["status"], "True");
    assert_eq!(replica.metrics.failed_passes.get(), 1);
    assert!(server.events().iter().all(|event| event.starts_with("Normal ")), "{:?}", server.events());
}

#[tokio::test(start_paused = true)]
async fn server_error_that_lasts_is_reported_in_statuses() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.refuse("update envoyfilters", 503, "etcd is down");
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(server.count("update envoyfilters"), 3);
    assert_eq!(server.condition("ns/a", "Programmed")["status"], "True", "not after three failures");
    sleep(Duration::from_secs(3)).await;
    let programmed = server.condition("ns/a", "Programmed");
    assert_eq!(programmed["reason"], "Refused");
    assert!(programmed["message"].as_str().unwrap().contains("etcd is down"), "{programmed}");
}

#[tokio::test(start_paused = true)]
async fn forbidden_create_names_the_manifests_to_apply() {
    let server = MockApiServer::with_split();
    server.refuse("create envoyfilters", 403, "envoyfilters is forbidden");
    let _replica = Replica::start(&server, "a").await;
    let programmed = server.condition("ns/a", "Programmed");
    let message = programmed["message"].as_str().unwrap();
    assert!(message.contains("EnvoyFilter istio-system/traffic-split does not exist"), "{message}");
    assert!(message.contains("kubectl apply -k envoy/manifests"), "{message}");
    assert!(message.contains("envoyfilters is forbidden"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn forbidden_read_is_reported_with_the_watched_version() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.refuse("get envoyfilters", 403, "may not get envoyfilters");
    server.change("envoyfilters", FILTER, |filter| filter["spec"]["priority"] = json!(7));
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    let programmed = server.condition("ns/a", "Programmed");
    assert_eq!(programmed["reason"], "Refused");
    assert!(programmed["message"].as_str().unwrap().contains("may not get envoyfilters"), "{programmed}");
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 100, v2 0", "the watched version");
    assert_eq!(server.count("update envoyfilters"), 0);
}

#[tokio::test(start_paused = true)]
async fn watch_that_failed_continues_and_loses_no_change() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.refuse("watch trafficsplits", 500, "unavailable");
    // The API server ends the current watch after 15 seconds.
    sleep(Duration::from_secs(20)).await;
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
    assert!(replica.metrics.watch_failures.get() > 2);
    server.heal();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(server.weights("ns/a"), "v1 50, v2 50");
}
