//! SMI's TrafficSplit, `split.smi-spec.io/v1alpha1` to `v1alpha4`.
//!
//! Source: <https://github.com/servicemeshinterface/smi-spec/tree/main/apis/traffic-split>

use crate::configuration::annotations::Annotations;
use crate::configuration::names;
use crate::configuration::problem::{Object, Problem};
use crate::configuration::reader::{DNS_LABEL, DNS_SUBDOMAIN, Reader, get, quote};
use crate::configuration::service_name::{self, Role};
use crate::configuration::weight::Weight;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The versions of TrafficSplit. The same rules apply to all.
const API_VERSIONS: [&str; 4] = [
    "split.smi-spec.io/v1alpha1",
    "split.smi-spec.io/v1alpha2",
    "split.smi-spec.io/v1alpha3",
    "split.smi-spec.io/v1alpha4",
];

/// Maximum number of backends of a split. The limit bounds the cost of a sticky request, whose value is hashed once for
/// each backend. SMI's CRD has the same limit.
const MAX_BACKENDS: usize = 256;
/// Maximum number of HTTPRouteGroups that a split names.
const MAX_GROUPS: usize = 64;

/// A TrafficSplit whose own fields are valid: names are DNS names, backends are unique, and their weights have a sum
/// above 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TrafficSplit {
    /// `split.smi-spec.io/v1alpha1` to `v1alpha4`.
    pub api_version: String,
    /// `TrafficSplit`.
    pub kind: String,
    /// Name, namespace and annotations.
    pub metadata: Metadata,
    /// The root Service and its backends.
    pub spec: Spec,
}

/// The metadata of a TrafficSplit or HTTPRouteGroup. Only TrafficSplits have annotations here.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Metadata {
    /// A DNS subdomain.
    pub name: String,
    /// A DNS label: the namespace of the object and of all objects that it names.
    pub namespace: String,
    /// Options that SMI lacks.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

/// The `spec` of a TrafficSplit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Spec {
    /// Bare name of the root Service.
    pub service: String,
    /// Backends: 1 to 256.
    pub backends: Vec<Backend>,
    /// References to HTTPRouteGroups: at most 64. One matching group is enough; if empty, the split accepts all
    /// requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<MatchReference>,
}

/// A reference to an HTTPRouteGroup in the split's namespace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MatchReference {
    /// `HTTPRouteGroup`.
    pub kind: String,
    /// A DNS subdomain.
    pub name: String,
}

/// A Service that receives a share of the root's requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Backend {
    /// Bare name of the Service.
    pub service: String,
    /// Weight relative to the split's other backends. Absent means 0: older versions of Flagger omit a weight of 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
}

// === impl TrafficSplit ===

impl TrafficSplit {
    /// The fields of a TrafficSplit in any version of SMI.
    pub const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
    /// The values of `apiVersion`, the newest last.
    pub const API_VERSIONS: &[&str] = &API_VERSIONS;

    /// Returns `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// Parses one TrafficSplit. `cluster_domain` is the Kubernetes cluster's DNS domain. The HTTPRouteGroups that the
    /// split names are not looked up: [`Configuration::check_split`](crate::Configuration::check_split) does that.
    ///
    /// # Errors
    /// Returns all problems, at least one.
    pub fn from_value(value: &Value, cluster_domain: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        Self::read(0, value, cluster_domain, &mut problems).ok_or(problems)
    }

    /// Parses entry `index` of `trafficSplits` and records all problems. Ignores unknown fields, because Kubernetes adds
    /// fields of its own.
    pub(crate) fn read(index: usize, value: &Value, cluster_domain: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let before = problems.len();
        let object = Object::TrafficSplit { index, name: object_name(value) };
        let reader = &mut Reader { object, problems };
        let map = reader.map(value, "")?;

        let (api_version, kind) = reader.type_meta(map, "TrafficSplit", &API_VERSIONS);
        let mut metadata = Metadata::read(map, reader);
        let spec = reader.required(map, "spec", "spec").and_then(|value| reader.map(value, "spec"));
        let namespace = metadata.as_ref().map(|metadata| metadata.namespace.as_str());
        let spec = spec.and_then(|spec| Spec::read(spec, namespace, cluster_domain, reader));

        if let Some(metadata) = &mut metadata
            && let Some(annotations) =
                map.get("metadata").and_then(|metadata| get(metadata.as_object()?, "annotations"))
            && let Some(annotations) = reader.map(annotations, "metadata.annotations")
        {
            let backends = spec.as_ref().map(|spec| spec.backends.as_slice()).unwrap_or_default();
            let mut backend = |text: &str| {
                let service = service_name::parse(text, &metadata.namespace, cluster_domain, Role::Backend)?;
                match backends.iter().any(|backend| backend.service == service) {
                    true => Ok(service.into()),
                    false => {
                        Err(format!("{} is not a backend of the split; use a Service of spec.backends", quote(text)))
                    }
                }
            };
            metadata.annotations = Annotations::read(annotations, reader, &mut backend);
        }

        if problems.len() > before {
            return None;
        }
        Some(Self { api_version: api_version.into(), kind: kind.into(), metadata: metadata?, spec: spec? })
    }
}

