//! The controller: watches what there is in a Kubernetes cluster, and keeps one EnvoyFilter and the TrafficSplits' status as
//! [`plan`] says. It is level-triggered: whatever has changed, all is planned anew, and only what differs is written.

use crate::error_text::{LogLimit, RepeatedFailure, describe, one_line};
use crate::istio::{Istio, envoy_filter, served_vm_epoch, vm_epoch_after, without_splits};
use crate::lease;
use crate::metrics::Metrics;
use crate::own_writes::OwnWrites;
use crate::plan::{Plan, Verdict, bytes, plan, plan_if_refused};
use crate::projection::{
    DestinationRules, EnvoyFilters, HttpRouteGroups, Kind, Namespaces, Services, Sidecars, TrafficSplits,
    VirtualServices,
};
use crate::served_filter::{OwnedFilter, envoy_filters, value};
use crate::server::{LIMITS, serve};
use crate::snapshot::ClusterSnapshot;
use crate::status::{news, status};
use crate::store::Store;
use crate::vm_rotation::VmRotation;
use crate::wakeup::Wakeup;
use crate::watch::{MAX_CONCURRENT_PAGES, Shared, Source, watch};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, future};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GetParams, GroupVersionKind, Patch, PatchParams, Resource};
use kube::core::Request;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};
use traffic_split::Configuration;

/// Who writes, as Kubernetes' managed fields and events have it.
pub const MANAGER: &str = "traffic-split-controller";

/// The label by which a namespace's clients are left alone, if it is `true`.
pub const EXCLUDE_LABEL: &str = "traffic-split/exclude";

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the operator says of the filter.
    pub base: Configuration,
    /// How the EnvoyFilter is written, and where.
    pub istio: Istio,
    /// Where health and metrics are asked for: the first of these that can be had.
    pub listen: Vec<SocketAddr>,
    /// The namespace of the Lease by which replicas agree on who writes.
    pub lease_namespace: String,
    /// This replica's name.
    pub identity: String,
    /// The most that configurations may take in the EnvoyFilter.
    pub most_bytes: usize,
}

/// The least time between two writes of the EnvoyFilter: every proxy gets the whole configuration each time.
const MIN_WRITE_INTERVAL: Duration = Duration::from_millis(500);
/// The least time between a failed pass and the next.
const MIN_BACKOFF: Duration = Duration::from_millis(300);
/// After so many failures, one that may have passed by itself is said to last.
const LASTING_FAILURES: u32 = 3;
/// A pass runs after this time even if nothing has changed.
const RESYNC_INTERVAL: Duration = Duration::from_secs(300);
/// A request to the API server fails after this time without an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The most time between a failed pass and the next.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// A pass starts status writes for this long even if another change is waiting.
const MIN_STATUS_TIME: Duration = Duration::from_millis(100);
const MAX_CONCURRENT_STATUS_WRITES: usize = 16;

struct Controller {
    options: Options,
    client: Client,
    lease: Arc<lease::Candidate>,
    recorder: Recorder,
    traffic_splits: Arc<Store<TrafficSplits>>,
    http_route_groups: Arc<Store<HttpRouteGroups>>,
    services: Arc<Store<Services>>,
    namespaces: Arc<Store<Namespaces>>,
    virtual_services: Arc<Store<VirtualServices>>,
    destination_rules: Arc<Store<DestinationRules>>,
    sidecars: Arc<Store<Sidecars>>,
    filter: OwnedFilter,
    own: OwnWrites,
    metrics: Metrics,
    wakeup: Wakeup,
    /// For failures of single splits.
    log_limit: Mutex<LogLimit>,
    vm_rotation: Mutex<VmRotation>,
}

