//! The EnvoyFilter that the controller owns: reads it, and replaces its spec.

use crate::kinds::EnvoyFilters;
use crate::kubernetes::{CONTROLLER_NAME, envoy_filters};
use crate::own_writes::OwnWrites;
use crate::store::Store;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use traffic_split::Configuration;
use traffic_split_envoy::{IstioOptions, served_configuration};

/// The EnvoyFilter that the controller owns.
pub(crate) struct OwnedFilter {
    api: Api<DynamicObject>,
    namespace: String,
    name: String,
    /// The copy that a watch keeps up to date.
    watched: Arc<Store<EnvoyFilters>>,
    own_writes: OwnWrites,
    /// The version that was last read or written.
    last: Mutex<Option<Arc<ServedFilter>>>,
}

/// The EnvoyFilter as the API server has it, and the configuration in it.
#[derive(Debug)]
pub(crate) struct ServedFilter {
    pub(crate) object: Value,
    /// `None` if the Proxy-Wasm filter would refuse it.
    pub(crate) configuration: Option<Arc<Configuration>>,
}

// === impl OwnedFilter ===

impl OwnedFilter {
    pub(crate) fn new(
        client: Client,
        istio: &IstioOptions,
        watched: Arc<Store<EnvoyFilters>>,
        own_writes: OwnWrites,
    ) -> Self {
        let api = Api::namespaced_with(client, &istio.namespace, &envoy_filters());
        let (namespace, name) = (istio.namespace.clone(), istio.name.clone());
        Self { api, namespace, name, watched, own_writes, last: Mutex::default() }
    }

    /// Returns the EnvoyFilter, if it exists.
    ///
    /// The watched copy may be older than the controller's last write. If it has the version that was last read or written,
    /// no request is made.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses the request.
    pub(crate) async fn read(&self) -> Result<Option<Arc<ServedFilter>>, kube::Error> {
        let watched = self.watched.snapshot(|filter| filter["metadata"]["resourceVersion"].clone()).pop();
        let last = self.last().clone();
        if let Some(last) = last
            && watched.as_ref() == Some(&last.object["metadata"]["resourceVersion"])
        {
            return Ok(Some(last));
        }
        let found = self.api.get_opt(&self.name).await?;
        let found = found.map(|filter| Arc::new(ServedFilter::new(value(&filter))));
        self.last().clone_from(&found);
        Ok(found)
    }

    /// Returns the watched copy, for a controller that is no longer allowed to read the EnvoyFilter.
    pub(crate) fn watched(&self) -> Option<Arc<ServedFilter>> {
        let watched = self.watched.snapshot(|filter| ServedFilter::new(Value::clone(filter))).pop();
        watched.map(Arc::new)
    }

    /// Replaces the EnvoyFilter `found` by `wanted`, which carries `configuration`. A version that another client has written
    /// meanwhile is not overwritten.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses the EnvoyFilter.
    pub(crate) async fn write(
        &self,
        found: Option<&ServedFilter>,
        mut wanted: Value,
        configuration: &Configuration,
    ) -> Result<(), kube::Error> {
        self.own_writes.record_filter_spec(wanted["spec"].clone());
        let Some(found) = found else { return self.create(wanted).await };
        // A merge patch, not a server-side apply: an apply keeps fields that other clients have set, and a workloadSelector
        // would end all splits.
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": found.object["metadata"]["resourceVersion"]},
            "spec": replacement(&found.object["spec"], wanted["spec"].take()),
        }));
        let parameters = PatchParams { field_manager: Some(CONTROLLER_NAME.into()), ..PatchParams::default() };
        let written = value(&self.api.patch(&self.name, &parameters, &patch).await?);
        let written = match self.own_writes.is_filter_spec(&written["spec"]) {
            // Reading the configuration back would take as long as planning it.
            true => ServedFilter { object: written, configuration: Some(Arc::new(configuration.clone())) },
            false => ServedFilter::new(written),
        };
        *self.last() = Some(Arc::new(written));
        Ok(())
    }

    async fn create(&self, wanted: Value) -> Result<(), kube::Error> {
        let parameters = PostParams { field_manager: Some(CONTROLLER_NAME.into()), ..PostParams::default() };
        let wanted = serde_json::from_value(wanted).map_err(kube::Error::SerdeError)?;
        match self.api.create(&parameters, &wanted).await {
            Err(kube::Error::Api(mut why)) if why.code == 403 => {
                why.message = format!(
                    "EnvoyFilter {}/{} does not exist and the controller is not allowed to create it; apply the manifests (kubectl \
                     apply -k envoy/manifests): {}",
                    self.namespace, self.name, why.message
                );
                Err(kube::Error::Api(why))
            }
            created => created.map(|_| ()),
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<ServedFilter>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ServedFilter ===

impl ServedFilter {
    fn new(object: Value) -> Self {
        Self { configuration: served_configuration(&object).map(Arc::new), object }
    }
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Returns the merge patch that turns `found` into `wanted`: `wanted`, and `null` for each field that only `found` has.
fn replacement(found: &Value, mut wanted: Value) -> Value {
    if let (Some(found), Some(wanted)) = (found.as_object(), wanted.as_object_mut()) {
        for (key, found) in found {
            let field = wanted.get_mut(key).map_or(Value::Null, |wanted| replacement(found, wanted.take()));
            wanted.insert(key.clone(), field);
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::replacement;
    use serde_json::json;

    #[test]
    fn a_merge_patch_removes_fields_that_others_have_set() {
        let found =
            json!({"configPatches": [1, 2], "workloadSelector": {"labels": {"app": "a", "x": "y"}}, "priority": 7});
        let wanted = json!({"configPatches": [3], "workloadSelector": {"labels": {"app": "b", "n": "m"}}});
        let patch = replacement(&found, wanted);
        let labels = json!({"app": "b", "n": "m", "x": null});
        assert_eq!(patch, json!({"configPatches": [3], "workloadSelector": {"labels": labels}, "priority": null}));
        assert_eq!(replacement(&json!(null), json!({"a": 1})), json!({"a": 1}));
    }
}
