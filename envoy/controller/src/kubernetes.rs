//! Names and resources under which the controller appears in Kubernetes.

use kube::api::{ApiResource, GroupVersionKind};
use traffic_split_envoy::IstioOptions;

/// The controller's name: of its Deployment, its Lease, its field manager and the reporter of its Events.
pub(crate) const CONTROLLER_NAME: &str = "traffic-split-controller";

/// The label that excludes a namespace's clients from splitting, if its value is `true`.
pub(crate) const EXCLUDE_LABEL: &str = "traffic-split/exclude";

/// Returns the resource of TrafficSplits: the version that is stored.
pub(crate) fn traffic_splits() -> ApiResource {
    resource("split.smi-spec.io", "v1alpha4", "TrafficSplit")
}

/// Returns the resource of EnvoyFilters.
pub(crate) fn envoy_filters() -> ApiResource {
    resource("networking.istio.io", "v1alpha3", "EnvoyFilter")
}

/// Returns the resource of a kind.
pub(crate) fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Returns the name of the Lease of the replicas that write the same EnvoyFilter.
pub(crate) fn lease_name(istio: &IstioOptions) -> String {
    match istio.namespace == IstioOptions::default().namespace {
        true => CONTROLLER_NAME.into(),
        false => format!("{CONTROLLER_NAME}-{}", istio.namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::lease_name;
    use traffic_split_envoy::IstioOptions;

    #[test]
    fn each_envoyfilter_has_its_own_lease() {
        let mut istio = IstioOptions::default();
        assert_eq!(lease_name(&istio), "traffic-split-controller");
        istio.namespace = "curl".into();
        assert_eq!(lease_name(&istio), "traffic-split-controller-curl");
    }
}
