//! The reconcile loop: plans the whole cluster after every change, and writes the objects that differ.
//!
//! The loop is level-triggered: whichever object has changed, each pass compares all objects with the served EnvoyFilter.

use crate::apply::OwnedFilter;
use crate::cluster::Cluster;
use crate::error_text::{RepeatedFailure, describe};
use crate::lease::LeaseCandidate;
use crate::metrics::Metrics;
use crate::status_writer::StatusWriter;
use crate::vm_rotation::VmRotation;
use crate::wakeup::Wakeup;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info};
use traffic_split::Configuration;
use traffic_split_envoy::{
    EnvoyFilterPlan, IstioOptions, envoy_filter, plan, plan_after_refusal, served_vm_epoch, stored_bytes,
    vm_epoch_after,
};

/// The shortest time between two writes of the EnvoyFilter: each write sends the whole configuration to every proxy.
const MIN_WRITE_INTERVAL: Duration = Duration::from_millis(500);
/// The shortest time between a failed pass and the next.
const MIN_BACKOFF: Duration = Duration::from_millis(300);
/// After this number of failed passes in a row, statuses report even a temporary error of the API server.
const MAX_SILENT_FAILURES: u32 = 3;
/// A pass runs after this time even without a change.
const RESYNC_INTERVAL: Duration = Duration::from_secs(300);
/// The longest time between a failed pass and the next.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The parts of the controller that a pass uses.
pub(crate) struct Reconciler {
    /// The plugin configuration to which the cluster's objects are added.
    pub(crate) base: Configuration,
    pub(crate) istio: IstioOptions,
    /// The largest configuration in the EnvoyFilter, in bytes.
    pub(crate) max_bytes: usize,
    pub(crate) cluster: Cluster,
    pub(crate) lease: Arc<LeaseCandidate>,
    pub(crate) filter: OwnedFilter,
    pub(crate) statuses: StatusWriter,
    pub(crate) metrics: Metrics,
    pub(crate) wakeup: Wakeup,
    pub(crate) vm_rotation: Mutex<VmRotation>,
}

// === impl Reconciler ===

impl Reconciler {
    /// Runs a pass after each change while this replica leads. Returns when leader election has stopped.
    pub(crate) async fn run(&self, mut leads: watch::Receiver<bool>) {
        loop {
            self.metrics.is_leader.set(i64::from(*leads.borrow()));
            if leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            self.metrics.is_leader.set(1);
            info!("became leader");
            let mut failures = RepeatedFailure::default();
            while *leads.borrow_and_update() {
                let begun = Instant::now();
                let writes = self.metrics.filter_writes.get();
                let passed = tokio::select! {
                    passed = self.pass(failures.count()) => passed,
                    // A request may hang; meanwhile, another replica may become leader.
                    lost = leads.wait_for(|leads| !*leads) => if lost.is_err() { return } else { break },
                };
                let mut earliest = begun;
                if self.metrics.filter_writes.get() > writes {
                    earliest += MIN_WRITE_INTERVAL;
                }
                let next = match passed {
                    Ok(()) => {
                        failures.reset();
                        RESYNC_INTERVAL
                    }
                    Err(why) => {
                        self.metrics.failed_passes.inc();
                        let why = describe(&why);
                        if failures.should_log(&why) {
                            error!(why, failures = failures.count(), "reconcile failed; retrying");
                        }
                        let next = Duration::from_millis(250 << failures.count().min(6)).min(MAX_BACKOFF);
                        // Ignore changes until then: they may come from the failed write.
                        earliest = Instant::now() + next.min(MIN_BACKOFF);
                        next
                    }
                };
                tokio::select! {
                    _ = timeout(next, self.wakeup.settled()) => sleep_until(earliest).await,
                    lost = leads.changed() => if lost.is_err() { return },
                }
            }
            self.statuses.abort().await;
            info!("stopped leading");
            // From now on, the next leader reports the statuses.
            for gauge in [&self.metrics.splits, &self.metrics.not_programmed, &self.metrics.bytes] {
                gauge.set(0);
            }
        }
    }

