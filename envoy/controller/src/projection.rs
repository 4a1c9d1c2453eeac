//! The kinds that the controller watches, and the parts of their objects that planning uses. All other parts are skipped, so
//! they cost no memory and cannot make an object unreadable.

use crate::own_writes::OwnWrites;
use crate::raw_object::{RawObject, each_field, elements, fields, parse, scalar};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use traffic_split_envoy::{EXPORT_TO, GroupObject, SplitObject};

/// One kind of object: what is kept of it, and how much of it.
pub(crate) trait Kind: Send + Sync + 'static {
    /// What the store holds for one object.
    type Kept: PartialEq + Send + Sync + 'static;

    /// The kind's name, as in `kind`.
    const NAME: &'static str;

    /// The largest object that is kept, in bytes of JSON after projection.
    const MAX_OBJECT_BYTES: usize = 128 << 10;

    /// The most that is kept of the objects of one namespace: bytes of JSON after projection, and [`ENTRY_BYTES`] for each.
    const MAX_NAMESPACE_BYTES: usize = 4 << 20;

    /// Reads and validates an object, of which `room` bytes may be kept.
    ///
    /// # Errors
    /// If the object cannot be read, or is larger than [`MAX_OBJECT_BYTES`](Self::MAX_OBJECT_BYTES) or the room.
    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept>;

    /// Whether a new version of an object leaves nothing to do for the controller.
    fn is_same(&self, old: &Self::Kept, new: &Self::Kept) -> bool {
        old == new
    }

    /// Returns what is kept of an object that cannot be read, if it is to be reported at all.
    fn unreadable(&self, object: &RawObject<'_>, why: String) -> Option<Self::Kept> {
        let _ = (object, why);
        None
    }
}

/// What is kept of an object, with its size.
#[derive(Debug)]
pub(crate) struct Projected<T> {
    pub(crate) kept: T,
    /// What the object takes of its namespace's share: JSON after projection, and [`ENTRY_BYTES`].
    pub(crate) bytes: usize,
}

/// Why an object is not kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotKept {
    /// The object cannot be read, or is too large; the message for its author.
    Unreadable(String),
    /// The object does not fit into its namespace's share.
    NoRoom,
}

/// What each object takes of its namespace's share beside its JSON: keys, versions, allocations.
const ENTRY_BYTES: usize = 512;

/// TrafficSplits: `apiVersion`, `kind`, `spec`, `status`, and the metadata with annotations of ours only.
#[derive(Debug)]
pub(crate) struct TrafficSplits {
    /// The Kubernetes cluster's DNS domain.
    pub(crate) cluster_domain: String,
    /// The statuses that the controller has written.
    pub(crate) own: OwnWrites,
}

/// A larger status is not kept, so the controller replaces it. The controller's own has at most 170 KiB.
const MAX_STATUS_BYTES: usize = 256 << 10;

/// The same for a split that cannot be read: the controller's status for it is small, so it takes nothing of the namespace's
/// share.
const MAX_UNREADABLE_STATUS_BYTES: usize = 32 << 10;

/// A split takes this of its namespace's share before it has a status: writing the status must not use up the share.
const RESERVED_STATUS_BYTES: usize = 2 << 10;

