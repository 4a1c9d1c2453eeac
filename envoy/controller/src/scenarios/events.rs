//! An Event reports each change of a status once.

use crate::testing::objects::split;
use crate::testing::{MockApiServer, Replica, settle};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn programmed_split_gets_one_event_with_its_weights() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(server.events().len(), 1, "{:?}", server.events());
    assert!(server.events()[0].starts_with("Normal Programmed "), "{:?}", server.events());
    assert!(server.events()[0].ends_with("v1 100, v2 0"), "{:?}", server.events());
}

#[tokio::test(start_paused = true)]
async fn invalid_split_gets_a_warning_with_the_field() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.put(&split("ns", "a", &[("v1", 0)]));
    settle().await;
    let warnings: Vec<_> = server.events().into_iter().filter(|event| event.starts_with("Warning Invalid ")).collect();
    assert_eq!(warnings.len(), 1, "{:?}", server.events());
    assert!(warnings[0].contains("spec.backends"), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn event_names_the_split_and_the_controller() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let event = &server.all("events")[0];
    let regarding = &event["regarding"];
    assert_eq!(
        (&regarding["kind"], &regarding["namespace"], &regarding["name"]),
        (&"TrafficSplit".into(), &"ns".into(), &"a".into())
    );
    assert_eq!(regarding["uid"], server.split("ns/a")["metadata"]["uid"]);
    assert_eq!(event["reportingController"], "traffic-split-controller");
    assert_eq!(event["reportingInstance"], "a");
}

#[tokio::test(start_paused = true)]
async fn next_leader_repeats_no_event() {
    let server = MockApiServer::with_split();
    Replica::start(&server, "a").await.stop().await.unwrap();
    let _replica = Replica::start(&server, "b").await;
    assert_eq!(server.events().len(), 1, "{:?}", server.events());
}

#[tokio::test(start_paused = true)]
async fn changed_weights_alone_publish_no_event() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 50, v2 50");
    assert_eq!(server.events().len(), 1, "{:?}", server.events());
}

#[tokio::test(start_paused = true)]
async fn forbidden_event_fails_neither_pass_nor_status() {
    let server = MockApiServer::with_split();
    server.refuse("create events", 403, "events is forbidden");
    let replica = Replica::start(&server, "a").await;
    assert_eq!(server.split("ns/a")["status"]["state"], "Programmed");
    assert_eq!(replica.metrics.failed_passes.get(), 0);
}