// === impl Metadata ===

impl Metadata {
    /// Parses the name and namespace in the `metadata` of an object.
    pub(crate) fn read(object: &Map<String, Value>, reader: &mut Reader<'_>) -> Option<Self> {
        let map = reader.required(object, "metadata", "metadata").and_then(|value| reader.map(value, "metadata"))?;
        let name = reader
            .required(map, "name", "metadata.name")
            .and_then(|value| reader.valid_string(value, "metadata.name", names::is_subdomain, DNS_SUBDOMAIN));
        let namespace = reader
            .required(map, "namespace", "metadata.namespace")
            .and_then(|value| reader.valid_string(value, "metadata.namespace", names::is_label, DNS_LABEL));
        Some(Self { name: name?.into(), namespace: namespace?.into(), annotations: Annotations::default() })
    }
}

// === impl Spec ===

impl Spec {
    /// The fields of a `spec` in any version of SMI.
    pub const FIELDS: &[&str] = &["service", "backends", "matches"];

    /// Parses a split's `spec`. Does not check Service names if the namespace is invalid, because the invalid namespace
    /// already has an error.
    fn read(
        map: &Map<String, Value>,
        namespace: Option<&str>,
        cluster_domain: &str,
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        let matches = get(map, "matches").and_then(|matches| reader.list(matches, "spec.matches")).unwrap_or_default();
        if matches.len() > MAX_GROUPS {
            reader.problem(
                "spec.matches",
                format!(
                    "has {} entries, above the limit of {MAX_GROUPS}; put matches into fewer groups",
                    matches.len()
                ),
            );
            return None;
        }
        let matches = matches
            .iter()
            .enumerate()
            .filter_map(|(index, value)| MatchReference::read(value, &format!("spec.matches[{index}]"), reader));
        let matches: Vec<_> = matches.collect();
        let mut names = BTreeSet::new();
        for reference in matches.iter().filter(|reference| !names.insert(reference.name.as_str())) {
            reader.problem(
                "spec.matches",
                format!("the HTTPRouteGroup {:?} is duplicated; remove one of them", reference.name),
            );
        }
        let service = reader
            .required(map, "service", "spec.service")
            .and_then(|value| reader.string(value, "spec.service"))
            .and_then(|text| match text.split_once(':') {
                Some((_, rest)) if rest.starts_with("//") => Some(text),
                // Some tools write a port after the root; it has no effect.
                Some((_, port)) if names::port(port).is_none() => {
                    reader.problem("spec.service", format!("{} does not end with a port (1–65535)", quote(text)));
                    None
                }
                Some((root, _)) => Some(root),
                None => Some(text),
            })
            .and_then(|text| service(text, "spec.service", namespace, cluster_domain, Role::Root, reader));
        let list =
            reader.required(map, "backends", "spec.backends").and_then(|value| reader.list(value, "spec.backends"))?;
        if list.is_empty() {
            reader.problem("spec.backends", "is empty; a split needs at least one backend");
        }
        if list.len() > MAX_BACKENDS {
            let message = format!("has {} entries, above the limit of {MAX_BACKENDS}; remove backends", list.len());
            reader.problem("spec.backends", message);
            return None;
        }
        let mut backends = Vec::with_capacity(list.len());
        let mut indexes = BTreeMap::new();
        let mut has_invalid_backend = false;
        for (index, value) in list.iter().enumerate() {
            let field = format!("spec.backends[{index}]");
            let Some(backend) = Backend::read(value, &field, namespace, cluster_domain, reader) else {
                has_invalid_backend = true;
                continue;
            };
            if let Some(first) = indexes.insert(backend.service.clone(), index) {
                reader.problem(
                    format!("{field}.service"),
                    format!("{:?} duplicates spec.backends[{first}]; remove one of them", backend.service),
                );
            }
            backends.push(backend);
        }
        let has_weight = backends.iter().any(Backend::has_weight);
        if !has_weight && !has_invalid_backend && !backends.is_empty() {
            reader.problem("spec.backends", "the weights sum to 0; give at least one backend a weight above 0");
        }
        Some(Self { service: service?, backends, matches })
    }
}

