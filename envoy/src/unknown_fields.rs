//! Finds unknown fields in input files. The filter ignores unknown fields, so a misspelled `matches` would split all requests.
//!
//! The crate `traffic-split` lists the fields that the filter reads. Kubernetes defines all other metadata: there, only misspelled
//! names are reported.

use crate::object_type::Kind;
use crate::safe_text::one_line;
use crate::suggestion::{did_you_mean, letters, misspelled, nearest};
use serde_json::{Map, Value};
use traffic_split::{
    Annotations, Backend, Configuration, HostRoot, HttpMatch, HttpRouteGroup, HttpRouteGroupSpec, MatchReference,
    Service, Spec, TrafficSplit,
};

/// A field that no version of the object has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownField {
    /// The path of the field.
    pub(crate) field: String,
    /// The problem and its remedy.
    pub(crate) message: String,
}

/// The fields of the metadata of every Kubernetes object.
const METADATA: &[&str] = &[
    "name",
    "namespace",
    "annotations",
    "labels",
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// The top-level fields of a Service.
const SERVICE: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
/// The field of a Service's `spec` that is read, and known fields with a similar name or a common misspelling.
const SERVICE_SPEC: &[&str] = &["ports", "type", "clusterIP", "clusterIPs", "selector", "externalIPs", "externalName"];
/// The fields of a Service's port.
const SERVICE_PORT: &[&str] = &["name", "port", "protocol", "appProtocol", "nodePort", "targetPort"];

/// Removes the unknown fields of an object and returns them.
pub(crate) fn remove(kind: Kind, object: &mut Value) -> Vec<UnknownField> {
    let mut walker = Walker { found: Vec::new() };
    walker.metadata(kind, object);
    match kind {
        Kind::TrafficSplit => walker.traffic_split(object),
        Kind::HttpRouteGroup => walker.http_route_group(object),
        Kind::Service => walker.service(object),
    }
    walker.found
}

/// Removes the unknown keys of a plugin configuration and returns them. The objects in its lists are not examined.
pub(crate) fn remove_from_configuration(configuration: &mut Value) -> Vec<UnknownField> {
    let mut walker = Walker { found: Vec::new() };
    walker.unknown(configuration, "", Configuration::FIELDS, &[("services.NAMESPACE/NAME", Service::FIELDS)]);
    for (key, known) in [("services", Service::FIELDS), ("hosts", HostRoot::FIELDS)] {
        for (name, entry) in configuration.get_mut(key).and_then(Value::as_object_mut).into_iter().flatten() {
            walker.unknown(entry, &join(key, name), known, &[]);
        }
    }
    walker.found
}

struct Walker {
    found: Vec<UnknownField>,
}

/// Another place in the same object, and its fields.
type Place<'p> = (&'p str, &'p [&'p str]);

// === impl Walker ===

impl Walker {
    fn traffic_split(&mut self, split: &mut Value) {
        self.unknown(split, "", TrafficSplit::FIELDS, &[("spec", Spec::FIELDS), ("metadata", METADATA)]);
        let Some(spec) = split.get_mut("spec") else { return };
        let places =
            [("metadata", METADATA), ("spec.backends", Backend::FIELDS), ("spec.matches", MatchReference::FIELDS)];
        self.unknown(spec, "spec", Spec::FIELDS, &places);
        self.items(spec, "spec", "backends", Backend::FIELDS, &[("spec", Spec::FIELDS)]);
        self.namespaces_of_references(spec);
        self.items(spec, "spec", "matches", MatchReference::FIELDS, &[("an HTTPRouteGroup", HttpMatch::FIELDS)]);
    }

    /// Removes the namespaces of references to HTTPRouteGroups.
    fn namespaces_of_references(&mut self, spec: &mut Value) {
        let references = spec.get_mut("matches").and_then(Value::as_array_mut).into_iter().flatten();
        for (index, reference) in references.enumerate() {
            let Some(map) = reference.as_object_mut() else { continue };
            self.remove(map, &format!("spec.matches[{index}]"), |key| {
                (key == "namespace").then(|| {
                    "unknown field `namespace`; remove the field, because groups belong to the split's namespace".into()
                })
            });
        }
    }

