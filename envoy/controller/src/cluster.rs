//! The watched objects of the cluster, and the snapshot of them for one pass.

use crate::kinds::{DestinationRules, HttpRouteGroups, Namespaces, Services, Sidecars, TrafficSplits, VirtualServices};
use crate::kubernetes::{EXCLUDE_LABEL, resource, traffic_splits};
use crate::own_writes::OwnWrites;
use crate::store::Store;
use crate::watches::Watches;
use std::sync::Arc;
use traffic_split::Configuration;
use traffic_split_envoy::ClusterSnapshot;

/// One store for each kind that planning uses.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) traffic_splits: Arc<Store<TrafficSplits>>,
    pub(crate) http_route_groups: Arc<Store<HttpRouteGroups>>,
    pub(crate) services: Arc<Store<Services>>,
    pub(crate) namespaces: Arc<Store<Namespaces>>,
    pub(crate) virtual_services: Arc<Store<VirtualServices>>,
    pub(crate) destination_rules: Arc<Store<DestinationRules>>,
    pub(crate) sidecars: Arc<Store<Sidecars>>,
}

impl Cluster {
    /// Starts to watch all kinds, in all namespaces.
    pub(crate) fn watch(watches: &mut Watches, cluster_domain: &str, own_writes: &OwnWrites) -> Self {
        let istio = |kind| resource("networking.istio.io", "v1", kind);
        Self {
            traffic_splits: watches.all_namespaces(
                traffic_splits(),
                TrafficSplits { cluster_domain: cluster_domain.to_owned(), own_writes: own_writes.clone() },
            ),
            http_route_groups: watches
                .all_namespaces(resource("specs.smi-spec.io", "v1alpha4", "HTTPRouteGroup"), HttpRouteGroups),
            services: watches.all_namespaces(resource("", "v1", "Service"), Services),
            namespaces: watches
                .all_namespaces(resource("", "v1", "Namespace"), Namespaces { exclude_label: EXCLUDE_LABEL }),
            virtual_services: watches.all_namespaces(istio("VirtualService"), VirtualServices),
            destination_rules: watches.all_namespaces(istio("DestinationRule"), DestinationRules),
            sidecars: watches.all_namespaces(istio("Sidecar"), Sidecars),
        }
    }

    /// Returns the current objects and the served configuration. Copies only references.
    pub(crate) fn snapshot(&self, served: Arc<Configuration>) -> ClusterSnapshot {
        let mut snapshot = ClusterSnapshot::default();
        snapshot.traffic_splits = self.traffic_splits.snapshot(Arc::clone);
        snapshot.http_route_groups = self.http_route_groups.snapshot(Arc::clone);
        snapshot.services = self.services.snapshot(Arc::clone);
        snapshot.virtual_services = self.virtual_services.snapshot(Arc::clone);
        snapshot.destination_rules = self.destination_rules.snapshot(Arc::clone);
        snapshot.sidecars = self.sidecars.snapshot(Arc::clone);
        snapshot.excluded_namespaces = (self.namespaces)
            .snapshot(|namespace| namespace.is_excluded.then(|| namespace.name.clone()))
            .into_iter()
            .flatten()
            .collect();
        snapshot.served = served;
        snapshot
    }
}