    /// Plans the EnvoyFilter and the statuses of all TrafficSplits, and writes those that differ. `failures` is the number of
    /// failed passes before this one.
    async fn pass(&self, failures: u32) -> Result<(), kube::Error> {
        self.metrics.passes.inc();
        let begun = Instant::now();
        let (filter, refused) = match self.filter.read().await {
            Ok(filter) => (filter, None),
            Err(kube::Error::Api(why)) if is_refusal(why.code, failures) => {
                (self.filter.watched(), Some(kube::Error::Api(why)))
            }
            Err(why) => return Err(why),
        };
        // A paused or partitioned replica may have lost the lease: check again. After this, resourceVersion conflicts protect
        // the write.
        if !self.lease.holds().await? {
            info!("another replica holds the Lease; nothing is written");
            return Ok(());
        }
        let served = filter.as_ref().and_then(|filter| filter.configuration.clone());
        let snapshot = self.cluster.snapshot(served.clone().unwrap_or_default());
        let Self { base, istio, .. } = self;
        let mut planned = plan(base, istio, &snapshot, self.max_bytes);
        let served_epoch = filter.as_ref().and_then(|filter| served_vm_epoch(&filter.object));
        let epoch = istio.vm_epoch.or_else(|| {
            let wanted = vm_epoch_after(&filter.as_ref()?.object, served.as_deref(), &planned.configuration);
            Some(self.vm_rotation().epoch(served_epoch, wanted, Instant::now().into_std()))
        });
        let mut options = istio.clone();
        options.vm_epoch = epoch;
        let wanted = envoy_filter(&planned.configuration, &options);
        let mut is_written = false;
        let result = match refused {
            Some(why) => Err(why),
            None if filter.as_ref().is_some_and(|filter| filter.object["spec"] == wanted["spec"]) => Ok(()),
            None => self.filter.write(filter.as_deref(), wanted, &planned.configuration).await.inspect(|()| {
                if epoch != served_epoch {
                    self.vm_rotation().spend();
                }
                is_written = true;
            }),
        };
        match &result {
            Err(kube::Error::Api(why)) if is_refusal(why.code, failures) => {
                planned = plan_after_refusal(base, istio, &snapshot, &why.message);
            }
            Err(_) => return result,
            Ok(()) => {}
        }
        let EnvoyFilterPlan { configuration, statuses, .. } = planned;
        let (splits, bytes) = (configuration.traffic_splits.len(), stored_bytes(&configuration));
        if is_written {
            self.metrics.filter_writes.inc();
            info!(splits, bytes, bytes_per_split = bytes / splits.max(1), "wrote the EnvoyFilter");
        }
        self.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.metrics.splits.set(i64::try_from(snapshot.traffic_splits.len()).unwrap_or(i64::MAX));
        let not_programmed = statuses.values().filter(|status| !status.programmed.is_met).count();
        self.metrics.not_programmed.set(i64::try_from(not_programmed).unwrap_or(i64::MAX));

        // Not measured: status writes, which do not delay a change.
        self.metrics.last_pass_seconds.set(begun.elapsed().as_secs_f64());

        result.and(self.statuses.write_all(&snapshot, &statuses).await)
    }

    fn vm_rotation(&self) -> MutexGuard<'_, VmRotation> {
        self.vm_rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether an HTTP status means that the API server refuses the EnvoyFilter. A temporary error counts after
/// [`MAX_SILENT_FAILURES`] failed passes.
fn is_refusal(code: u16, failures: u32) -> bool {
    match code {
        // Another client wrote in between.
        409 => false,
        400 | 403 | 404 | 413 | 422 => true,
        _ => failures >= MAX_SILENT_FAILURES,
    }
}