/// Runs the controller until the process is asked to end.
///
/// # Errors
/// If there is no way to the API server, or the port can't be had.
pub async fn run(options: Options) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind(&options.listen[..]).await;
    let addresses: Vec<_> = options.listen.iter().map(SocketAddr::to_string).collect();
    let listener = listener.map_err(|why| format!("--listen {}: {why}", addresses.join(", ")))?;
    let client = client().await?;
    let mut ended = std::pin::pin!(asked_to_end());
    let metrics = Metrics::new();
    info!(address = %listener.local_addr()?, "health and metrics are at");

    let (wakeup, own) = (Wakeup::default(), OwnWrites::default());
    let mut watches = Watches {
        client: client.clone(),
        shared: Shared {
            wakeup: wakeup.clone(),
            pages: Arc::new(Semaphore::new(MAX_CONCURRENT_PAGES)),
            failures: metrics.watch_failures.clone(),
        },
        metrics: metrics.clone(),
        listed: Vec::new(),
    };
    let cluster_domain = options.base.cluster_domain.clone();
    let traffic_splits = watches.all(TRAFFIC_SPLIT, TrafficSplits { cluster_domain, own: own.clone() });
    let http_route_groups = watches.all(["specs.smi-spec.io", "v1alpha4", "HTTPRouteGroup"], HttpRouteGroups);
    let services = watches.all(["", "v1", "Service"], Services);
    let namespaces = watches.all(["", "v1", "Namespace"], Namespaces { exclude_label: EXCLUDE_LABEL });
    let istio = |kind| ["networking.istio.io", "v1", kind];
    let virtual_services = watches.all(istio("VirtualService"), VirtualServices);
    let destination_rules = watches.all(istio("DestinationRule"), DestinationRules);
    let sidecars = watches.all(istio("Sidecar"), Sidecars);
    // To hear of other writers, and to know the configuration that is served if reading is forbidden later.
    let source = Source {
        resource: envoy_filters(),
        namespace: Some(options.istio.namespace.clone()),
        name: Some(options.istio.name.clone()),
    };
    let watched_filter = watches.start(source, EnvoyFilters { own: own.clone() });
    tokio::spawn(serve(listener, metrics.router(), LIMITS));
    let listed = future::try_join_all(watches.listed);
    tokio::select! {
        listed = listed => {
            listed?;
        }
        () = &mut ended => return Ok(()),
    }
    info!("everything has been listed");

    let lease = Arc::new(lease::Candidate {
        leases: Api::namespaced(client.clone(), &options.lease_namespace),
        name: lease_name(&options.istio),
        identity: options.identity.clone(),
    });
    let mut seen = None;
    tokio::select! {
        answered = timeout(lease::ANSWER, lease.attempt(&mut seen)) => if let Ok(Err(why)) = answered {
            return Err(format!("the Lease {} in {}: {}", lease.name, options.lease_namespace, describe(&why)).into());
        },
        () = &mut ended => return Ok(()),
    }
    let (sender, leads) = tokio::sync::watch::channel(false);
    let lease_task = tokio::spawn({
        let lease = lease.clone();
        async move { lease.run(sender).await }
    });
    let reporter = Reporter { controller: MANAGER.into(), instance: Some(options.identity.clone()) };
    let controller = Controller {
        recorder: Recorder::new(client.clone(), reporter),
        filter: OwnedFilter::new(client.clone(), &options.istio, watched_filter, own.clone()),
        own,
        options,
        client,
        lease,
        traffic_splits,
        http_route_groups,
        services,
        namespaces,
        virtual_services,
        destination_rules,
        sidecars,
        metrics,
        wakeup,
        log_limit: Mutex::default(),
        vm_rotation: Mutex::new(VmRotation::new(std::time::Instant::now())),
    };
    tokio::select! {
        () = controller.lead(leads) => return Err("the lease is no longer looked after".into()),
        () = ended => info!("asked to end"),
    }
    // Nobody listens any more, so it is given back.
    if timeout(Duration::from_secs(5), lease_task).await.is_err() {
        warn!("the lease could not be given back");
    }
    Ok(())
}

/// Why it can't go on.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A client that hears of an API server that doesn't answer.
async fn client() -> Result<Client, Failure> {
    let mut config = Config::infer().await.map_err(|why| format!("there is no way to the API server: {why}"))?;
    (config.read_timeout, config.reset_reader_on_write) = (Some(REQUEST_TIMEOUT), true);
    // What is tried again, and when, is decided here: kube would wait for minutes.
    config.default_retry = false;
    let server = config.cluster_url.clone();
    let client = Client::try_from(config)?;
    // What is wrong from the start is said, and not tried again.
    let answer = client.apiserver_version().await;
    answer.map_err(|why| format!("the API server at {server}: {}", describe(&why)))?;
    Ok(client)
}

