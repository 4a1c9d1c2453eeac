//! The EnvoyFilter that the controller owns: reads it, and replaces its spec.

use crate::kinds::EnvoyFilters;
use crate::kubernetes::{CONTROLLER_NAME, envoy_filters};
use crate::own_writes::OwnWrites;
use crate::store::Store;
use kube::api::{DynamicObject, PostParams};
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
    /// `None` if the Proxy-Wasm filter would refuse the configuration.
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
        wanted: Value,
        configuration: &Configuration,
    ) -> Result<(), kube::Error> {
        self.own_writes.record_filter_spec(wanted["spec"].clone());
        let Some(found) = found else { return self.create(wanted).await };
        // An update, not a patch: the API server takes a quarter of the time for a configuration of 1 MB. It also removes
        // fields that other clients have set; a workloadSelector would end all splits.
        let parameters = PostParams { field_manager: Some(CONTROLLER_NAME.into()), ..PostParams::default() };
        let object = serde_json::from_value(updated(&found.object, wanted)).map_err(kube::Error::SerdeError)?;
        let written = value(&self.api.replace(&self.name, &parameters, &object).await?);
        let written = match self.own_writes.is_filter_spec(&written["spec"]) {
            // Keep the configuration: parsing it from the EnvoyFilter would take as long as planning it.
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

/// Returns the object `found` with the spec of `wanted`. The resourceVersion stays, so the API server refuses the update of
/// another version.
fn updated(found: &Value, mut wanted: Value) -> Value {
    let mut metadata = found["metadata"].clone();
    // The API server keeps them.
    metadata.as_object_mut().map(|metadata| metadata.remove("managedFields"));
    json!({
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": metadata,
        "spec": wanted["spec"].take(),
    })
}

#[cfg(test)]
mod tests {
    use super::updated;
    use serde_json::json;

    #[test]
    fn an_update_replaces_the_spec_and_keeps_metadata() {
        let found = json!({
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {
                "name": "n", "namespace": "istio-system", "resourceVersion": "7", "uid": "u", "labels": {"a": "b"},
                "annotations": {"c": "d"}, "managedFields": [{"manager": "somebody"}],
            },
            "spec": {"configPatches": [1, 2], "workloadSelector": {"labels": {"app": "a"}}, "priority": 7},
            "status": {"x": 1},
        });
        let wanted = json!({"metadata": {"name": "n", "labels": {"e": "f"}}, "spec": {"configPatches": [3]}});
        let expected = json!({
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {
                "name": "n", "namespace": "istio-system", "resourceVersion": "7", "uid": "u", "labels": {"a": "b"},
                "annotations": {"c": "d"},
            },
            "spec": {"configPatches": [3]},
        });
        assert_eq!(updated(&found, wanted), expected);
    }
}
