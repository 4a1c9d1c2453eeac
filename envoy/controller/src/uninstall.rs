//! Removes the filter from the proxies without a failed request.

use crate::client::{Failure, connect};
use crate::error_text::describe;
use crate::kubernetes::{CONTROLLER_NAME, envoy_filters, lease_name, resource};
use crate::lease;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use traffic_split_envoy::{IstioOptions, remove_splits};

/// Removes the filter from the proxies in an order in which no request fails: first the controller, which would restore the
/// other objects; then the splits, so that the roots serve; then the filter with its route. Calls `report` after each step.
///
/// # Errors
/// If the API server refuses a step, or a controller still runs. The call can be repeated.
pub async fn uninstall(
    istio: &IstioOptions,
    namespace: &str,
    wait: Duration,
    report: impl Fn(&str),
) -> Result<(), Failure> {
    uninstall_with(connect().await?, istio, namespace, wait, report).await
}

/// Does the same with this client of the API server.
pub(crate) async fn uninstall_with(
    client: Client,
    istio: &IstioOptions,
    namespace: &str,
    wait: Duration,
    report: impl Fn(&str),
) -> Result<(), Failure> {
    let described = |why: kube::Error| describe(&why);
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource("apps", "v1", "Deployment"));
    match existed(deployments.delete(CONTROLLER_NAME, &DeleteParams::foreground()).await).map_err(described)? {
        true => report(&format!("deleted Deployment {namespace}/{CONTROLLER_NAME}; waiting for its pods to end")),
        false => report(&format!("Deployment {namespace}/{CONTROLLER_NAME} does not exist")),
    }
    while deployments.get_opt(CONTROLLER_NAME).await.map_err(described)?.is_some() {
        sleep(Duration::from_millis(200)).await;
    }
    // A controller that runs elsewhere would restore the splits, perhaps only after it has waited for the Lease.
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let name = lease_name(istio);
    let lease = async || leases.get_opt(&name).await.map(|lease| lease?.spec).map_err(described);
    let before = lease().await?.unwrap_or_default();
    let is_held = before.holder_identity.is_some();
    let max_wait = 2 * lease::RENEW_INTERVAL + if is_held { lease::LEASE_DURATION } else { lease::RENEW_INTERVAL };
    report(&format!("checking for {max_wait:?} whether a controller runs elsewhere"));
    let deadline = Instant::now() + max_wait;
    while Instant::now() < deadline {
        sleep(Duration::from_millis(200)).await;
        let renewed = lease().await?.filter(|lease| lease.renew_time != before.renew_time);
        if let Some(holder) = renewed.and_then(|lease| lease.holder_identity) {
            return Err(format!("controller `{holder}` still runs; stop it, then run uninstall again").into());
        }
    }
    let filters: Api<DynamicObject> = Api::namespaced_with(client, &istio.namespace, &envoy_filters());
    let Some(filter) = filters.get_opt(&istio.name).await.map_err(described)? else {
        report(&format!("EnvoyFilter {}/{} does not exist", istio.namespace, istio.name));
        return Ok(());
    };
    let mut filter = value(&filter);
    if remove_splits(&mut filter) {
        let patch = Patch::Merge(json!({"spec": filter["spec"]}));
        filters.patch(&istio.name, &PatchParams::default(), &patch).await.map_err(described)?;
        report(&format!("removed the splits from EnvoyFilter {}/{}", istio.namespace, istio.name));
    }
    // Wait even if there were no splits: an earlier call may have removed them a moment ago.
    report(&format!("waiting {wait:?} for proxies to receive the change"));
    sleep(wait).await;
    let filter = filters.get_opt(&istio.name).await.map_err(described)?;
    if filter.is_some_and(|filter| remove_splits(&mut value(&filter))) {
        return Err(format!(
            "EnvoyFilter {}/{}: another controller added splits again; stop that controller, then run uninstall again",
            istio.namespace, istio.name
        )
        .into());
    }
    existed(filters.delete(&istio.name, &DeleteParams::default()).await).map_err(described)?;
    report(&format!("deleted EnvoyFilter {}/{}", istio.namespace, istio.name));
    Ok(())
}

/// Returns whether the object existed.
fn existed<T>(deleted: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match deleted {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(why)) if why.code == 404 => Ok(false),
        Err(why) => Err(why),
    }
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