/// The annotations that TrafficSplits are validated with start with this.
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

    /// Versions that differ in resourceVersion only, or in the status that the controller itself wrote, are the same.
    fn is_same(&self, old: &Self::Kept, new: &Self::Kept) -> bool {
        let metadata = |split: &SplitObject| {
            let mut metadata = split.object["metadata"].clone();
            metadata.as_object_mut().map(|metadata| metadata.remove("resourceVersion"));
            metadata
        };
        let status = new.object.get("status");
        (&old.split, &old.group_names) == (&new.split, &new.group_names)
            && metadata(old) == metadata(new)
            && (old.object.get("status") == status || self.own.is_status(&new.key, status))
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

/// What writing a status needs.
fn metadata_and_status(object: &RawObject<'_>, status: Option<&RawValue>) -> Value {
    let mut value = type_and_metadata::<TrafficSplits>(object);
    // A status that cannot be read is replaced.
    if let Some(status) = status.and_then(|status| parse(status).ok()) {
        value["status"] = status;
    }
    value
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

/// The ports that are kept of a Service, the first ones: requests to others are not split. Kubernetes has no limit.
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

/// Istio's VirtualServices: `spec.hosts`, `spec.gateways`, and whether `spec.http` has entries.
#[derive(Debug)]
pub(crate) struct VirtualServices;

impl Kind for VirtualServices {
    type Kept = Arc<Value>;

    const NAME: &'static str = "VirtualService";

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = with_name(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            let [hosts, gateways, http] = fields(spec, ["hosts", "gateways", "http"]);
            let has_routes = http.is_some_and(|http| !elements(http).is_empty());
            value["spec"] = json!({
                "hosts": scalar_elements(hosts),
                "gateways": scalar_elements(gateways),
                "http": if has_routes { json!([{}]) } else { json!([]) },
            });
        }
        projected::<Self>(value, room)
    }
}

/// Istio's DestinationRules: `spec.host`, and `loadBalancer.consistentHash` of the traffic policy and its ports.
#[derive(Debug)]
pub(crate) struct DestinationRules;

impl Kind for DestinationRules {
    type Kept = Arc<Value>;

    const NAME: &'static str = "DestinationRule";

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = with_name(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            let mut kept = scalars(spec, ["host"]);
            if let [Some(policy)] = fields(spec, ["trafficPolicy"]) {
                let [ports] = fields(policy, ["portLevelSettings"]);
                let ports = ports.map(elements).unwrap_or_default();
                let ports: Vec<_> = ports.into_iter().filter_map(consistent_hash).collect();
                let mut policy = consistent_hash(policy).unwrap_or_else(|| json!({}));
                policy["portLevelSettings"] = ports.into();
                kept.insert("trafficPolicy".into(), policy);
            }
            value["spec"] = kept.into();
        }
        projected::<Self>(value, room)
    }
}

/// Returns a policy with nothing but its `loadBalancer.consistentHash.httpHeaderName`; `None` if the policy does not hash.
fn consistent_hash(policy: &RawValue) -> Option<Value> {
    let [load_balancer] = fields(policy, ["loadBalancer"]);
    let [hash] = fields(load_balancer?, ["consistentHash"]);
    Some(json!({"loadBalancer": {"consistentHash": scalars(hash?, ["httpHeaderName"])}}))
}

/// Istio's Sidecars: `spec.egress[].hosts`.
#[derive(Debug)]
pub(crate) struct Sidecars;

impl Kind for Sidecars {
    type Kept = Arc<Value>;

    const NAME: &'static str = "Sidecar";

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = with_name(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            let [egress] = fields(spec, ["egress"]);
            let egress = egress.map(elements).unwrap_or_default().into_iter();
            let egress = egress.map(|egress| json!({"hosts": scalar_elements(fields(egress, ["hosts"])[0])}));
            value["spec"] = json!({"egress": egress.collect::<Vec<_>>()});
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
    /// Namespaces have no namespace, so this holds for all of them together: more than 100,000.
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

/// EnvoyFilters: metadata and spec. Only the controller's own is watched; it is as large as `--max-bytes` allows, and more.
#[derive(Debug)]
pub(crate) struct EnvoyFilters {
    /// The EnvoyFilter that the controller has written.
    pub(crate) own: OwnWrites,
}

impl Kind for EnvoyFilters {
    type Kept = Arc<Value>;

    const NAME: &'static str = "EnvoyFilter";
    const MAX_OBJECT_BYTES: usize = 8 << 20;
    const MAX_NAMESPACE_BYTES: usize = 8 << 20;

    /// The version that the controller itself wrote is the same.
    fn is_same(&self, _: &Self::Kept, new: &Self::Kept) -> bool {
        self.own.is_filter_spec(&new["spec"])
    }

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = type_and_metadata::<Self>(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            within_limit::<Self>(spec.get().len())?;
            value["spec"] = parse_part("spec", spec)?;
        }
        projected::<Self>(value, room)
    }
}

/// # Errors
/// If an object of this size is too large for its kind.
fn within_limit<K: Kind>(bytes: usize) -> Result<(), NotKept> {
    if bytes <= K::MAX_OBJECT_BYTES {
        return Ok(());
    }
    let (size, limit) = (bytes.div_ceil(1024), K::MAX_OBJECT_BYTES >> 10);
    Err(NotKept::Unreadable(format!("the object has {size} KiB of JSON; the limit for a {} is {limit} KiB", K::NAME)))
}

/// Returns the bytes that an object of this size takes of its namespace's share.
///
/// # Errors
/// If the share has no room for it.
fn within_room(bytes: usize, room: usize) -> Result<usize, NotKept> {
    let bytes = bytes + ENTRY_BYTES;
    if bytes <= room { Ok(bytes) } else { Err(NotKept::NoRoom) }
}

/// # Errors
/// If the part of an object with this name cannot be parsed.
fn parse_part(name: &str, part: &RawValue) -> Result<Value, NotKept> {
    parse(part).map_err(|why| NotKept::Unreadable(format!("{name}: {why}")))
}

fn projected<K: Kind<Kept = Arc<Value>>>(value: Value, room: usize) -> Result<Projected<Arc<Value>>, NotKept> {
    let bytes = value.to_string().len();
    within_limit::<K>(bytes)?;
    Ok(Projected { bytes: within_room(bytes, room)?, kept: Arc::new(value) })
}

/// The annotations whose key is one of these.
fn annotations<'a>(object: &RawObject<'a>, is_kept: impl Fn(&str) -> bool) -> Vec<(String, &'a RawValue)> {
    let mut kept = Vec::new();
    if let [Some(annotations)] = fields(object.metadata, ["annotations"]) {
        each_field(annotations, |key, value| {
            if is_kept(key) {
                kept.push((key.to_owned(), value));
            }
        });
    }
    kept
}