/// Takes the filter out of the proxies in an order in which no request fails: the controller first, which would put things
/// back; then the splits, so that the roots serve; then the filter with its route. `say` is told of each step.
///
/// # Errors
/// If the API server refuses a step, or a controller still runs; the steps before are done, and it can be called again.
pub async fn uninstall(istio: &Istio, namespace: &str, wait: Duration, say: impl Fn(&str)) -> Result<(), Failure> {
    let client = client().await?;
    let refused = |why: kube::Error| describe(&why);
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource(["apps", "v1", "Deployment"]));
    match gone(deployments.delete(MANAGER, &DeleteParams::foreground()).await).map_err(refused)? {
        true => say(&format!("deleted Deployment {namespace}/{MANAGER}; waiting for its pods to end")),
        false => say(&format!("there is no Deployment {namespace}/{MANAGER}")),
    }
    while deployments.get_opt(MANAGER).await.map_err(refused)?.is_some() {
        sleep(Duration::from_millis(200)).await;
    }
    // One that runs elsewhere would put back what is taken out, though it may have to wait for the lease.
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let name = lease_name(istio);
    let lease = async || leases.get_opt(&name).await.map(|lease| lease?.spec).map_err(refused);
    let before = lease().await?.unwrap_or_default();
    let is_held = before.holder_identity.is_some();
    let longest = 2 * lease::INTERVAL + if is_held { lease::DURATION } else { lease::INTERVAL };
    say(&format!("looking for {longest:?} whether a controller runs elsewhere"));
    let until = Instant::now() + longest;
    while Instant::now() < until {
        sleep(Duration::from_millis(200)).await;
        let now = lease().await?.filter(|now| now.renew_time != before.renew_time);
        if let Some(holder) = now.and_then(|now| now.holder_identity) {
            return Err(format!("the controller {holder} still runs: stop it, and uninstall again").into());
        }
    }
    let filters: Api<DynamicObject> = Api::namespaced_with(client, &istio.namespace, &envoy_filters());
    let Some(filter) = filters.get_opt(&istio.name).await.map_err(refused)? else {
        say(&format!("there is no EnvoyFilter {}/{}", istio.namespace, istio.name));
        return Ok(());
    };
    let mut filter = value(&filter);
    if without_splits(&mut filter) {
        let patch = Patch::Merge(json!({"spec": filter["spec"]}));
        filters.patch(&istio.name, &PatchParams::default(), &patch).await.map_err(refused)?;
        say(&format!("took the splits out of EnvoyFilter {}/{}", istio.namespace, istio.name));
    }
    // Also if they were taken out before: that may have been a moment ago.
    say(&format!("waiting {wait:?} for proxies to hear of that"));
    sleep(wait).await;
    let now = filters.get_opt(&istio.name).await.map_err(refused)?;
    if now.is_some_and(|now| without_splits(&mut value(&now))) {
        return Err("somebody has put splits back into it: stop the controller that does, and uninstall again".into());
    }
    gone(filters.delete(&istio.name, &DeleteParams::default()).await).map_err(refused)?;
    say(&format!("deleted EnvoyFilter {}/{}", istio.namespace, istio.name));
    Ok(())
}

/// The Lease by which replicas that keep the same EnvoyFilter agree on who writes it.
fn lease_name(istio: &Istio) -> String {
    match istio.namespace == Istio::default().namespace {
        true => MANAGER.into(),
        false => format!("{MANAGER}-{}", istio.namespace),
    }
}

/// Whether it was there to be deleted.
fn gone<T>(deleted: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match deleted {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(why)) if why.code == 404 => Ok(false),
        Err(why) => Err(why),
    }
}

/// Starts watches, and remembers what hears of their first lists.
struct Watches {
    client: Client,
    shared: Shared,
    metrics: Metrics,
    listed: Vec<BoxFuture<'static, Result<(), Failure>>>,
}

