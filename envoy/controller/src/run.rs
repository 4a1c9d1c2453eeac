//! Runs the controller: connects, starts the watches and the server, and leads when its turn comes.

use crate::apply::OwnedFilter;
use crate::client::{Failure, connect};
use crate::cluster::Cluster;
use crate::error_text::describe;
use crate::events::Events;
use crate::kubernetes::{envoy_filters, lease_name};
use crate::lease::{self, LeaseCandidate};
use crate::metrics::Metrics;
use crate::own_writes::OwnWrites;
use crate::projection::EnvoyFilters;
use crate::reconcile::Reconciler;
use crate::server::{LIMITS, serve};
use crate::signals::asked_to_end;
use crate::status_writer::{StatusRequests, StatusWriter};
use crate::wakeup::Wakeup;
use crate::watch::Source;
use crate::watches::Watches;
use kube::Api;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::{info, warn};
use traffic_split::Configuration;
use traffic_split_envoy::IstioOptions;

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plugin configuration to which the cluster's objects are added.
    pub base: Configuration,
    /// How the EnvoyFilter is rendered, and its name and namespace.
    pub istio: IstioOptions,
    /// The addresses of the health and metrics server: the first that can be bound is used.
    pub listen: Vec<SocketAddr>,
    /// The namespace of the Lease for leader election.
    pub lease_namespace: String,
    /// This replica's name, unique among the replicas.
    pub identity: String,
    /// The most bytes that the configuration may take in the EnvoyFilter.
    pub max_bytes: usize,
}

/// Runs the controller until the process receives SIGTERM or SIGINT.
///
/// # Errors
/// If the API server or the Lease cannot be reached at the start, or no address can be bound.
pub async fn run(options: Options) -> Result<(), Failure> {
    let listener = TcpListener::bind(&options.listen[..]).await;
    let addresses: Vec<_> = options.listen.iter().map(SocketAddr::to_string).collect();
    let listener = listener.map_err(|why| format!("--listen {}: {why}", addresses.join(", ")))?;
    let client = connect().await?;
    let mut ended = std::pin::pin!(asked_to_end());
    let metrics = Metrics::new();
    info!(address = %listener.local_addr()?, "health and metrics are at");

    let (wakeup, own) = (Wakeup::default(), OwnWrites::default());
    let mut watches = Watches::new(client.clone(), wakeup.clone(), metrics.clone());
    let cluster = Cluster::watch(&mut watches, &options.base.cluster_domain, &own);
    // To notice other writers, and to know the served configuration if reading is forbidden later.
    let source = Source {
        resource: envoy_filters(),
        namespace: Some(options.istio.namespace.clone()),
        name: Some(options.istio.name.clone()),
    };
    let watched_filter = watches.start(source, EnvoyFilters { own: own.clone() });
    tokio::spawn(serve(listener, metrics.router(), LIMITS));
    tokio::select! {
        listed = watches.all_listed() => listed?,
        () = &mut ended => return Ok(()),
    }
    info!("everything has been listed");

    let lease = Arc::new(LeaseCandidate {
        leases: Api::namespaced(client.clone(), &options.lease_namespace),
        name: lease_name(&options.istio),
        identity: options.identity.clone(),
    });
    let mut seen = None;
    tokio::select! {
        answered = timeout(lease::REQUEST_TIMEOUT, lease.attempt(&mut seen)) => if let Ok(Err(why)) = answered {
            return Err(format!("the Lease {} in {}: {}", lease.name, options.lease_namespace, describe(&why)).into());
        },
        () = &mut ended => return Ok(()),
    }
    let (sender, leads) = tokio::sync::watch::channel(false);
    let lease_task = tokio::spawn({
        let lease = lease.clone();
        async move { lease.run(sender).await }
    });
    let log_limit = Arc::new(Mutex::default());
    let statuses = StatusWriter::new(StatusRequests {
        client: client.clone(),
        events: Events::new(client.clone(), &options.identity, log_limit.clone()),
        own: own.clone(),
        metrics: metrics.clone(),
        wakeup: wakeup.clone(),
        log_limit,
    });
    let reconciler = Reconciler {
        filter: OwnedFilter::new(client, &options.istio, watched_filter, own),
        base: options.base,
        istio: options.istio,
        max_bytes: options.max_bytes,
        cluster,
        lease,
        statuses,
        metrics,
        wakeup,
        vm_rotation: Mutex::default(),
    };
    tokio::select! {
        () = reconciler.run(leads) => return Err("leader election stopped".into()),
        () = ended => info!("asked to end"),
    }
    // The lease task ends because its receiver is gone, and releases the Lease.
    if timeout(Duration::from_secs(5), lease_task).await.is_err() {
        warn!("the lease could not be given back");
    }
    Ok(())
}
