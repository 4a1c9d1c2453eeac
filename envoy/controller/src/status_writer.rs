//! Writes the statuses of TrafficSplits, in turn by namespace.

use crate::clock::Clock;
use crate::error_text::{LogLimit, describe};
use crate::events::EventPublisher;
use crate::kubernetes::traffic_splits;
use crate::metrics::Metrics;
use crate::own_writes::OwnWrites;
use crate::wakeup::Wakeup;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DynamicObject, GetParams, Patch, PatchParams, Resource};
use kube::core::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::warn;
use traffic_split_envoy::{ClusterSnapshot, SplitObject, SplitStatus, StatusEvent, status_events, status_value};

/// A pass starts status writes for this long even if another change is waiting.
const MIN_STATUS_TIME: Duration = Duration::from_millis(100);
const MAX_CONCURRENT_STATUS_WRITES: usize = 16;
/// Concurrent writes of one namespace: large objects are slow to write, and must leave room for other namespaces.
const MAX_CONCURRENT_PER_NAMESPACE: usize = 4;

/// Writes statuses, and publishes the Events that go with them.
pub(crate) struct StatusWriter {
    requests: Arc<StatusRequests>,
    in_flight: tokio::sync::Mutex<InFlight>,
}

/// What one status write needs.
pub(crate) struct StatusRequests {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) events: EventPublisher,
    pub(crate) own_writes: OwnWrites,
    pub(crate) metrics: Metrics,
    pub(crate) wakeup: Wakeup,
    /// Limits the lines about failed status writes; shared with Events.
    pub(crate) log_limit: Arc<Mutex<LogLimit>>,
}

/// Status writes in flight. They continue while later passes run: no pass waits for a slow write.
#[derive(Default)]
struct InFlight {
    tasks: JoinSet<(String, Result<(), kube::Error>)>,
    /// By `namespace/name`.
    keys: BTreeSet<String>,
}

/// A status to write.
struct Report {
    /// The number of reports of the same namespace before this one.
    rank: usize,
    split: Arc<SplitObject>,
    status: Value,
    events: Vec<StatusEvent>,
}

// === impl StatusWriter ===

impl StatusWriter {
    pub(crate) fn new(requests: StatusRequests) -> Self {
        Self { requests: Arc::new(requests), in_flight: Default::default() }
    }

    /// Writes the statuses that differ, one of each namespace in turn, until another change waits for a pass. The next pass
    /// writes the remaining statuses. Many statuses of one namespace therefore do not delay a change of another namespace.
    ///
    /// # Errors
    /// If a status write failed, in this call or since the last. The others are written nevertheless.
    pub(crate) async fn write_all(
        &self,
        snapshot: &ClusterSnapshot,
        statuses: &BTreeMap<String, SplitStatus>,
    ) -> Result<(), kube::Error> {
        let StatusRequests { clock, own_writes, wakeup, .. } = &*self.requests;
        own_writes.retain_statuses(|key| statuses.contains_key(key));
        let mut waiting = reports(snapshot, statuses, clock.now());
        let mut in_flight = self.in_flight.lock().await;
        let mut result = Ok(());
        let deadline = Instant::now() + MIN_STATUS_TIME;
        loop {
            while let Some(done) = in_flight.tasks.try_join_next() {
                result = result.and(in_flight.end(done));
            }
            let is_in_time = Instant::now() < deadline || !wakeup.is_pending();
            while is_in_time && let Some(report) = in_flight.next(&mut waiting) {
                in_flight.begin(report, self.requests.clone());
            }
            if in_flight.tasks.is_empty() || !is_in_time {
                return result;
            }
            tokio::select! {
                Some(done) = in_flight.tasks.join_next() => result = result.and(in_flight.end(done)),
                () = change_after(wakeup, deadline) => {}
            }
        }
    }

    /// Aborts all writes in flight: another replica leads.
    pub(crate) async fn abort(&self) {
        *self.in_flight.lock().await = InFlight::default();
    }
}

/// Waits until a change is pending and the deadline is over.
async fn change_after(wakeup: &Wakeup, deadline: Instant) {
    sleep_until(deadline).await;
    wakeup.pending().await;
}

