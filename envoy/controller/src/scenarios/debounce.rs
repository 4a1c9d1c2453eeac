//! When changes start a pass: after a pause, within a bounded delay, and within each namespace's budget.

use crate::testing::objects::split;
use crate::testing::{MockApiServer, Replica, settle};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Changes the weights of the split `a` of a namespace.
fn change(server: &MockApiServer, namespace: &str, weight: u32) {
    server.put(&split(namespace, "a", &[("v1", weight), ("v2", 50)]));
}

#[tokio::test(start_paused = true)]
async fn changes_within_a_pause_start_one_pass() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    let passes = replica.metrics.passes.get();
    for weight in 1..=5 {
        change(&server, "ns", weight);
        sleep(Duration::from_millis(30)).await;
    }
    settle().await;
    assert_eq!(replica.metrics.passes.get(), passes + 1);
    assert_eq!(server.count("update envoyfilters"), 1);
    assert_eq!(server.weights("ns/a"), "v1 5, v2 50");
}

#[tokio::test(start_paused = true)]
async fn single_change_is_written_after_50_milliseconds() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let begun = Instant::now();
    change(&server, "ns", 1);
    settle().await;
    assert_eq!(server.times("update envoyfilters")[0] - begun, Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn continuous_changes_are_written_within_the_maximum_delay() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let begun = Instant::now();
    for weight in 1..=15 {
        change(&server, "ns", weight);
        sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(server.times("update envoyfilters")[0] - begun, Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn own_writes_start_no_pass() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    let passes = replica.metrics.passes.get();
    change(&server, "ns", 1);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 1, v2 50", "the status has been written");
    assert_eq!(replica.metrics.passes.get(), passes + 1);
}

#[tokio::test(start_paused = true)]
async fn changes_that_planning_ignores_start_no_pass() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    let passes = replica.metrics.passes.get();
    server.change("trafficsplits", "ns/a", |split| split["metadata"]["labels"] = serde_json::json!({"team": "x"}));
    server.change("services", "ns/v1", |service| service["spec"]["selector"] = serde_json::json!({"app": "x"}));
    settle().await;
    assert_eq!(replica.metrics.passes.get(), passes);
}

#[tokio::test(start_paused = true)]
async fn namespace_above_its_budget_waits_for_a_refill() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    // More changes than the budget allows. Each is late enough for a separate pass, and none coincides with a refill.
    let interval = Duration::from_millis(637);
    for weight in 1..=30 {
        change(&server, "ns", weight);
        sleep(interval).await;
    }
    let passes = replica.metrics.passes.get();
    for weight in 1..=100 {
        change(&server, "ns", weight);
        sleep(interval).await;
    }
    let in_64_seconds = replica.metrics.passes.get() - passes;
    assert!((12..=13).contains(&in_64_seconds), "{in_64_seconds} passes; the budget is one per five seconds");
    sleep(Duration::from_secs(6)).await;
    assert_eq!(server.weights("ns/a"), "v1 100, v2 50", "the last change is not lost");
}

#[tokio::test(start_paused = true)]
async fn change_of_another_namespace_waits_for_no_refill() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    for weight in 1..=40 {
        change(&server, "ns", weight);
        sleep(Duration::from_millis(150)).await;
    }
    change(&server, "other", 7);
    sleep(Duration::from_millis(700)).await;
    assert_eq!(server.weights("other/a"), "v1 7, v2 50");
    assert_eq!(server.weights("ns/a"), "v1 40, v2 50", "each pass looks at all objects");
}
