//! `uninstall` removes the filter in an order in which no request fails.

use crate::testing::objects::FILTER;
use crate::testing::{MockApiServer, Replica, settle};
use crate::uninstall::uninstall_with;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;
use traffic_split_envoy::IstioOptions;

const WAIT: Duration = Duration::from_secs(5);

/// Runs `uninstall`; returns its result and its reports.
async fn uninstall(server: &MockApiServer) -> (Result<(), String>, Vec<String>) {
    let reports = Mutex::new(Vec::new());
    let report = |step: &str| reports.lock().unwrap().push(step.to_owned());
    let client = server.client(Arc::default());
    let result = uninstall_with(client, &IstioOptions::default(), "traffic-split-system", WAIT, report).await;
    (result.map_err(|why| why.to_string()), reports.into_inner().unwrap())
}

/// Returns a server with the Deployment and the EnvoyFilter of a controller that has stopped.
async fn stopped() -> MockApiServer {
    let server = MockApiServer::with_split();
    let metadata = json!({"namespace": "traffic-split-system", "name": "traffic-split-controller"});
    server.put(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}));
    Replica::start(&server, "a").await.stop().await.unwrap();
    server
}

#[tokio::test(start_paused = true)]
async fn uninstall_deletes_the_controller_then_the_splits_then_the_envoyfilter() {
    let server = stopped().await;
    let before = server.writes().len();
    let (result, reports) = uninstall(&server).await;
    assert_eq!(result, Ok(()));
    let wanted = [
        "delete deployments traffic-split-system/traffic-split-controller",
        "patch envoyfilters istio-system/traffic-split",
        "delete envoyfilters istio-system/traffic-split",
    ];
    assert_eq!(server.writes()[before..], wanted);
    let (patched, deleted) = (server.times(wanted[1])[0], server.times(wanted[2])[0]);
    assert!(deleted - patched >= WAIT, "proxies have time to receive the configuration without splits");
    let last = ["waiting 5s for proxies to receive the change", "deleted EnvoyFilter istio-system/traffic-split"];
    assert_eq!(reports[reports.len() - 2..], last);
}

#[tokio::test(start_paused = true)]
async fn uninstall_keeps_the_envoyfilter_while_a_controller_runs_elsewhere() {
    let server = MockApiServer::with_split();
    let _replica = Replica::start(&server, "a").await;
    let (result, reports) = uninstall(&server).await;
    assert_eq!(result, Err("controller `a` still runs; stop it, then run uninstall again".into()));
    assert_eq!(reports[0], "Deployment traffic-split-system/traffic-split-controller does not exist");
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
}

#[tokio::test(start_paused = true)]
async fn uninstall_keeps_the_envoyfilter_if_splits_are_added_again() {
    let server = stopped().await;
    let filter = server.get("envoyfilters", FILTER).unwrap();
    let other = tokio::spawn({
        let server = server.clone();
        async move {
            while server.count("patch envoyfilters") == 0 {
                sleep(Duration::from_millis(100)).await;
            }
            server.change("envoyfilters", FILTER, |object| object["spec"] = filter["spec"].clone());
        }
    });
    let (result, _) = uninstall(&server).await;
    other.await.unwrap();
    assert!(result.unwrap_err().starts_with("EnvoyFilter istio-system/traffic-split: another controller added splits"));
    assert_eq!(server.weights("ns/a"), "v1 100, v2 0");
}

#[tokio::test(start_paused = true)]
async fn repeated_uninstall_succeeds() {
    let server = stopped().await;
    uninstall(&server).await.0.unwrap();
    settle().await;
    let (result, reports) = uninstall(&server).await;
    assert_eq!(result, Ok(()));
    assert_eq!(reports.last().unwrap(), "EnvoyFilter istio-system/traffic-split does not exist");
}
