//! Kubernetes' own kinds.

use crate::projection::{Kind, NotKept, Projected, annotations, projected, scalars, with_name, within_room};
use crate::raw_object::{RawObject, elements, fields, scalar};
use serde_json::{Value, json};
use std::sync::Arc;
use traffic_split_envoy::EXPORT_TO;

/// Only this number of ports of a Service is kept: requests to further ports are not split. Kubernetes has no limit.
const MAX_PORTS: usize = 256;

/// Services: the annotation `networking.istio.io/exportTo`, `spec.type`, `spec.clusterIP` and `spec.ports`.
#[derive(Debug)]
pub(crate) struct Services;

impl Kind for Services {
    type Kept = Arc<Value>;

    const NAME: &'static str = "Service";

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = with_name(object);
        for (key, annotation) in annotations(object, |key| key == EXPORT_TO) {
            if let Some(annotation) = scalar(annotation) {
                value["metadata"]["annotations"] = json!({key: annotation});
            }
        }
        let [spec] = fields(object.json, ["spec"]);
        if let Some(spec) = spec {
            let [ports] = fields(spec, ["ports"]);
            let mut kept = scalars(spec, ["type", "clusterIP"]);
            if let Some(ports) = ports {
                let port = |port| Value::Object(scalars(port, ["port", "protocol", "name", "appProtocol"]));
                kept.insert("ports".into(), elements(ports).into_iter().take(MAX_PORTS).map(port).collect());
            }
            value["spec"] = kept.into();
        }
        projected::<Self>(value, room)
    }
}

/// Namespaces: the name, and whether the label that excludes their clients is `true`.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The label's key.
    pub(crate) exclude_label: &'static str,
}

/// A namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) is_excluded: bool,
}

impl Kind for Namespaces {
    type Kept = Namespace;

    const NAME: &'static str = "Namespace";
    /// Namespaces have no namespace, so this is the limit for all of them: more than 100,000.
    const MAX_NAMESPACE_BYTES: usize = 64 << 20;

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let [labels] = fields(object.metadata, ["labels"]);
        let label = labels.and_then(|labels| fields(labels, [self.exclude_label])[0]);
        let is_excluded = label.and_then(scalar).is_some_and(|label| label == "true");
        let name = object.name.clone();
        let bytes = within_room(name.len(), room)?;
        Ok(Projected { bytes, kept: Namespace { name, is_excluded } })
    }
}
