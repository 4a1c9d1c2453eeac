//! Removes the filter from the proxies without a failed request.

use crate::client::{Failure, connect};
use crate::error_text::describe;
use crate::kubernetes::{CONTROLLER_NAME, envoy_filters, lease_name, resource};
use crate::lease;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use traffic_split_envoy::{IstioOptions, remove_splits};

/// Takes the filter out of the proxies in an order in which no request fails: the controller first, which would put things
/// back; then the splits, so that the roots serve; then the filter with its route. `say` is told of each step.
///
/// # Errors
/// If the API server refuses a step, or a controller still runs; the steps before are done, and it can be called again.
pub async fn uninstall(
    istio: &IstioOptions,
    namespace: &str,
    wait: Duration,
    say: impl Fn(&str),
) -> Result<(), Failure> {
    let client = connect().await?;
    let refused = |why: kube::Error| describe(&why);
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource("apps", "v1", "Deployment"));
    match gone(deployments.delete(CONTROLLER_NAME, &DeleteParams::foreground()).await).map_err(refused)? {
        true => say(&format!("deleted Deployment {namespace}/{CONTROLLER_NAME}; waiting for its pods to end")),
        false => say(&format!("there is no Deployment {namespace}/{CONTROLLER_NAME}")),
    }
    while deployments.get_opt(CONTROLLER_NAME).await.map_err(refused)?.is_some() {
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
    if remove_splits(&mut filter) {
        let patch = Patch::Merge(json!({"spec": filter["spec"]}));
        filters.patch(&istio.name, &PatchParams::default(), &patch).await.map_err(refused)?;
        say(&format!("took the splits out of EnvoyFilter {}/{}", istio.namespace, istio.name));
    }
    // Also if they were taken out before: that may have been a moment ago.
    say(&format!("waiting {wait:?} for proxies to hear of that"));
    sleep(wait).await;
    let now = filters.get_opt(&istio.name).await.map_err(refused)?;
    if now.is_some_and(|now| remove_splits(&mut value(&now))) {
        return Err("somebody has put splits back into it: stop the controller that does, and uninstall again".into());
    }
    gone(filters.delete(&istio.name, &DeleteParams::default()).await).map_err(refused)?;
    say(&format!("deleted EnvoyFilter {}/{}", istio.namespace, istio.name));
    Ok(())
}

/// Whether it was there to be deleted.
fn gone<T>(deleted: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match deleted {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(why)) if why.code == 404 => Ok(false),
        Err(why) => Err(why),
    }
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