fn size(annotations: &[(String, &RawValue)]) -> usize {
    annotations.iter().map(|(key, value)| key.len() + value.get().len()).sum()
}

/// `metadata.name` and `metadata.namespace`.
fn with_name(object: &RawObject<'_>) -> Value {
    let mut metadata = json!({"name": object.name});
    if !object.namespace.is_empty() {
        metadata["namespace"] = object.namespace.as_str().into();
    }
    json!({"metadata": metadata})
}

/// `apiVersion`, `kind`, and the metadata that statuses, Events and validation need.
fn type_and_metadata<K: Kind>(object: &RawObject<'_>) -> Value {
    let mut value = Value::Object(scalars(object.json, ["apiVersion", "kind"]));
    if value.get("kind").is_none() {
        value["kind"] = K::NAME.into();
    }
    let names = ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"];
    value["metadata"] = scalars(object.metadata, names).into();
    value
}

/// The members with these names that are a string, a number or a boolean.
fn scalars<const N: usize>(object: &RawValue, names: [&str; N]) -> Map<String, Value> {
    let found = names.into_iter().zip(fields(object, names));
    found.filter_map(|(name, value)| Some((name.to_owned(), scalar(value?)?))).collect()
}

fn scalar_elements(array: Option<&RawValue>) -> Vec<Value> {
    array.map(elements).unwrap_or_default().into_iter().filter_map(scalar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw_object::raw;
    use fastrand::Rng;
    use std::fmt::Write;

    fn read<K: Kind>(kind: &K, json: &str) -> Result<K::Kept, NotKept> {
        let object = RawObject::new(raw(json).unwrap()).unwrap();
        kind.read(&object, K::MAX_NAMESPACE_BYTES).map(|read| read.kept)
    }

    fn why<T>(read: Result<T, NotKept>) -> String {
        match read {
            Err(NotKept::Unreadable(why)) => why,
            Err(NotKept::NoRoom) => "no room".into(),
            Ok(_) => "read".into(),
        }
    }

    fn splits() -> TrafficSplits {
        TrafficSplits { cluster_domain: "cluster.local".into(), own: OwnWrites::default() }
    }

    fn split(spec: &str) -> String {
        format!(
            r#"{{"apiVersion":"split.smi-spec.io/v1alpha4","kind":"TrafficSplit","metadata":{{"name":"s","namespace":"ns",
                "uid":"u","resourceVersion":"1","generation":2,"creationTimestamp":"2026-01-01T00:00:00Z",
                "managedFields":[{{"deep":{deep}}}],"labels":{{"a":"b"}},
                "annotations":{{"other":"x","traffic-split/override-header":"x-version"}}}},
                "spec":{spec},"status":{{"state":"Programmed"}}}}"#,
            deep = "[".repeat(200) + &"]".repeat(200),
        )
    }

    #[test]
    fn only_changes_that_planning_depends_on_count() {
        let kind = splits();
        let text = split(r#"{"service":"web","backends":[{"service":"v1","weight":1}]}"#);
        let version = |old: &str, new: &str| {
            assert!(text.contains(old), "{old}");
            read(&kind, &text.replace(old, new)).unwrap()
        };
        let first = version("ns", "ns");
        let is_same = |old: &str, new: &str| kind.is_same(&first, &version(old, new));
        assert!(is_same(r#""resourceVersion":"1""#, r#""resourceVersion":"2""#));
        assert!(is_same(r#""other":"x""#, r#""other":"y""#) && is_same(r#""a":"b""#, r#""a":"c""#));
        assert!(!is_same("x-version", "x-other") && !is_same(r#""weight":1"#, r#""weight":2"#));
        assert!(!is_same(r#""generation":2"#, r#""generation":3"#));
        assert!(!is_same(r#""Programmed""#, r#""Other""#), "another client wrote the status");
        kind.own.record_status("ns/s".into(), json!({"state": "Other"}));
        assert!(is_same(r#""Programmed""#, r#""Other""#), "the controller wrote the status");
        assert!(!is_same(r#""status":{"state":"Programmed"}"#, r#""x":0"#));

        let kind = EnvoyFilters { own: OwnWrites::default() };
        let filter = |spec: &str| {
            let metadata = r#""metadata":{"name":"f","namespace":"ns","uid":"u","resourceVersion":"1"}"#;
            read(&kind, &format!(r#"{{{metadata},"spec":{spec}}}"#)).unwrap()
        };
        kind.own.record_filter_spec(json!({"a": 1}));
        let old = filter("{}");
        assert!(kind.is_same(&old, &filter(r#"{"a":1}"#)) && !kind.is_same(&old, &filter("{}")));
    }

    #[test]
    fn a_split_keeps_its_spec_status_and_our_annotations() {
        let kept = read(&splits(), &split(r#"{"service":"s","backends":[{"service":"v1","weight":1}]}"#)).unwrap();
        let metadata = json!({"name": "s", "namespace": "ns", "uid": "u", "resourceVersion": "1", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"traffic-split/override-header": "x-version"}});
        assert_eq!(kept.object["metadata"], metadata);
        assert_eq!(kept.object["status"], json!({"state": "Programmed"}));
        assert_eq!(kept.key, "ns/s");
        assert!(kept.split.is_ok(), "{:?}", kept.split);
    }

    #[test]
    fn an_unreadable_split_keeps_metadata_and_status() {
        let deep = split(&("[".repeat(200) + &"]".repeat(200)));
        assert_eq!(why(read(&splits(), &deep)), "spec: nests more than 127 levels deep");
        let large = split(&format!("{{\"x\":\"{}\"}}", "x".repeat(1_500_000)));
        let message = why(read(&splits(), &large));
        assert_eq!(message, "the object has 1465 KiB of JSON; the limit for a TrafficSplit is 128 KiB");
        let large = RawObject::new(raw(&large).unwrap()).unwrap();
        let kept = splits().unreadable(&large, message.clone()).unwrap();
        assert_eq!(kept.split.as_ref().unwrap_err(), &message);
        assert_eq!(
            (&kept.object["metadata"]["generation"], &kept.object["status"]["state"]),
            (&json!(2), &json!("Programmed"))
        );
    }

    #[test]
    fn a_status_that_is_too_deep_or_too_large_is_left_out() {
        for status in
            ["[".repeat(200) + &"]".repeat(200), format!("\"{}\"", "x".repeat(MAX_STATUS_BYTES)), "1e999".into()]
        {
            let json = split("{}").replace(r#"{"state":"Programmed"}"#, &status);
            assert_eq!(read(&splits(), &json).unwrap().object.get("status"), None);
        }
    }

    #[test]
    fn a_group_has_its_matches_in_the_spec_or_at_the_top() {
        let matches = r#"[{"name":"m","headers":{"h":"v"}}]"#;
        for part in [format!(r#""spec":{{"matches":{matches}}}"#), format!(r#""matches":{matches}"#)] {
            let json = format!(
                r#"{{"apiVersion":"specs.smi-spec.io/v1alpha4","kind":"HTTPRouteGroup","metadata":{{"name":"g","namespace":"ns"}},{part}}}"#
            );
            let kept = read(&HttpRouteGroups, &json).unwrap();
            assert!(kept.group.is_ok(), "{:?}", kept.group);
        }
        let deep = format!(
            r#"{{"metadata":{{"name":"g","namespace":"ns"}},"spec":{{"matches":[{{"headers":{}1{}}}]}}}}"#,
            r#"{"a":"#.repeat(130),
            "}".repeat(130)
        );
        assert_eq!(why(read(&HttpRouteGroups, &deep)), "spec: nests more than 127 levels deep");
        let object = RawObject::new(raw(&deep).unwrap()).unwrap();
        let kept = HttpRouteGroups.unreadable(&object, "why".into()).unwrap();
        assert_eq!((kept.key.as_str(), kept.group.as_ref().unwrap_err().as_str()), ("ns/g", "why"));
    }

    #[test]
    fn other_kinds_keep_only_what_planning_uses() {
        let service = r#"{"metadata":{"name":"a","namespace":"ns","annotations":{"x":"y","networking.istio.io/exportTo":"."},
            "labels":{"a":"b"}},"spec":{"type":"ClusterIP","clusterIP":"None","selector":{"a":"b"},"ports":[
            {"port":80,"protocol":"TCP","name":"http","appProtocol":"http","targetPort":8080},{"port":[[]]},7]},"status":{}}"#;
        let kept = json!({"metadata": {"name": "a", "namespace": "ns", "annotations": {"networking.istio.io/exportTo": "."}},
            "spec": {"type": "ClusterIP", "clusterIP": "None",
            "ports": [{"port": 80, "protocol": "TCP", "name": "http", "appProtocol": "http"}, {}, {}]}});
        assert_eq!(*read(&Services, service).unwrap(), kept);
        let rule = r#"{"metadata":{"name":"a","namespace":"ns"},"spec":{"hosts":["b",{}],"gateways":["mesh"],"http":[{"x":[1]},{}]}}"#;
        let kept = json!({"hosts": ["b"], "gateways": ["mesh"], "http": [{}]});
        assert_eq!(read(&VirtualServices, rule).unwrap()["spec"], kept);
        let rule = r#"{"metadata":{"name":"a"},"spec":{"host":"b","subsets":[{}],"trafficPolicy":{
            "connectionPool":{},"loadBalancer":{"simple":"X","consistentHash":{"httpHeaderName":"h","minimumRingSize":1}},
            "portLevelSettings":[{"port":{}},{"loadBalancer":{"consistentHash":{"useSourceIp":true}}}]}}}"#;
        let hash = |by: Value| json!({"loadBalancer": {"consistentHash": by}});
        let mut policy = hash(json!({"httpHeaderName": "h"}));
        policy["portLevelSettings"] = json!([hash(json!({}))]);
        assert_eq!(read(&DestinationRules, rule).unwrap()["spec"], json!({"host": "b", "trafficPolicy": policy}));
        let sidecar =
            r#"{"metadata":{"name":"a"},"spec":{"egress":[{"hosts":["./*",1],"port":{}},{}],"ingress":[{}]}}"#;
        assert_eq!(
            read(&Sidecars, sidecar).unwrap()["spec"],
            json!({"egress": [{"hosts": ["./*", 1]}, {"hosts": []}]})
        );
        for (label, is_excluded) in [("\"true\"", true), ("true", false), ("\"no\"", false), ("[[]]", false)] {
            let namespace = format!(r#"{{"metadata":{{"name":"ns","labels":{{"x/y":{label}}}}}}}"#);
            let kept = read(&Namespaces { exclude_label: "x/y" }, &namespace).unwrap();
            assert_eq!(kept, Namespace { name: "ns".into(), is_excluded });
        }
    }

    #[test]
    fn large_parts_that_are_not_used_cost_nothing() {
        let service = format!(r#"{{"metadata":{{"name":"a","annotations":{{"x":"{}"}}}}}}"#, "x".repeat(1_500_000));
        assert_eq!(*read(&Services, &service).unwrap(), json!({"metadata": {"name": "a"}}));
        let hosts = vec!["\"a-long-host.example.com\""; 10_000].join(",");
        let rule = format!(r#"{{"metadata":{{"name":"a"}},"spec":{{"hosts":[{hosts}]}}}}"#);
        assert!(why(read(&VirtualServices, &rule)).ends_with("the limit for a VirtualService is 128 KiB"));
    }

    /// Writes random JSON, often with the names that are read, at times deeper than can be parsed.
    fn write_json(rng: &mut Rng, depth: usize, json: &mut String) {
        const NAMES: [&str; 22] = [
            "spec",
            "status",
            "metadata",
            "annotations",
            "labels",
            "matches",
            "ports",
            "hosts",
            "http",
            "egress",
            "trafficPolicy",
            "loadBalancer",
            "consistentHash",
            "portLevelSettings",
            "name",
            "namespace",
            "generation",
            "traffic-split/mirror",
            "networking.istio.io/exportTo",
            "x/y",
            "\\ud800",
            "n\\u0061me",
        ];
        const SCALARS: [&str; 14] = [
            "null",
            "true",
            "0",
            "-0",
            "1e999",
            "-1E-999",
            "18446744073709551616",
            "0.1",
            "\"\"",
            "\"true\"",
            "\"\\ud800\"",
            "\"\\udc00\\ud800x\"",
            "\"\\u0000\\n\u{202e}ü\"",
            "\"spec\"",
        ];
        match rng.usize(..if depth == 0 { 1 } else { 4 }) {
            0 => json.push_str(SCALARS[rng.usize(..SCALARS.len())]),
            1 if rng.usize(..20) == 0 => {
                let levels = rng.usize(100..300);
                json.push_str(&"[".repeat(levels));
                json.push_str(&"]".repeat(levels));
            }
            1 => {
                json.push('[');
                for index in 0..rng.usize(..4) {
                    json.push_str(if index > 0 { ", " } else { "" });
                    write_json(rng, depth - 1, json);
                }
                json.push(']');
            }
            _ => {
                json.push('{');
                for index in 0..rng.usize(..5) {
                    let name = NAMES[rng.usize(..NAMES.len())];
                    write!(json, "{}\"{name}\": ", if index > 0 { "," } else { "" }).unwrap();
                    write_json(rng, depth - 1, json);
                }
                json.push('}');
            }
        }
    }

    fn object(rng: &mut Rng) -> String {
        let mut json = String::from("{");
        for name in ["apiVersion", "kind", "spec", "status", "matches", "spec"] {
            if rng.bool() {
                write!(json, "\"{name}\":").unwrap();
                write_json(rng, 5, &mut json);
                json.push(',');
            }
        }
        json.push_str("\"metadata\":{");
        for name in ["namespace", "labels", "annotations", "name", "uid", "resourceVersion", "creationTimestamp"] {
            if rng.bool() {
                write!(json, "\"{name}\":").unwrap();
                write_json(rng, 5, &mut json);
                json.push(',');
            }
        }
        json + "\"name\":\"it\"}}"
    }

    /// Whether the object is kept: read, or as one that cannot be read.
    fn is_kept<K: Kind>(kind: &K, object: &RawObject<'_>) -> bool {
        match kind.read(object, K::MAX_NAMESPACE_BYTES) {
            Ok(_) => true,
            Err(NotKept::Unreadable(why)) => kind.unreadable(object, why).is_some(),
            Err(NotKept::NoRoom) => panic!("there is room"),
        }
    }

    #[test]
    fn every_object_with_a_name_is_kept() {
        let mut rng = Rng::with_seed(11);
        for case in 0..20_000 {
            let json = object(&mut rng);
            let object = raw(&json).ok().and_then(RawObject::new);
            let object = object.unwrap_or_else(|| panic!("case {case} is not read: {json}"));
            assert_eq!(object.name, "it");
            let kept = [
                is_kept(&splits(), &object),
                is_kept(&HttpRouteGroups, &object),
                is_kept(&Services, &object),
                is_kept(&VirtualServices, &object),
                is_kept(&DestinationRules, &object),
                is_kept(&Sidecars, &object),
                is_kept(&Namespaces { exclude_label: "x/y" }, &object),
            ];
            assert_eq!(kept, [true; 7], "case {case}: {json}");
        }
    }
}
