//! The watches of the process, and whether each has listed its objects.

use crate::client::Failure;
use crate::metrics::Metrics;
use crate::projection::Kind;
use crate::store::Store;
use crate::wakeup::Wakeup;
use crate::watch::{MAX_CONCURRENT_PAGES, Source, WatchContext, watch};
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use kube::Client;
use kube::api::ApiResource;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Starts watches.
pub(crate) struct Watches {
    client: Client,
    context: WatchContext,
    metrics: Metrics,
    listed: Vec<BoxFuture<'static, Result<(), Failure>>>,
}

impl Watches {
    pub(crate) fn new(client: Client, wakeup: Wakeup, metrics: Metrics) -> Self {
        let pages = Arc::new(Semaphore::new(MAX_CONCURRENT_PAGES));
        let context = WatchContext { wakeup, pages, failures: metrics.watch_failures.clone() };
        Self { client, context, metrics, listed: Vec::new() }
    }

    /// Watches a kind in all namespaces.
    pub(crate) fn all_namespaces<K: Kind>(&mut self, resource: ApiResource, kind: K) -> Arc<Store<K>> {
        self.start(Source { resource, namespace: None, name: None }, kind)
    }

    /// Starts one watch.
    pub(crate) fn start<K: Kind>(&mut self, source: Source, kind: K) -> Arc<Store<K>> {
        self.metrics.awaited().insert(K::NAME.into());
        let (store, listed) = watch(self.client.clone(), source, kind, &self.context);
        let metrics = self.metrics.clone();
        let listed = async move {
            listed.await?;
            metrics.awaited().remove(K::NAME);
            Ok(())
        };
        self.listed.push(listed.boxed());
        store
    }

    /// Waits until every store has all objects for the first time.
    ///
    /// # Errors
    /// If a watch has ended.
    pub(crate) async fn all_listed(self) -> Result<(), Failure> {
        try_join_all(self.listed).await.map(|_| ())
    }
}