    fn http_route_group(&mut self, group: &mut Value) {
        self.unknown(group, "", HttpRouteGroup::FIELDS, &[("metadata", METADATA), ("spec.matches", HttpMatch::FIELDS)]);
        self.matches(group, "");
        let Some(spec) = group.get_mut("spec") else { return };
        self.unknown(
            spec,
            "spec",
            HttpRouteGroupSpec::FIELDS,
            &[("metadata", METADATA), ("spec.matches", HttpMatch::FIELDS)],
        );
        self.matches(spec, "spec");
    }

    /// Examines the matches in the `spec` of an HTTPRouteGroup or, as in v1alpha2, at the top level.
    fn matches(&mut self, parent: &mut Value, path: &str) {
        self.items(parent, path, "matches", HttpMatch::FIELDS, &[]);
        let matches = parent.get("matches").and_then(Value::as_array).into_iter().flatten();
        for (index, one) in matches.enumerate() {
            if let Some(headers) = one.get("headers") {
                self.headers(headers, &format!("{}[{index}].headers", join(path, "matches")));
            }
        }
    }

    /// Finds headers in the form of other APIs, `{name: NAME, value: PATTERN}`. SMI reads them as two headers, `name` and `value`.
    fn headers(&mut self, headers: &Value, path: &str) {
        let items: Vec<(String, &Value)> = match headers {
            Value::Array(list) => {
                list.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
            }
            map => vec![(path.to_owned(), map)],
        };
        for (field, item) in items {
            let Some(map) = item.as_object() else { continue };
            let key = |is: fn(&str) -> bool| map.iter().find(|(key, _)| is(&letters(key)));
            let (Some((name_key, name)), Some((value_key, _))) = (key(is_name_key), key(is_value_key)) else {
                continue;
            };
            let header = name.as_str().filter(|name| name.len() < 80).map_or("NAME".into(), one_line);
            let value_key = short(value_key);
            let message = format!(
                "matches the headers `{name_key}` and `{value_key}`; to match the header `{header}`, write `{header}: PATTERN`"
            );
            self.found.push(UnknownField { field, message });
        }
    }

    fn service(&mut self, service: &mut Value) {
        self.unknown(service, "", SERVICE, &[("spec", SERVICE_SPEC), ("metadata", METADATA)]);
        let Some(spec) = service.get_mut("spec") else { return };
        self.misspelled(spec, "spec", SERVICE_SPEC);
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten();
        for (index, port) in ports.enumerate() {
            self.misspelled(port, &format!("spec.ports[{index}]"), SERVICE_PORT);
        }
    }

    fn metadata(&mut self, kind: Kind, object: &mut Value) {
        let Some(metadata) = object.get_mut("metadata") else { return };
        if kind == Kind::TrafficSplit {
            self.misplaced_annotations(metadata);
        }
        self.misspelled(metadata, "metadata", METADATA);
        let keys = |field: &str| -> Vec<String> {
            metadata.get(field).and_then(Value::as_object).map(|map| map.keys().cloned().collect()).unwrap_or_default()
        };
        let (labels, annotations) = (keys("labels"), keys("annotations"));
        for label in labels {
            let Some(annotation) = annotation_of_label(&label) else { continue };
            let message = if annotation == label {
                format!("`{label}` is an annotation, not a label; move it to `metadata.annotations`")
            } else {
                let label = short(&label);
                format!("`{label}` is a label; write the annotation `{annotation}` in `metadata.annotations`")
            };
            self.found.push(UnknownField { field: join("metadata.labels", &label), message });
        }
        let mut annotation_map = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        for annotation in annotations {
            let is_null = || annotation_map.as_ref().and_then(|map| map.get(&annotation)).is_some_and(Value::is_null);
            let message = match kind {
                Kind::TrafficSplit if Annotations::NAMES.contains(&annotation.as_str()) && is_null() => {
                    Some("is empty; write a value, or remove the annotation".into())
                }
                Kind::TrafficSplit => unknown_annotation(&annotation),
                _ if annotation.starts_with(Annotations::PREFIX) => Some(format!(
                    "the annotation `{}` has no effect on this kind; move it to the TrafficSplit",
                    one_line(&annotation)
                )),
                _ => None,
            };
            let Some(message) = message else { continue };
            if let Some(map) = &mut annotation_map {
                map.remove(&annotation);
            }
            self.found.push(UnknownField { field: join("metadata.annotations", &annotation), message });
        }
    }