// === impl MatchReference ===

impl MatchReference {
    /// The fields of a reference in any version of SMI.
    pub const FIELDS: &[&str] = &["apiGroup", "kind", "name"];

    fn read(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<Self> {
        const KIND: &str = "HTTPRouteGroup";
        let map = reader.map(value, field)?;
        let kind = get(map, "kind").and_then(|kind| reader.string(kind, &format!("{field}.kind")));
        if let Some(kind) = kind.filter(|kind| *kind != KIND) {
            reader.problem(format!("{field}.kind"), format!("{} is not supported; use {KIND}", quote(kind)));
        }
        let field = format!("{field}.name");
        let name = reader.required(map, "name", &field)?;
        let name = reader.valid_string(name, &field, names::is_subdomain, DNS_SUBDOMAIN)?;
        Some(Self { kind: KIND.into(), name: name.into() })
    }
}

// === impl Backend ===

impl Backend {
    /// The fields of a backend in any version of SMI.
    pub const FIELDS: &[&str] = &["service", "weight"];

    /// Returns whether the weight is above 0.
    pub fn has_weight(&self) -> bool {
        self.weight.unwrap_or_default() != Weight::default()
    }

    fn read(
        value: &Value,
        field: &str,
        namespace: Option<&str>,
        cluster_domain: &str,
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        let map = reader.map(value, field)?;
        let service_field = format!("{field}.service");
        let name = reader
            .required(map, "service", &service_field)
            .and_then(|value| reader.string(value, &service_field))
            .and_then(|text| service(text, &service_field, namespace, cluster_domain, Role::Backend, reader));
        let weight = match get(map, "weight").map(Weight::from_value).transpose() {
            Ok(weight) => weight,
            Err(why) => {
                reader.problem(format!("{field}.weight"), why);
                return None;
            }
        };
        Some(Self { service: name?, weight })
    }
}

fn service(
    text: &str,
    field: &str,
    namespace: Option<&str>,
    cluster_domain: &str,
    role: Role,
    reader: &mut Reader<'_>,
) -> Option<String> {
    match service_name::parse(text, namespace?, cluster_domain, role) {
        Ok(service) => Some(service.into()),
        Err(why) => {
            reader.problem(field, why);
            None
        }
    }
}

/// Returns `namespace/name` of an object that may be invalid, only `name` without a namespace, or an empty text.
pub(crate) fn object_name(value: &Value) -> String {
    let part = |key| value.pointer("/metadata").and_then(|metadata| metadata.get(key)).and_then(Value::as_str);
    match (part("namespace"), part("name")) {
        (Some(namespace), Some(name)) if names::is_label(namespace) && names::is_subdomain(name) => {
            format!("{namespace}/{name}")
        }
        (None, Some(name)) if names::is_subdomain(name) => name.into(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Annotations, Backend, MatchReference, Metadata, Spec, TrafficSplit};
    use crate::configuration::known_fields::assert_known_fields;
    use crate::configuration::weight::Weight;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    // The literals have all fields of their types, so that a new field must be added here.
    #[test]
    fn serialized_fields_are_known_fields() {
        let backend = Backend { service: "web-v1".into(), weight: Some(Weight::default()) };
        let reference = MatchReference { kind: "HTTPRouteGroup".into(), name: "paths".into() };
        let spec = Spec { service: "web".into(), backends: vec![backend.clone()], matches: vec![reference.clone()] };
        let metadata = Metadata { name: "web".into(), namespace: "shop".into(), annotations: Annotations::default() };
        let split = TrafficSplit { api_version: "".into(), kind: "".into(), metadata, spec: spec.clone() };
        assert_known_fields(&backend, Backend::FIELDS);
        assert_known_fields(&reference, MatchReference::FIELDS);
        assert_known_fields(&spec, Spec::FIELDS);
        assert_known_fields(&split, TrafficSplit::FIELDS);
    }
}