impl Watches {
    /// Watches a kind in all namespaces.
    fn all<K: Kind>(&mut self, kind: [&str; 3], reader: K) -> Arc<Store<K>> {
        self.start(Source { resource: resource(kind), namespace: None, name: None }, reader)
    }

    fn start<K: Kind>(&mut self, source: Source, reader: K) -> Arc<Store<K>> {
        self.metrics.awaited().insert(K::NAME.into());
        let (store, listed) = watch(self.client.clone(), source, reader, &self.shared);
        let metrics = self.metrics.clone();
        let listed = async move {
            listed.await?;
            metrics.awaited().remove(K::NAME);
            Ok(())
        };
        self.listed.push(listed.boxed());
        store
    }
}

/// What is written, as group, version and kind.
const TRAFFIC_SPLIT: [&str; 3] = ["split.smi-spec.io", "v1alpha4", "TrafficSplit"];

fn resource([group, version, kind]: [&str; 3]) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

// === impl Controller ===

impl Controller {
    /// While this replica leads: looks at everything whenever something has changed. Ends when nobody can lead any more.
    async fn lead(&self, mut leads: tokio::sync::watch::Receiver<bool>) {
        loop {
            self.metrics.is_leader.set(i64::from(*leads.borrow()));
            if leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            self.metrics.is_leader.set(1);
            info!("leads");
            let mut failures = RepeatedFailure::default();
            while *leads.borrow_and_update() {
                let begun = Instant::now();
                let writes = self.metrics.writes.get();
                let passed = tokio::select! {
                    passed = self.pass(failures.count()) => passed,
                    // It may wait for an answer for long, and another may lead meanwhile.
                    lost = leads.wait_for(|leads| !*leads) => if lost.is_err() { return } else { break },
                };
                let mut earliest = begun;
                if self.metrics.writes.get() > writes {
                    earliest += MIN_WRITE_INTERVAL;
                }
                let next = match passed {
                    Ok(()) => {
                        failures.reset();
                        RESYNC_INTERVAL
                    }
                    Err(why) => {
                        self.metrics.failures.inc();
                        let why = describe(&why);
                        if failures.should_log(&why) {
                            error!(why, failures = failures.count(), "not everything could be written, again soon");
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
            info!("leads no more");
            // What another may have changed since.
            for gauge in [&self.metrics.splits, &self.metrics.not_served, &self.metrics.bytes] {
                gauge.set(0);
            }
        }
    }

    /// Compares what there is with what there should be, and writes what differs. Before it, so many have failed.
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
            info!("another leads");
            return Ok(());
        }
        let served = filter.as_ref().and_then(|filter| filter.configuration.clone());
        let snapshot = self.snapshot(served.clone().unwrap_or_default());
        let Options { base, istio, most_bytes, .. } = &self.options;
        let mut planned = plan(base, istio, &snapshot, *most_bytes);
        let served_epoch = filter.as_ref().and_then(|filter| served_vm_epoch(&filter.object));
        let epoch = istio.vm_epoch.or_else(|| {
            let wanted = vm_epoch_after(&filter.as_ref()?.object, served.as_deref(), &planned.configuration);
            Some(self.vm_rotation().epoch(served_epoch, wanted, std::time::Instant::now()))
        });
        let wanted = envoy_filter(&planned.configuration, &Istio { vm_epoch: epoch, ..istio.clone() });
        let result = match refused {
            Some(why) => Err(why),
            None if filter.as_ref().is_some_and(|filter| filter.object["spec"] == wanted["spec"]) => Ok(()),
            None => self.filter.write(filter.as_deref(), wanted, &planned.configuration).await.inspect(|()| {
                if epoch != served_epoch {
                    self.vm_rotation().spend();
                }
                self.tell_of_write(&planned);
            }),
        };
        match &result {
            Err(kube::Error::Api(why)) if is_refusal(why.code, failures) => {
                planned = plan_if_refused(base, istio, &snapshot, &why.message);
            }
            Err(_) => return result,
            Ok(()) => {}
        }
        let Plan { configuration, verdicts, .. } = planned;
        self.metrics.bytes.set(i64::try_from(bytes(&configuration)).unwrap_or(i64::MAX));
        self.metrics.splits.set(i64::try_from(snapshot.traffic_splits.len()).unwrap_or(i64::MAX));
        let not_served = verdicts.values().filter(|verdict| !verdict.programmed.holds).count();
        self.metrics.not_served.set(i64::try_from(not_served).unwrap_or(i64::MAX));

        // Statuses follow for as long as no change waits, so they say nothing of how long a change takes.
        self.metrics.last_pass_seconds.set(begun.elapsed().as_secs_f64());

        result.and(self.report_all(&snapshot, &verdicts).await)
    }

    /// Writes the statuses that differ, one of each namespace in turn, until another change waits for a pass. That pass
    /// writes the others: however many statuses one namespace needs, a change of another is served meanwhile.
    async fn report_all(
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
        let written = futures::stream::iter(reports)
            .take_while(in_time)
            .map(|(_, object, status, news)| self.report(object, status, news))
            .buffer_unordered(MAX_CONCURRENT_STATUS_WRITES);
        // One that can't be written keeps no other from being.
        let written: Vec<_> = written.collect().await;
        written.into_iter().fold(Ok(()), Result::and)
    }

    fn vm_rotation(&self) -> std::sync::MutexGuard<'_, VmRotation> {
        self.vm_rotation.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The objects of the cluster now. Nothing is copied but the references to them.
    fn snapshot(&self, served: Arc<Configuration>) -> ClusterSnapshot {
        ClusterSnapshot {
            traffic_splits: self.traffic_splits.snapshot(Arc::clone),
            http_route_groups: self.http_route_groups.snapshot(Arc::clone),
            services: self.services.snapshot(Arc::clone),
            virtual_services: self.virtual_services.snapshot(Arc::clone),
            destination_rules: self.destination_rules.snapshot(Arc::clone),
            sidecars: self.sidecars.snapshot(Arc::clone),
            excluded_namespaces: (self.namespaces)
                .snapshot(|namespace| namespace.is_excluded.then(|| namespace.name.clone()))
                .into_iter()
                .flatten()
                .collect(),
            served,
        }
    }

    fn tell_of_write(&self, Plan { configuration, .. }: &Plan) {
        self.metrics.writes.inc();
        let (splits, size) = (configuration.traffic_splits.len(), bytes(configuration));
        info!(splits, bytes = size, bytes_a_split = size / splits.max(1), "sidecars get another configuration");
    }

    /// Says it on the object, and what is new as events.
    async fn report(&self, object: &Value, status: Value, news: Vec<crate::status::News>) -> Result<(), kube::Error> {
        let text = |pointer| crate::document::text(object, pointer).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let splits = Request::new(DynamicObject::url_path(&resource(TRAFFIC_SPLIT), Some(&namespace)));
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
        let regarding = ObjectReference {
            api_version: Some(text("/apiVersion")),
            kind: Some("TrafficSplit".into()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: Some(text("/metadata/uid")),
            ..ObjectReference::default()
        };
        for one in news {
            let type_ = if one.is_warning { EventType::Warning } else { EventType::Normal };
            info!(split = format!("{namespace}/{name}"), reason = one.reason, message = one_line(&one.message), "told");
            let event = Event {
                type_,
                reason: one.reason.into(),
                // What Kubernetes takes is 1 KB.
                note: Some(one.message.chars().take(250).collect()),
                // What is of one action counts as the same event, with the first one's note.
                action: format!("Program-{:x}", hash(&one.message)),
                secondary: None,
            };
            if let Err(why) = self.recorder.publish(&event, &regarding).await
                && self.log_limit.lock().is_ok_and(|mut limit| limit.allows())
            {
                warn!(why = one_line(&why.to_string()), "an event could not be written");
            }
        }
        Ok(())
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Whether the API server, by its status code, doesn't take what it is given. What may pass by itself counts when it lasts.
fn is_refusal(code: u16, failures: u32) -> bool {
    match code {
        // Somebody else wrote in between.
        409 => false,
        400 | 403 | 404 | 413 | 422 => true,
        _ => failures >= LASTING_FAILURES,
    }
}
