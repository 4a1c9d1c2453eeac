//! The controller's metrics and readiness, and the routes that serve them.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Metrics and readiness. Clones share their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// The kinds of which the first list is not complete.
    pub(crate) awaited: Arc<Mutex<BTreeSet<String>>>,
    registry: Arc<Registry>,
    pub(crate) passes: Counter,
    pub(crate) failed_passes: Counter,
    pub(crate) watch_failures: Counter,
    pub(crate) filter_writes: Counter,
    pub(crate) status_writes: Counter,
    pub(crate) is_leader: Gauge,
    pub(crate) splits: Gauge,
    pub(crate) not_programmed: Gauge,
    pub(crate) bytes: Gauge,
    pub(crate) last_pass_seconds: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self::default();
        let mut registry = Registry::with_prefix("traffic_split_controller");
        registry.register("passes", "Passes of the reconcile loop", metrics.passes.clone());
        registry.register("failures", "Passes that failed", metrics.failed_passes.clone());
        registry.register("watch_failures", "Lists and watches that failed", metrics.watch_failures.clone());
        registry.register("envoyfilter_writes", "Writes of the EnvoyFilter", metrics.filter_writes.clone());
        registry.register("status_writes", "Status writes of TrafficSplits", metrics.status_writes.clone());
        registry.register("leader", "1 if this replica is the leader, else 0", metrics.is_leader.clone());
        registry.register("trafficsplits", "TrafficSplits in the cluster", metrics.splits.clone());
        registry.register(
            "trafficsplits_not_programmed",
            "TrafficSplits of which the condition Programmed is False",
            metrics.not_programmed.clone(),
        );
        registry.register(
            "configuration_bytes",
            "Size of the configuration in the EnvoyFilter, as limited by --max-bytes",
            metrics.bytes.clone(),
        );
        registry.register(
            "last_pass_seconds",
            "Duration of the last pass without its status writes, in seconds",
            metrics.last_pass_seconds.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }

    pub(crate) fn awaited(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves `/livez`, `/readyz` and `/metrics`.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(text))
            .with_state(self.clone())
    }
}

async fn ready(State(metrics): State<Metrics>) -> (StatusCode, String) {
    let awaited: Vec<_> = metrics.awaited().iter().cloned().collect();
    match awaited.is_empty() {
        true => (StatusCode::OK, "ok\n".into()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("not listed yet: {}\n", awaited.join(", "))),
    }
}

async fn text(State(metrics): State<Metrics>) -> Result<([(&'static str, &'static str); 1], String), StatusCode> {
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => Ok(([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
