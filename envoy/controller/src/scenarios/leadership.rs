//! One replica writes: the holder of the Lease.

use crate::testing::objects::split;
use crate::testing::{MockApiServer, Replica, settle};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LEASE: &str = "traffic-split-system/traffic-split-controller";

fn holder(server: &MockApiServer) -> String {
    let lease = server.get("leases", LEASE).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Gives the Lease to another replica, as if this replica had not renewed the Lease in time.
fn take_lease(server: &MockApiServer) {
    server.change("leases", LEASE, |lease| {
        lease["spec"]["holderIdentity"] = json!("other");
        lease["spec"]["renewTime"] = json!("2026-02-01T00:00:00.000000Z");
    });
}

fn change(server: &MockApiServer, weight: u32) {
    server.put(&split("ns", "a", &[("v1", weight), ("v2", 50)]));
}

#[tokio::test(start_paused = true)]
async fn only_the_lease_holder_writes() {
    let server = MockApiServer::with_split();
    let leader = Replica::start(&server, "a").await;
    let standby = Replica::start(&server, "b").await;
    assert!(leader.leads() && !standby.leads());
    change(&server, 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(holder(&server), "a");
    assert_eq!(
        (standby.metrics.passes.get(), standby.metrics.filter_writes.get(), standby.metrics.status_writes.get()),
        (0, 0, 0)
    );
    assert_eq!(server.weights("ns/a"), "v1 1, v2 50");
}

#[tokio::test(start_paused = true)]
async fn stopped_leader_releases_the_lease_to_the_standby() {
    let server = MockApiServer::with_split();
    let leader = Replica::start(&server, "a").await;
    let standby = Replica::start(&server, "b").await;
    leader.stop().await.unwrap();
    assert_eq!(holder(&server), "");
    change(&server, 1);
    sleep(Duration::from_secs(3)).await;
    assert!(standby.leads());
    assert_eq!(holder(&server), "b");
    assert_eq!(server.weights("ns/a"), "v1 1, v2 50");
    assert_eq!(server.get("leases", LEASE).unwrap()["spec"]["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn stopped_standby_leaves_the_lease_alone() {
    let server = MockApiServer::with_split();
    let _leader = Replica::start(&server, "a").await;
    Replica::start(&server, "b").await.stop().await.unwrap();
    assert_eq!(holder(&server), "a");
}

#[tokio::test(start_paused = true)]
async fn standby_leads_after_the_lease_expires_and_not_before() {
    let server = MockApiServer::with_split();
    let leader = Replica::start(&server, "a").await;
    let standby = Replica::start(&server, "b").await;
    leader.cut_off();
    let begun = Instant::now();
    change(&server, 1);
    while !standby.leads() {
        sleep(Duration::from_millis(100)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert!((7.0..=13.0).contains(&seconds), "{seconds} s; the Lease expires 9 s after its last renewal");
    settle().await;
    assert_eq!(holder(&server), "b");
    assert_eq!(server.weights("ns/a"), "v1 1, v2 50");
    assert!(!leader.leads());
}

#[tokio::test(start_paused = true)]
async fn leader_that_lost_the_lease_writes_nothing() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    // The replica last renewed the Lease less than two seconds ago, so it does not know yet that it has lost the Lease.
    take_lease(&server);
    let writes = server.writes();
    change(&server, 1);
    sleep(Duration::from_millis(400)).await;
    assert!(server.count("get leases") > 0 && server.writes() == writes, "{:?}", server.writes());
    sleep(Duration::from_secs(5)).await;
    assert!(!replica.leads());
    assert_eq!(server.writes(), writes);
    assert_eq!(holder(&server), "other");
}

#[tokio::test(start_paused = true)]
async fn lost_leader_leads_again_after_the_others_lease_expires() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    take_lease(&server);
    change(&server, 1);
    sleep(Duration::from_secs(4)).await;
    assert!(!replica.leads());
    assert_eq!(replica.metrics.splits.get(), 0, "the leader reports the gauges");
    sleep(Duration::from_secs(12)).await;
    assert!(replica.leads());
    assert_eq!((holder(&server).as_str(), server.weights("ns/a").as_str()), ("a", "v1 1, v2 50"));
    assert_eq!(replica.metrics.splits.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn pass_that_waits_for_an_answer_ends_with_leadership() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.hang("update envoyfilters");
    change(&server, 1);
    settle().await;
    take_lease(&server);
    sleep(Duration::from_secs(4)).await;
    assert!(!replica.leads());
    server.heal();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(server.count("update envoyfilters"), 1, "no write after the Lease is lost");
}

#[tokio::test(start_paused = true)]
async fn status_writes_in_flight_end_with_leadership() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.hang("patch trafficsplits/status");
    change(&server, 1);
    settle().await;
    take_lease(&server);
    sleep(Duration::from_secs(4)).await;
    assert!(!replica.leads());
    let statuses = replica.metrics.status_writes.get();
    server.heal();
    // The others' Lease expires.
    sleep(Duration::from_secs(12)).await;
    assert!(replica.leads());
    assert_eq!(server.split("ns/a")["status"]["backends"], "v1 1, v2 50", "the next leader writes the status");
    assert_eq!(replica.metrics.status_writes.get(), statuses + 1);
}

#[tokio::test(start_paused = true)]
async fn deleted_lease_is_created_anew_by_the_leader() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.delete("leases", LEASE);
    sleep(Duration::from_secs(3)).await;
    assert!(replica.leads());
    assert_eq!(holder(&server), "a");
    change(&server, 1);
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 1, v2 50");
}

#[tokio::test(start_paused = true)]
async fn leader_that_cannot_renew_stops_before_the_lease_expires() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.hang("get leases");
    let begun = Instant::now();
    while replica.leads() {
        sleep(Duration::from_millis(100)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert!((4.0..9.0).contains(&seconds), "{seconds} s");
    let writes = server.writes();
    change(&server, 1);
    settle().await;
    assert_eq!(server.writes(), writes);
    server.heal();
    sleep(Duration::from_secs(4)).await;
    assert!(replica.leads());
    assert_eq!(server.weights("ns/a"), "v1 1, v2 50");
}

#[tokio::test(start_paused = true)]
async fn failed_renewals_shorter_than_the_deadline_keep_leadership() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.refuse("update leases", 500, "unavailable");
    sleep(Duration::from_secs(3)).await;
    server.heal();
    sleep(Duration::from_secs(1)).await;
    assert!(replica.leads());
    assert!(server.count("update leases") > 3, "the renewal is retried");
    assert_eq!(holder(&server), "a");
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_together_have_one_leader() {
    let server = MockApiServer::with_split();
    let replicas: Vec<_> = ["a", "b", "c"].map(|name| Replica::begin(&server, name)).into_iter().collect();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(replicas.iter().filter(|replica| replica.leads()).count(), 1);
    assert_eq!(server.writes().iter().filter(|write| write.contains("envoyfilters")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn lease_taken_in_between_is_not_overwritten() {
    let server = MockApiServer::with_split();
    server.before_next("create leases", |server| {
        let metadata = json!({"namespace": "traffic-split-system", "name": "traffic-split-controller"});
        let spec = json!({"holderIdentity": "other", "leaseDurationSeconds": 9});
        server.put(&json!({"kind": "Lease", "metadata": metadata, "spec": spec}));
    });
    let replica = Replica::start(&server, "a").await;
    assert_eq!(holder(&server), "other");
    assert!(!replica.leads());
    assert!(server.writes().is_empty(), "{:?}", server.writes());
}

#[tokio::test(start_paused = true)]
async fn forbidden_lease_ends_the_start_with_an_error() {
    let server = MockApiServer::with_split();
    server.refuse("get leases", 403, "leases is forbidden");
    let ended = Replica::begin(&server, "a").ended().await;
    assert_eq!(ended.unwrap_err(), "Lease traffic-split-system/traffic-split-controller: leases is forbidden (403)");
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_five_seconds_for_an_api_server_that_hangs() {
    let server = MockApiServer::with_split();
    let replica = Replica::start(&server, "a").await;
    server.hang("");
    let begun = Instant::now();
    replica.stop().await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 5);
}