/// Returns the statuses that differ, one of each namespace in turn.
fn reports(snapshot: &ClusterSnapshot, statuses: &BTreeMap<String, SplitStatus>, now: Timestamp) -> Vec<Report> {
    let now = format!("{now:.0}");
    let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
    let mut reports: Vec<_> = (snapshot.traffic_splits.iter())
        .filter_map(|split| {
            let split_status = statuses.get(&split.key)?;
            let wanted = status_value(split_status, &split.object, &now);
            if split.object.get("status") == Some(&wanted) {
                return None;
            }
            let rank = ranks.entry(namespace(&split.key)).or_default();
            *rank += 1;
            let events = status_events(split_status, &split.object);
            Some(Report { rank: *rank, split: split.clone(), status: wanted, events })
        })
        .collect();
    reports.sort_by_key(|report| report.rank);
    reports
}

fn namespace(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

// === impl InFlight ===

impl InFlight {
    /// Takes the first report that may be written now.
    fn next(&self, waiting: &mut Vec<Report>) -> Option<Report> {
        if self.tasks.len() >= MAX_CONCURRENT_STATUS_WRITES {
            return None;
        }
        let of_namespace = |split: &str| self.keys.iter().filter(|key| namespace(key) == namespace(split)).count();
        let may_begin = |Report { split, .. }: &Report| {
            !self.keys.contains(&split.key) && of_namespace(&split.key) < MAX_CONCURRENT_PER_NAMESPACE
        };
        waiting.iter().position(may_begin).map(|at| waiting.remove(at))
    }

    fn begin(&mut self, report: Report, requests: Arc<StatusRequests>) {
        self.keys.insert(report.split.key.clone());
        self.tasks.spawn(async move {
            let Report { split, status, events, .. } = report;
            (split.key.clone(), requests.write(&split.object, status, events).await)
        });
    }

    fn end(&mut self, done: Result<(String, Result<(), kube::Error>), JoinError>) -> Result<(), kube::Error> {
        let Ok((key, result)) = done else { return Ok(()) };
        self.keys.remove(&key);
        result
    }
}

// === impl StatusRequests ===

impl StatusRequests {
    /// Writes one status, and publishes its Events.
    async fn write(&self, object: &Value, status: Value, events: Vec<StatusEvent>) -> Result<(), kube::Error> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let splits = Request::new(DynamicObject::url_path(&traffic_splits(), Some(&namespace)));
        // The status describes this version. If the object has changed, its watch event starts another pass.
        let version = object.pointer("/metadata/resourceVersion");
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": status}));
        self.own_writes.record_status(format!("{namespace}/{name}"), status.clone());
        let request = splits.patch_subresource("status", &name, &PatchParams::default(), &patch);
        // The response contains the whole object, which may be impossible to decode.
        let request = request.map_err(kube::Error::BuildRequest)?;
        if let Err(why) = self.client.request_text(request).await {
            let is_obsolete = match &why {
                // The watch may not have delivered the controller's own write yet, and its event starts no pass. Start a pass here. It
                // counts against the namespace's budget: otherwise, a tenant that keeps changing objects could start any number.
                kube::Error::Api(why) if why.code == 409 => {
                    self.wakeup.changed(&namespace);
                    true
                }
                // Either the object is deleted and needs no status, or its CRD lacks the status subresource.
                kube::Error::Api(why) if why.code == 404 => {
                    let request = splits.get(&name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
                    match self.client.request_text(request).await {
                        Err(kube::Error::Api(why)) => why.code == 404,
                        found => found.map(|_| false)?,
                    }
                }
                _ => false,
            };
            if is_obsolete {
                return Ok(());
            }
            if self.log_limit.lock().is_ok_and(|mut limit| limit.allows()) {
                warn!(split = format!("{namespace}/{name}"), why = describe(&why), "writing the status failed");
            }
            return Err(why);
        }
        self.metrics.status_writes.inc();
        self.events.publish(object, events).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CONCURRENT_PER_NAMESPACE, MIN_STATUS_TIME, StatusRequests, StatusWriter};
    use crate::clock::Clock;
    use crate::events::EventPublisher;
    use crate::metrics::Metrics;
    use crate::own_writes::OwnWrites;
    use crate::testing::MockApiServer;
    use crate::testing::objects::split;
    use crate::wakeup::{MAX_WAKEUPS, Wakeup};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{Instant, sleep, timeout};
    use traffic_split::Configuration;
    use traffic_split_envoy::{ClusterSnapshot, EnvoyFilterPlan, IstioOptions, SplitObject, plan};

    fn writer(server: &MockApiServer) -> (StatusWriter, Wakeup) {
        let client = server.client(Arc::default());
        let (wakeup, log_limit) = (Wakeup::default(), Arc::default());
        let requests = StatusRequests {
            events: EventPublisher::new(client.clone(), "test", Arc::clone(&log_limit)),
            client,
            clock: Clock::virtual_time(),
            own_writes: OwnWrites::default(),
            metrics: Metrics::new(),
            wakeup: wakeup.clone(),
            log_limit,
        };
        (StatusWriter::new(requests), wakeup)
    }

    /// Creates `count` splits in each namespace, and plans them.
    fn planned(server: &MockApiServer, namespaces: &[&str], count: usize) -> (ClusterSnapshot, EnvoyFilterPlan) {
        let mut cluster = ClusterSnapshot::default();
        for namespace in namespaces {
            for number in 0..count {
                let name = format!("s{number:02}");
                server.put(&split(namespace, &name, &[("v1", 1)]));
                let object = server.split(&format!("{namespace}/{name}"));
                cluster.traffic_splits.push(Arc::new(SplitObject::new(&object, "cluster.local")));
            }
        }
        let plan = plan(&Configuration::default(), &IstioOptions::default(), &cluster, usize::MAX);
        (cluster, plan)
    }

    #[tokio::test(start_paused = true)]
    async fn pass_waits_for_no_slow_status_once_a_change_is_pending() {
        let server = MockApiServer::new();
        server.hang("patch trafficsplits/status slow/");
        let patches = |namespace| server.count(&format!("patch trafficsplits/status {namespace}/"));
        let (writer, wakeup) = writer(&server);
        let (cluster, plan) = planned(&server, &["good", "slow"], 30);
        let change = tokio::spawn({
            let wakeup = wakeup.clone();
            async move {
                sleep(10 * MIN_STATUS_TIME).await;
                wakeup.wake();
            }
        });
        let begun = Instant::now();
        writer.write_all(&cluster, &plan.statuses).await.unwrap();
        change.await.unwrap();
        assert_eq!(begun.elapsed(), 10 * MIN_STATUS_TIME, "as long as no change is pending");
        assert_eq!((patches("good"), patches("slow")), (30, MAX_CONCURRENT_PER_NAMESPACE));

        // The change is still pending: the next pass starts no write that is in flight, and stops waiting after a moment.
        let begun = Instant::now();
        writer.write_all(&cluster, &plan.statuses).await.unwrap();
        assert_eq!(begun.elapsed(), MIN_STATUS_TIME);
        assert_eq!((patches("good"), patches("slow")), (60, MAX_CONCURRENT_PER_NAMESPACE), "the snapshot is the same");

        writer.abort().await;
        wakeup.settled().await;
        let (cluster, plan) = planned(&server, &["slow"], 30);
        let again = timeout(Duration::from_secs(1), writer.write_all(&cluster, &plan.statuses)).await;
        assert!(again.is_err(), "without a change it waits for the API server");
        assert_eq!(patches("slow"), 2 * MAX_CONCURRENT_PER_NAMESPACE);
    }

    #[tokio::test(start_paused = true)]
    async fn status_conflict_starts_another_pass_and_is_no_failure() {
        let server = MockApiServer::new();
        server.refuse("patch trafficsplits/status", 409, "modified");
        let (writer, wakeup) = writer(&server);
        let (cluster, plan) = planned(&server, &["taken"], 1);
        writer.write_all(&cluster, &plan.statuses).await.unwrap();
        assert_eq!(server.count("patch trafficsplits/status taken/s00"), 1);
        assert!(wakeup.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn status_conflicts_count_against_the_wakeup_budget_of_their_namespace() {
        let server = MockApiServer::new();
        server.refuse("patch trafficsplits/status", 409, "modified");
        let (writer, wakeup) = writer(&server);
        let (cluster, plan) = planned(&server, &["taken"], 1);
        let mut passes = 0;
        for _ in 0..3 * MAX_WAKEUPS {
            writer.write_all(&cluster, &plan.statuses).await.unwrap();
            if wakeup.is_pending() {
                wakeup.settled().await;
                passes += 1;
            }
        }
        assert_eq!(passes, MAX_WAKEUPS);
    }
}