    /// Removes annotations that are fields of `metadata`, usually because of the indentation.
    fn misplaced_annotations(&mut self, metadata: &mut Value) {
        let Some(map) = metadata.as_object_mut() else { return };
        self.remove(map, "metadata", |key| {
            if METADATA.contains(&key) {
                return None;
            }
            let unknown = unknown_annotation(key);
            let is_annotation = Annotations::NAMES.contains(&key) || unknown.is_some();
            let hint = unknown.and_then(|message| Some(format!("; {}", message.split_once("; ")?.1)));
            is_annotation.then(|| {
                let hint = hint.unwrap_or_default();
                format!("`{}` belongs to `metadata.annotations`; indent it{hint}", short(key))
            })
        });
    }

    /// Examines the items of a list in a field of `parent`.
    fn items(&mut self, parent: &mut Value, path: &str, field: &str, known: &[&str], places: &[Place<'_>]) {
        let items = parent.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for (index, item) in items.enumerate() {
            self.unknown(item, &format!("{}[{index}]", join(path, field)), known, places);
        }
    }

    /// Removes all unknown fields. `places` are other places in the object where a field may belong.
    fn unknown(&mut self, value: &mut Value, path: &str, known: &[&str], places: &[Place<'_>]) {
        let Some(map) = value.as_object_mut() else { return };
        self.remove(map, path, |key| (!known.contains(&key)).then(|| message(key, known, places)));
    }

    /// Removes the misspelled fields.
    fn misspelled(&mut self, value: &mut Value, path: &str, known: &[&str]) {
        let Some(map) = value.as_object_mut() else { return };
        self.remove(map, path, |key| {
            let name = misspelled(key, known.iter().copied()).filter(|_| !known.contains(&key))?;
            Some(format!("unknown field `{}`; did you mean `{name}`?", one_line(key)))
        });
    }

    fn remove(&mut self, map: &mut Map<String, Value>, path: &str, message: impl Fn(&str) -> Option<String>) {
        let unknown: Vec<_> = map.keys().filter_map(|key| Some((key.clone(), message(key)?))).collect();
        for (key, message) in unknown {
            map.remove(&key);
            self.found.push(UnknownField { field: join(path, &key), message });
        }
    }
}

/// Returns whether other APIs write the name of a header under this key, given in lower case without punctuation.
fn is_name_key(key: &str) -> bool {
    matches!(key, "name" | "key" | "header" | "headername")
}

/// Returns whether other APIs write the pattern of a header under this key, given in lower case without punctuation.
fn is_value_key(key: &str) -> bool {
    const KEYS: [&str; 12] = [
        "value", "values", "exact", "prefix", "suffix", "regex", "pattern", "contains", "operator", "type", "invert",
        "present",
    ];
    KEYS.contains(&key) || key.ends_with("match") || key.starts_with("match")
}

/// Returns the message of an unknown field: where the field belongs, the nearest known field, or all known fields.
fn message(key: &str, known: &[&str], places: &[Place<'_>]) -> String {
    let shown = short(key);
    if key.contains('/') && (Annotations::NAMES.contains(&key) || unknown_annotation(key).is_some()) {
        return format!("unknown field `{shown}`; move the field to `metadata.annotations`");
    }
    if let Some((place, _)) = places.iter().find(|(_, fields)| fields.contains(&key)) {
        return format!("unknown field `{shown}`; move the field to {}", in_backticks(place));
    }
    let suggestion = did_you_mean(key, known.iter().copied());
    if !suggestion.is_empty() {
        return format!("unknown field `{shown}`{suggestion}");
    }
    let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
    format!("unknown field `{shown}`; use {}", known.join(", "))
}

/// Returns a message for an unknown annotation that is probably a misspelled annotation of this project.
fn unknown_annotation(key: &str) -> Option<String> {
    if Annotations::NAMES.contains(&key) {
        return None;
    }
    let own = letters(Annotations::PREFIX);
    let (prefix, option) = key.split_once('/').unwrap_or(("", key));
    let prefix = letters(prefix);
    // The prefix with another separator, as in `traffic-split.mirror`.
    let option =
        option.get(Annotations::PREFIX.len()..).filter(|_| letters(option).starts_with(&own)).unwrap_or(option);
    let options = || Annotations::NAMES.iter().filter_map(|name| name.strip_prefix(Annotations::PREFIX));
    let is_own = prefix == own
        || misspelled(&prefix, [own.as_str()]).is_some()
        || letters(key).starts_with(&own) && prefix.is_empty();
    let is_related = prefix.contains("split") || prefix.contains("smispec");
    let option = match () {
        () if is_own => nearest(option, options()),
        () if is_related => Some(nearest(option, options())?),
        () if prefix.is_empty() => Some(misspelled(option, options())?),
        () => return None,
    };
    let remedy = match option {
        Some(option) => format!("did you mean `{}{option}`?", Annotations::PREFIX),
        None => {
            let known: Vec<_> = Annotations::NAMES.iter().map(|name| format!("`{name}`")).collect();
            format!("use {}", known.join(", "))
        }
    };
    Some(format!("unknown annotation `{}`; {remedy}", short(key)))
}

/// Returns the annotation that a label is, or that it misspells.
fn annotation_of_label(label: &str) -> Option<&'static str> {
    if let Some(name) = Annotations::NAMES.iter().find(|name| **name == label) {
        return Some(name);
    }
    let (prefix, option) = label.split_once('/')?;
    misspelled(prefix, [Annotations::PREFIX.trim_end_matches('/')])?;
    let options = Annotations::NAMES.iter().filter_map(|name| name.strip_prefix(Annotations::PREFIX));
    let option = nearest(option, options)?;
    Annotations::NAMES.iter().copied().find(|name| name.strip_prefix(Annotations::PREFIX) == Some(option))
}

/// Returns the path of a field.
pub(crate) fn join(path: &str, key: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
    match (path, !key.is_empty() && key.chars().all(is_plain)) {
        ("", true) => key.into(),
        (_, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// Returns a name as one short line.
fn short(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Returns a path in backticks, or words as they are.
fn in_backticks(place: &str) -> String {
    if place.contains(' ') { place.into() } else { format!("`{place}`") }
}

#[cfg(test)]
mod tests {
    use super::{UnknownField, remove, remove_from_configuration};
    use crate::object_type::Kind;
    use serde_json::{Value, json};

    fn texts(found: Vec<UnknownField>) -> Vec<String> {
        found.into_iter().map(|UnknownField { field, message }| format!("{field}: {message}")).collect()
    }

    #[track_caller]
    fn finds(kind: Kind, mut object: Value, expected: &[&str]) {
        assert_eq!(texts(remove(kind, &mut object)), expected);
        // Unknown fields are removed, but headers and labels stay.
        let again = texts(remove(kind, &mut object));
        assert!(again.iter().all(|text| text.contains("header") || text.contains("label")), "{again:?}");
    }

    #[test]
    fn fields_of_all_versions_are_known() {
        let metadata = json!({"name": "a", "namespace": "b", "labels": {"x": "y", "traffic-split/x": "y"}, "uid": "1", "foo": 1,
            "annotations": {"traffic-split/mirror": "v2=1", "example.com/mirror": "x", "owner": "me"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:mathces": {}}}}]});
        finds(
            Kind::TrafficSplit,
            json!({"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": metadata,
            "spec": {"service": "web", "backends": [{"service": "a", "weight": 1}],
                "matches": [{"apiGroup": "specs.smi-spec.io", "kind": "HTTPRouteGroup", "name": "g"}]},
            "status": {"state": "pending", "anything": 1}}),
            &[],
        );
        let matches = json!([{"name": "m", "pathRegex": "/", "methods": ["GET"], "headers": [{"x": "y"}, {"name": "z"}]},
            {"headers": {"value": "x", "y": "z"}}]);
        let metadata = json!({"name": "a", "annotations": {"mirror": "x"}});
        finds(Kind::HttpRouteGroup, json!({"metadata": metadata, "spec": {"matches": matches}}), &[]);
        finds(Kind::HttpRouteGroup, json!({"metadata": metadata, "matches": matches}), &[]);
        finds(
            Kind::Service,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "status": {"loadBalancer": {}},
            "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "selector": {"app": "x"},
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 1, "publishNotReadyAddresses": true,
                "loadBalancerIP": "1", "loadBalancerClass": "x", "loadBalancerSourceRanges": [], "allocateLoadBalancerNodePorts": true,
                "externalIPs": [], "externalName": "x", "sessionAffinityConfig": {}, "trafficDistribution": "x", "anything": 1,
                "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30000, "protocol": "TCP",
                    "appProtocol": "http", "more": 1}]}}),
            &[],
        );
    }

    #[test]
    fn unknown_fields_of_a_split_have_a_suggestion() {
        let known = "`apiVersion`, `kind`, `metadata`, `spec`, `status`";
        finds(
            Kind::TrafficSplit,
            json!({"apiVersion": "x", "kind": "TrafficSplit", "spce": {}, "backends": [], "foo": 1,
            "annotations": {}, "metadata": {"anotations": {}, "namepsace": "x"},
            "spec": {"service": "web", "mathces": [], "Backends": [], "weight": 1, "annotations": {},
                "backends": [{"service": "a", "wieght": 1, "percent": 3, "matches": [], "name": "b"}, 3],
                "traffic-split/mirror": "a=1",
                "matches": [{"name": "g", "namespace": "shop", "knid": "x", "pathRegex": "/a"}]}}),
            &[
                "metadata.anotations: unknown field `anotations`; did you mean `annotations`?",
                "metadata.namepsace: unknown field `namepsace`; did you mean `namespace`?",
                "annotations: unknown field `annotations`; move the field to `metadata`",
                "backends: unknown field `backends`; move the field to `spec`",
                &format!("foo: unknown field `foo`; use {known}"),
                "spce: unknown field `spce`; did you mean `spec`?",
                "spec.Backends: unknown field `Backends`; did you mean `backends`?",
                "spec.annotations: unknown field `annotations`; move the field to `metadata`",
                "spec.mathces: unknown field `mathces`; did you mean `matches`?",
                "spec[\"traffic-split/mirror\"]: unknown field `traffic-split/mirror`; move the field to `metadata.annotations`",
                "spec.weight: unknown field `weight`; move the field to `spec.backends`",
                "spec.backends[0].matches: unknown field `matches`; move the field to `spec`",
                "spec.backends[0].name: unknown field `name`; use `service`, `weight`",
                "spec.backends[0].percent: unknown field `percent`; use `service`, `weight`",
                "spec.backends[0].wieght: unknown field `wieght`; did you mean `weight`?",
                "spec.matches[0].namespace: unknown field `namespace`; remove the field, because groups belong to the split's namespace",
                "spec.matches[0].knid: unknown field `knid`; did you mean `kind`?",
                "spec.matches[0].pathRegex: unknown field `pathRegex`; move the field to an HTTPRouteGroup",
            ],
        );
    }

    #[test]
    fn unknown_fields_of_a_group_have_a_suggestion() {
        let one = json!({"path": "/a", "method": "GET", "uri": "/b", "headers": [{"name": "x-user", "value": "a"}]});
        finds(
            Kind::HttpRouteGroup,
            json!({"pathRegex": "/", "spec": {"match": [], "matches": [one]}}),
            &[
                "pathRegex: unknown field `pathRegex`; move the field to `spec.matches`",
                "spec.match: unknown field `match`; did you mean `matches`?",
                "spec.matches[0].method: unknown field `method`; did you mean `methods`?",
                "spec.matches[0].path: unknown field `path`; did you mean `pathRegex`?",
                "spec.matches[0].uri: unknown field `uri`; use `name`, `pathRegex`, `methods`, `headers`",
                "spec.matches[0].headers[0]: matches the headers `name` and `value`; to match the header `x-user`, write `x-user: PATTERN`",
            ],
        );
        finds(
            Kind::HttpRouteGroup,
            json!({"matches": [{"headrs": {}, "headers": {"name": "x", "exact": "y"}}]}),
            &[
                "matches[0].headrs: unknown field `headrs`; did you mean `headers`?",
                "matches[0].headers: matches the headers `name` and `exact`; to match the header `x`, write `x: PATTERN`",
            ],
        );
    }

    #[test]
    fn headers_in_the_form_of_other_apis_have_a_suggestion() {
        for (header, value) in [
            (json!({"name": "x-a", "exactMatch": "b"}), "exactMatch"),
            (json!({"name": "x-a", "string_match": {"exact": "b"}}), "string_match"),
            (json!({"key": "x-a", "value": "b"}), "value"),
            (json!({"header": "x-a", "operator": "Exists"}), "operator"),
            (json!({"name": "x-a", "type": "Exact"}), "type"),
        ] {
            let name = header.as_object().unwrap().keys().find(|key| *key != value).unwrap();
            let message = format!(
                "spec.matches[0].headers[0]: matches the headers `{name}` and `{value}`; to match the header `x-a`, write `x-a: PATTERN`"
            );
            finds(Kind::HttpRouteGroup, json!({"spec": {"matches": [{"headers": [header.clone()]}]}}), &[&message]);
        }
        for header in [json!({"name": "x-a"}), json!({"x-key": "a", "value": "b"}), json!({"type": "a", "value": "b"})]
        {
            finds(Kind::HttpRouteGroup, json!({"spec": {"matches": [{"headers": [header]}]}}), &[]);
        }
    }

    #[test]
    fn annotations_at_other_places_or_without_a_value_are_found() {
        finds(
            Kind::TrafficSplit,
            json!({"metadata": {"name": "a", "generation": 1, "traffic-split/mirror": "x", "sticky-header": "x-a", "labels": {"mirror": "x",
                "app.kubernetes.io/name": "web", "traffic-split/overide-header": "x", "traffic-split/x": "y"},
                "annotations": {"traffic-split/mirror": null, "owner": null}}}),
            &[
                "metadata.sticky-header: `sticky-header` belongs to `metadata.annotations`; indent it; \
                 did you mean `traffic-split/sticky-header`?",
                "metadata[\"traffic-split/mirror\"]: `traffic-split/mirror` belongs to `metadata.annotations`; indent it",
                "metadata.labels[\"traffic-split/overide-header\"]: `traffic-split/overide-header` is a label; \
                 write the annotation `traffic-split/override-header` in `metadata.annotations`",
                "metadata.annotations[\"traffic-split/mirror\"]: is empty; write a value, or remove the annotation",
            ],
        );
    }

    #[test]
    fn misspelled_fields_of_a_service_have_a_suggestion() {
        finds(
            Kind::Service,
            json!({"ports": [], "metadata": {"nmae": "x", "annotations": {"traffic-split/mirror": "x"}},
            "spec": {"port": [], "cluserIP": "None", "ports": [{"prot": 80}]}}),
            &[
                "metadata.nmae: unknown field `nmae`; did you mean `name`?",
                "metadata.annotations[\"traffic-split/mirror\"]: the annotation `traffic-split/mirror` has no effect on this kind; \
             move it to the TrafficSplit",
                "ports: unknown field `ports`; move the field to `spec`",
                "spec.cluserIP: unknown field `cluserIP`; did you mean `clusterIP`?",
                "spec.port: unknown field `port`; did you mean `ports`?",
                "spec.ports[0].prot: unknown field `prot`; did you mean `port`?",
            ],
        );
    }

    #[test]
    fn misspelled_annotations_have_a_suggestion() {
        let all = "use `traffic-split/mirror`, `traffic-split/override-header`, `traffic-split/sticky-cookie`, \
            `traffic-split/sticky-cookie-attributes`, `traffic-split/sticky-header`";
        let header = "did you mean `traffic-split/sticky-header`?";
        for (key, remedy) in [
            ("trafficsplit/sticky-header", header),
            ("traffic-split.io/sticky-header", header),
            ("traffic-split.example.com/sticky-header", header),
            ("split.smi-spec.io/sticky-header", header),
            ("Traffic-Split/Sticky-Header", header),
            ("traffic_split/sticky_header", header),
            ("trafic-split/sticky-header", header),
            ("traffic-splits/sticky-header", header),
            ("traffic-split/stickyHeader", header),
            ("traffic-split.sticky-header", header),
            ("traffic-split-sticky-header", header),
            ("sticky-header", header),
            ("stickyHeader", header),
            ("sticky_header", header),
            ("mirror", "did you mean `traffic-split/mirror`?"),
            ("traffic-split/mirorr", "did you mean `traffic-split/mirror`?"),
            ("traffic-split/zzz", all),
            ("trafficsplit/zzz", all),
        ] {
            let message = format!("metadata.annotations[{key:?}]: unknown annotation `{key}`; {remedy}");
            let message = if key.contains(['/', '.']) {
                message
            } else {
                message.replace(&format!("[{key:?}]"), &format!(".{key}"))
            };
            finds(Kind::TrafficSplit, json!({"metadata": {"annotations": {key: "x"}}}), &[&message]);
        }
        for key in [
            "owner",
            "flagger.app/mirror",
            "nginx.ingress.kubernetes.io/mirror-target",
            "traffic-split.example.com/zzz",
            "kubectl.kubernetes.io/last-applied-configuration",
            "mirrored-by",
            "header",
            "example.com/sticky-header",
        ] {
            finds(Kind::TrafficSplit, json!({"metadata": {"annotations": {key: "x"}}}), &[]);
        }
        finds(
            Kind::TrafficSplit,
            json!({"metadata": {"labels": {"traffic-split/mirror": "v2"}}}),
            &[
                "metadata.labels[\"traffic-split/mirror\"]: `traffic-split/mirror` is an annotation, not a label; move it to `metadata.annotations`",
            ],
        );
    }

    #[test]
    fn unknown_keys_of_a_configuration_have_a_suggestion() {
        let mut configuration = json!({"clusterHeadr": "x", "cluster_domain": "x", "zzz": 1, "ports": [80],
            "services": {"shop/web": {"prots": [80], "clutser": "x"}},
            "hosts": {"a.example.com": {"servcie": "shop/web", "prot": 80}, "b": "shop/web"}});
        assert_eq!(
            texts(remove_from_configuration(&mut configuration)),
            [
                "clusterHeadr: unknown field `clusterHeadr`; did you mean `clusterHeader`?",
                "cluster_domain: unknown field `cluster_domain`; did you mean `clusterDomain`?",
                "ports: unknown field `ports`; move the field to `services.NAMESPACE/NAME`",
                "zzz: unknown field `zzz`; use `backendHeader`, `cluster`, `clusterDomain`, `clusterHeader`, `excludedNamespaces`, \
             `headersStripped`, `hosts`, `httpRouteGroups`, `mirrorHeader`, `namespace`, `services`, `setCookieHeader`, `trafficSplits`",
                "services[\"shop/web\"].clutser: unknown field `clutser`; did you mean `cluster`?",
                "services[\"shop/web\"].prots: unknown field `prots`; did you mean `ports`?",
                "hosts[\"a.example.com\"].prot: unknown field `prot`; did you mean `port`?",
                "hosts[\"a.example.com\"].servcie: unknown field `servcie`; did you mean `service`?",
            ]
        );
        assert_eq!(texts(remove_from_configuration(&mut configuration)), [""; 0]);
    }
}
