//! Writes the statuses of TrafficSplits, in turn by namespace.

use crate::error_text::{LogLimit, describe};
use crate::events::Events;
use crate::kubernetes::traffic_splits;
use crate::metrics::Metrics;
use crate::own_writes::OwnWrites;
use crate::wakeup::Wakeup;
use futures::{StreamExt, future, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DynamicObject, GetParams, Patch, PatchParams, Resource};
use kube::core::Request;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;
use traffic_split_envoy::{ClusterSnapshot, News, Verdict, news, status};

/// A pass starts status writes for this long even if another change is waiting.
const MIN_STATUS_TIME: Duration = Duration::from_millis(100);
const MAX_CONCURRENT_STATUS_WRITES: usize = 16;

/// Writes statuses, and publishes the Events that go with them.
pub(crate) struct StatusWriter {
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) own: OwnWrites,
    pub(crate) metrics: Metrics,
    pub(crate) wakeup: Wakeup,
    /// Limits the lines about failed status writes; shared with Events.
    pub(crate) log_limit: Arc<Mutex<LogLimit>>,
}

impl StatusWriter {
    /// Writes the statuses that differ, one of each namespace in turn, until another change waits for a pass. That pass
    /// writes the others: however many statuses one namespace needs, a change of another is served meanwhile.
    ///
    /// # Errors
    /// If a status could not be written; the others are written nevertheless.
    pub(crate) async fn write_all(
        &self,
        snapshot: &ClusterSnapshot,
        verdicts: &BTreeMap<String, Verdict>,
    ) -> Result<(), kube::Error> {
        self.own.retain_statuses(|key| verdicts.contains_key(key));
        let now = format!("{:.0}", Timestamp::now());
        let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
        let mut reports: Vec<_> = (snapshot.traffic_splits.iter())
            .filter_map(|split| {
                let (object, verdict) = (&split.object, verdicts.get(&split.key)?);
                let wanted = status(verdict, object, &now);
                if object.get("status") == Some(&wanted) {
                    return None;
                }
                let rank = ranks.entry(split.key.split('/').next().unwrap_or_default()).or_default();
                *rank += 1;
                Some((*rank, object, wanted, news(verdict, object)))
            })
            .collect();
        reports.sort_by_key(|(rank, ..)| *rank);
        let deadline = Instant::now() + MIN_STATUS_TIME;
        let in_time = |_: &_| future::ready(Instant::now() < deadline || !self.wakeup.is_pending());
        let written = stream::iter(reports)
            .take_while(in_time)
            .map(|(_, object, status, news)| self.write(object, status, news))
            .buffer_unordered(MAX_CONCURRENT_STATUS_WRITES);
        // One that can't be written keeps no other from being.
        let written: Vec<_> = written.collect().await;
        written.into_iter().fold(Ok(()), Result::and)
    }

    /// Writes one status, and publishes its Events.
    async fn write(&self, object: &Value, status: Value, news: Vec<News>) -> Result<(), kube::Error> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let splits = Request::new(DynamicObject::url_path(&traffic_splits(), Some(&namespace)));
        // Of the object as it was looked at: if it is another by now, that is told of in a moment.
        let version = object.pointer("/metadata/resourceVersion");
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": status}));
        self.own.record_status(format!("{namespace}/{name}"), status.clone());
        let request = splits.patch_subresource("status", &name, &PatchParams::default(), &patch);
        // The response, which is the whole object, may be one that cannot be read.
        let request = request.map_err(kube::Error::BuildRequest)?;
        if let Err(why) = self.client.request_text(request).await {
            let is_for_another = match &why {
                kube::Error::Api(why) if why.code == 409 => true,
                // Either it is gone, and so is what was to be said, or its definition has no status.
                kube::Error::Api(why) if why.code == 404 => {
                    let request = splits.get(&name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
                    match self.client.request_text(request).await {
                        Err(kube::Error::Api(why)) => why.code == 404,
                        found => found.map(|_| false)?,
                    }
                }
                _ => false,
            };
            if is_for_another {
                return Ok(());
            }
            if self.log_limit.lock().is_ok_and(|mut limit| limit.allows()) {
                warn!(split = format!("{namespace}/{name}"), why = describe(&why), "its status could not be written");
            }
            return Err(why);
        }
        self.metrics.statuses.inc();
        self.events.publish(object, news).await;
        Ok(())
    }
}
