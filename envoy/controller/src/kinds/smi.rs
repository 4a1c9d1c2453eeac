//! SMI's kinds.

use crate::own_writes::OwnWrites;
use crate::projection::{
    Kind, NotKept, Projected, annotations, parse_part, type_and_metadata, within_limit, within_room,
};
use crate::raw_object::{RawObject, fields, parse};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use traffic_split_envoy::{GroupObject, SplitObject};

/// TrafficSplits: `apiVersion`, `kind`, `spec`, `status`, and the metadata with `traffic-split/…` annotations only.
#[derive(Debug)]
pub(crate) struct TrafficSplits {
    /// The Kubernetes cluster's DNS domain.
    pub(crate) cluster_domain: String,
    /// The statuses that the controller has written.
    pub(crate) own_writes: OwnWrites,
}

/// A larger status is not kept, so the controller replaces it. The controller writes at most 170 KiB.
pub(super) const MAX_STATUS_BYTES: usize = 256 << 10;

/// The same limit for an unreadable split: its status is small and not counted in the namespace's share.
const MAX_UNREADABLE_STATUS_BYTES: usize = 32 << 10;

/// Each split reserves this size for its status in its namespace's share, so that a status write cannot exceed the share.
const RESERVED_STATUS_BYTES: usize = 2 << 10;

/// The prefix of the annotations that are kept.
const ANNOTATION_PREFIX: &str = "traffic-split/";

impl Kind for TrafficSplits {
    type Kept = Arc<SplitObject>;

    const NAME: &'static str = "TrafficSplit";
    /// About 2,500 usual splits with their statuses.
    const MAX_NAMESPACE_BYTES: usize = 8 << 20;

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let annotations = annotations(object, |key| key.starts_with(ANNOTATION_PREFIX));
        let [spec] = fields(object.json, ["spec"]);
        let size = size(&annotations) + spec.map_or(0, |spec| spec.get().len());
        within_limit::<Self>(size)?;
        let status = status(object, MAX_STATUS_BYTES);
        let status_size = status.map_or(0, |status| status.get().len());
        let bytes = within_room(size + status_size.max(RESERVED_STATUS_BYTES), room)?;
        let mut value = metadata_and_status(object, status);
        if !annotations.is_empty() {
            let annotations = annotations.into_iter().map(|(key, annotation)| {
                parse_part(&format!("metadata.annotations[{key:?}]"), annotation).map(|value| (key, value))
            });
            value["metadata"]["annotations"] = Value::Object(annotations.collect::<Result<_, _>>()?);
        }
        if let Some(spec) = spec {
            value["spec"] = parse_part("spec", spec)?;
        }
        let kept = Arc::new(SplitObject::new(&value, &self.cluster_domain));
        Ok(Projected { kept, bytes })
    }

    /// Versions that differ only in resourceVersion or in a status that the controller wrote need no pass.
    fn is_same(&self, old: &Self::Kept, new: &Self::Kept) -> bool {
        let metadata = |split: &SplitObject| {
            let mut metadata = split.object["metadata"].clone();
            metadata.as_object_mut().map(|metadata| metadata.remove("resourceVersion"));
            metadata
        };
        let status = new.object.get("status");
        (&old.split, &old.group_names) == (&new.split, &new.group_names)
            && metadata(old) == metadata(new)
            && (old.object.get("status") == status || self.own_writes.is_status(&new.key, status))
    }

    fn unreadable(&self, object: &RawObject<'_>, why: String) -> Option<Self::Kept> {
        let value = metadata_and_status(object, status(object, MAX_UNREADABLE_STATUS_BYTES));
        Some(Arc::new(SplitObject::unreadable(&value, why)))
    }
}

fn status<'a>(object: &RawObject<'a>, max_bytes: usize) -> Option<&'a RawValue> {
    let [status] = fields(object.json, ["status"]);
    status.filter(|status| status.get().len() <= max_bytes)
}

/// Returns the parts of an object that a status write needs.
fn metadata_and_status(object: &RawObject<'_>, status: Option<&RawValue>) -> Value {
    let mut value = type_and_metadata::<TrafficSplits>(object);
    // A status that cannot be read is replaced.
    if let Some(status) = status.and_then(|status| parse(status).ok()) {
        value["status"] = status;
    }
    value
}

fn size(annotations: &[(String, &RawValue)]) -> usize {
    annotations.iter().map(|(key, value)| key.len() + value.get().len()).sum()
}

/// HTTPRouteGroups: `apiVersion`, `kind`, `spec`, v1alpha2's `matches`, and the metadata without annotations.
#[derive(Debug)]
pub(crate) struct HttpRouteGroups;

impl Kind for HttpRouteGroups {
    type Kept = Arc<GroupObject>;

    const NAME: &'static str = "HTTPRouteGroup";
    const MAX_OBJECT_BYTES: usize = 512 << 10;

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let parts = ["spec", "matches"].into_iter().zip(fields(object.json, ["spec", "matches"]));
        let parts: Vec<_> = parts.filter_map(|(name, part)| Some((name, part?))).collect();
        let size = parts.iter().map(|(_, part)| part.get().len()).sum();
        within_limit::<Self>(size)?;
        let bytes = within_room(size, room)?;
        let mut value = type_and_metadata::<Self>(object);
        for (name, part) in parts {
            value[name] = parse_part(name, part)?;
        }
        let kept = Arc::new(GroupObject::new(&value));
        Ok(Projected { kept, bytes })
    }

    fn unreadable(&self, object: &RawObject<'_>, why: String) -> Option<Self::Kept> {
        let value = type_and_metadata::<Self>(object);
        Some(Arc::new(GroupObject::unreadable(&value, why)))
    }
}
