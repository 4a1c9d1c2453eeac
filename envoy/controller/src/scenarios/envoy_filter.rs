//! The EnvoyFilter contains the configuration planned from the objects, and is written only when the configuration changes.

use crate::testing::objects::{FILTER, service, split};
use crate::testing::{MockApiServer, Replica, settle};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn first_pass_creates_the_envoyfilter() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
    let ports = |name: &str| server.served().services[&format!("ns/{name}")].ports.clone().unwrap();
    assert_eq!(ports("web-a").into_keys().collect::<Vec<_>>(), [80]);
    assert_eq!(server.count("create envoyfilters"), 1);
}

#[tokio::test(start_paused = true)]
async fn empty_cluster_gets_an_envoyfilter_without_splits() {
    let server = MockApiServer::new();
    let _replica = Replica::start(&server, "a").await;
    assert!(server.served().traffic_splits.is_empty());
    assert_eq!(server.writes(), ["create envoyfilters istio-system/traffic-split"]);
}

#[tokio::test(start_paused = true)]
async fn changed_weights_are_written_once() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 50, v2 50");
    assert_eq!(server.count("update envoyfilters"), 1);
    assert_eq!(replica.metrics.filter_writes.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn unchanged_cluster_gets_no_writes() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    let (writes, passes) = (server.writes(), replica.metrics.passes.get());
    sleep(Duration::from_secs(2 * 300 + 10)).await;
    assert_eq!(server.writes(), writes);
    assert_eq!(replica.metrics.passes.get(), passes + 2, "a pass runs every five minutes");
}

#[tokio::test(start_paused = true)]
async fn restarted_controller_writes_nothing_if_nothing_changed() {
    let server = MockApiServer::with_split();
    Replica::start(&server, "a").await.stop().await.unwrap();
    let writes = server.writes();
    let replica = Replica::start(&server, "b").await;
    assert!(replica.leads());
    assert_eq!(server.writes(), writes);
}

#[tokio::test(start_paused = true)]
async fn deleted_split_leaves_the_envoyfilter() {
    let server = MockApiServer::with_split();
    server.put(&split("other", "b", &[("v1", 1)]));
    let _replica = Replica::start(&server, "a").await;
    server.delete("trafficsplits", "ns/a");
    settle().await;
    assert_eq!(server.weights("ns/a"), "");
    assert_eq!(server.weights("other/b"), "v1 1");
}

#[tokio::test(start_paused = true)]
async fn created_service_reaches_the_envoyfilter() {
    let server = MockApiServer::with_split();
    server.put(&split("other", "b", &[("v1", 1)]));
    let _replica = Replica::start(&server, "a").await;
    assert!(!server.served().services.contains_key("other/web-b"));
    server.put(&service("other", "web-b"));
    settle().await;
    assert!(server.served().services.contains_key("other/web-b"));
}

#[tokio::test(start_paused = true)]
async fn labelled_namespace_is_excluded_and_included_again() {
    let server = MockApiServer::with_split();
    let namespace = |labels| json!({"kind": "Namespace", "metadata": {"name": "batch", "labels": labels}});
    server.put(&namespace(json!({"traffic-split/exclude": "true"})));
    let _replica = Replica::start(&server, "a").await;
    assert_eq!(server.served().excluded_namespaces, ["batch"]);
    server.put(&namespace(json!({})));
    settle().await;
    assert!(server.served().excluded_namespaces.is_empty());
}

#[tokio::test(start_paused = true)]
async fn fields_set_by_other_clients_are_removed() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.change("envoyfilters", FILTER, |filter| {
        filter["spec"]["workloadSelector"] = json!({"labels": {"app": "x"}});
        filter["metadata"]["labels"] = json!({"owner": "other"});
    });
    settle().await;
    let filter = server.get("envoyfilters", FILTER).unwrap();
    assert!(filter["spec"].get("workloadSelector").is_none(), "{filter}");
    assert_eq!(filter["metadata"]["labels"], json!({"owner": "other"}), "metadata belongs to its author");
}

#[tokio::test(start_paused = true)]
async fn deleted_envoyfilter_is_created_anew() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    server.delete("envoyfilters", FILTER);
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
}

#[tokio::test(start_paused = true)]
async fn envoyfilter_writes_are_half_a_second_apart() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    for weight in 1..=8 {
        server.put(&split("ns", "a", &[("v1", weight), ("v2", 50)]));
        sleep(Duration::from_millis(200)).await;
    }
    settle().await;
    let times = server.times("update envoyfilters");
    assert!(times.len() >= 3, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(500)), "{times:?}");
    assert_eq!(server.weights("ns/a"), "v1 8, v2 50", "the last change is written");
}
