//! When proxies start another VM.

use crate::testing::objects::split;
use crate::testing::{MockApiServer, Replica, settle};
use std::time::Duration;
use tokio::time::sleep;

/// Renames the second backend, which changes more than weights.
async fn rename_backend(server: &MockApiServer, number: u32) {
    server.put(&split("ns", "a", &[("v1", 50), (&format!("v{number}"), 50)]));
    sleep(Duration::from_secs(6)).await;
}

#[tokio::test(start_paused = true)]
async fn changed_weights_keep_the_vm() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let epoch = server.vm_epoch();
    server.put(&split("ns", "a", &[("v1", 50), ("v2", 50)]));
    settle().await;
    assert_eq!(server.weights("ns/a"), "v1 50, v2 50");
    assert_eq!(server.vm_epoch(), epoch);
}

#[tokio::test(start_paused = true)]
async fn changed_backends_rotate_the_vm() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let epoch = server.vm_epoch();
    rename_backend(&server, 3).await;
    assert_eq!(server.vm_epoch(), (epoch + 1) % 8);
}

#[tokio::test(start_paused = true)]
async fn frequent_changes_rotate_the_vm_four_times_at_most() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let epoch = server.vm_epoch();
    for number in 3..=12 {
        rename_backend(&server, number).await;
    }
    assert_eq!(server.weights("ns/a"), "v1 50, v12 50", "every change is served");
    assert_eq!(server.vm_epoch(), (epoch + 4) % 8);
}

#[tokio::test(start_paused = true)]
async fn postponed_rotation_follows_without_another_change() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let epoch = server.vm_epoch();
    for number in 3..=7 {
        rename_backend(&server, number).await;
    }
    assert_eq!(server.vm_epoch(), (epoch + 4) % 8, "the fifth rotation is postponed");
    // The budget is refilled after five minutes; the next pass follows within five more.
    sleep(Duration::from_secs(600)).await;
    assert_eq!(server.vm_epoch(), (epoch + 5) % 8);
    sleep(Duration::from_secs(900)).await;
    assert_eq!(server.vm_epoch(), (epoch + 5) % 8, "once");
}

#[tokio::test(start_paused = true)]
async fn refused_write_costs_no_rotation() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let epoch = server.vm_epoch();
    server.refuse("update envoyfilters", 422, "denied");
    rename_backend(&server, 3).await;
    sleep(Duration::from_secs(60)).await;
    server.heal();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(server.vm_epoch(), (epoch + 1) % 8);
    for number in 4..=6 {
        rename_backend(&server, number).await;
    }
    assert_eq!(server.vm_epoch(), (epoch + 4) % 8, "four rotations were left");
}
