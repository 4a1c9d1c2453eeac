//! Puts the controller together: starts the watches, takes part in leader election, and reconciles while this replica leads.

use crate::apply::OwnedFilter;
use crate::client::Failure;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::error_text::describe;
use crate::events::EventPublisher;
use crate::kinds::EnvoyFilters;
use crate::kubernetes::{envoy_filters, lease_name};
use crate::lease::{self, LeaseCandidate};
use crate::metrics::Metrics;
use crate::own_writes::OwnWrites;
use crate::reconcile::Reconciler;
use crate::status_writer::{StatusRequests, StatusWriter};
use crate::store::Store;
use crate::vm_rotation::VmRotation;
use crate::wakeup::Wakeup;
use crate::watch::Source;
use crate::watches::Watches;
use kube::{Api, Client};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use traffic_split::Configuration;
use traffic_split_envoy::IstioOptions;

/// The timeout for releasing the Lease at shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plugin configuration to which the cluster's objects are added.
    pub base: Configuration,
    /// How the EnvoyFilter is rendered, and its name and namespace.
    pub istio: IstioOptions,
    /// The namespace of the Lease for leader election.
    pub lease_namespace: String,
    /// This replica's name, unique among the replicas.
    pub identity: String,
    /// The largest configuration in the EnvoyFilter, in bytes.
    pub max_bytes: usize,
}

/// One replica of the controller. Its watches have started.
pub(crate) struct Controller {
    client: Client,
    clock: Clock,
    options: Options,
    metrics: Metrics,
    wakeup: Wakeup,
    own_writes: OwnWrites,
    watches: Watches,
    cluster: Cluster,
    watched_filter: Arc<Store<EnvoyFilters>>,
}

impl Controller {
    /// Starts the watches.
    pub(crate) fn start(client: Client, clock: Clock, options: Options, metrics: Metrics) -> Self {
        let (wakeup, own_writes) = (Wakeup::default(), OwnWrites::default());
        let mut watches = Watches::new(client.clone(), wakeup.clone(), metrics.clone());
        let cluster = Cluster::watch(&mut watches, &options.base.cluster_domain, &own_writes);
        // The watch detects other writers, and provides the served configuration if the controller may no longer read it.
        let source = Source {
            resource: envoy_filters(),
            namespace: Some(options.istio.namespace.clone()),
            name: Some(options.istio.name.clone()),
        };
        let watched_filter = watches.start(source, EnvoyFilters { own_writes: own_writes.clone() });
        Self { client, clock, options, metrics, wakeup, own_writes, watches, cluster, watched_filter }
    }

    /// Runs until `shutdown` completes; then releases the Lease.
    ///
    /// # Errors
    /// If the API server refuses the first request for the Lease.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
        let Self { client, clock, options, metrics, wakeup, own_writes, watches, cluster, watched_filter } = self;
        let mut shutdown = pin!(shutdown);
        tokio::select! {
            listed = watches.all_listed() => listed?,
            () = &mut shutdown => return Ok(()),
        }
        info!("listed all objects");

        let lease = Arc::new(LeaseCandidate {
            leases: Api::namespaced(client.clone(), &options.lease_namespace),
            name: lease_name(&options.istio),
            identity: options.identity.clone(),
            clock: clock.clone(),
        });
        let mut observed = None;
        tokio::select! {
            answered = timeout(lease::REQUEST_TIMEOUT, lease.attempt(&mut observed)) => if let Ok(Err(why)) = answered {
                return Err(format!("Lease {}/{}: {}", options.lease_namespace, lease.name, describe(&why)).into());
            },
            () = &mut shutdown => return Ok(()),
        }
        let (sender, leads) = tokio::sync::watch::channel(false);
        let lease_task = tokio::spawn({
            let lease = lease.clone();
            async move { lease.run(sender).await }
        });
        let log_limit = Arc::new(Mutex::default());
        let statuses = StatusWriter::new(StatusRequests {
            client: client.clone(),
            clock,
            events: EventPublisher::new(client.clone(), &options.identity, log_limit.clone()),
            own_writes: own_writes.clone(),
            metrics: metrics.clone(),
            wakeup: wakeup.clone(),
            log_limit,
        });
        let mut istio = options.istio;
        istio.knows_all_services = true;
        let reconciler = Reconciler {
            filter: OwnedFilter::new(client, &istio, watched_filter, own_writes),
            base: options.base,
            istio,
            max_bytes: options.max_bytes,
            cluster,
            lease,
            statuses,
            metrics,
            wakeup,
            vm_rotation: Mutex::new(VmRotation::new(Instant::now().into_std())),
        };
        tokio::select! {
            () = reconciler.run(leads) => return Err("leader election stopped".into()),
            () = shutdown => info!("shutting down"),
        }
        // Dropping `leads` ends the lease task, which releases the Lease.
        if timeout(RELEASE_TIMEOUT, lease_task).await.is_err() {
            warn!("the Lease was not released in time; another replica leads after it expires");
        }
        Ok(())
    }
}
