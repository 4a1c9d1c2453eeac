//! A replica of the controller that runs against the mock API server.

use super::api_server::MockApiServer;
use crate::clock::Clock;
use crate::controller::{Controller, Options};
use crate::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use traffic_split::Configuration;
use traffic_split_envoy::IstioOptions;

/// A running replica.
pub(crate) struct Replica {
    pub(crate) metrics: Metrics,
    is_cut: Arc<AtomicBool>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), String>>,
}

impl Replica {
    /// Starts a replica and waits until it is idle.
    pub(crate) async fn start(server: &MockApiServer, identity: &str) -> Self {
        let replica = Self::begin(server, identity);
        settle().await;
        replica
    }

    /// Starts a replica.
    pub(crate) fn begin(server: &MockApiServer, identity: &str) -> Self {
        let options = Options {
            base: Configuration::default(),
            istio: IstioOptions::default(),
            lease_namespace: "traffic-split-system".into(),
            identity: identity.into(),
            max_bytes: 1_000_000,
        };
        let (metrics, is_cut) = (Metrics::new(), Arc::new(AtomicBool::new(false)));
        let controller =
            Controller::start(server.client(is_cut.clone()), Clock::virtual_time(), options, metrics.clone());
        let (shutdown, is_asked) = oneshot::channel();
        let run = async move { controller.run(async { _ = is_asked.await }).await.map_err(|why| why.to_string()) };
        Self { metrics, is_cut, shutdown, task: tokio::spawn(run) }
    }

    pub(crate) fn leads(&self) -> bool {
        self.metrics.is_leader.get() == 1
    }

    /// Shuts the replica down; returns what its run returns.
    pub(crate) async fn stop(self) -> Result<(), String> {
        _ = self.shutdown.send(());
        self.task.await.unwrap()
    }

    /// Cuts the replica off from the API server, as a crash or a network partition does.
    pub(crate) fn cut_off(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    /// Waits until the replica stops without a request to stop.
    pub(crate) async fn ended(self) -> Result<(), String> {
        self.task.await.unwrap()
    }
}

/// Waits longer than any reaction to a change takes, and less than the lease and resync intervals.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(1_500)).await;
}
