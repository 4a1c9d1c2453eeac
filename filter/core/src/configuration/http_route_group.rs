//! SMI's HTTPRouteGroup, `specs.smi-spec.io/v1alpha2` to `v1alpha4`.
//!
//! Source: <https://github.com/servicemeshinterface/smi-spec/tree/main/apis/traffic-specs>

use crate::configuration::budget::{Budget, Cost};
use crate::configuration::names;
use crate::configuration::pattern::Pattern;
use crate::configuration::problem::{Object, Problem};
use crate::configuration::reader::{Reader, get, kind, quote};
use crate::configuration::traffic_split::{Metadata, object_name};
use serde::Serialize;
use serde_json::{Map, Value};

/// The versions of HTTPRouteGroup. The same rules apply to all.
const API_VERSIONS: [&str; 3] =
    ["specs.smi-spec.io/v1alpha2", "specs.smi-spec.io/v1alpha3", "specs.smi-spec.io/v1alpha4"];

/// An HTTPRouteGroup whose own fields are valid: the matches that select requests for a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HttpRouteGroup {
    /// `specs.smi-spec.io/v1alpha2` to `v1alpha4`.
    pub api_version: String,
    /// `HTTPRouteGroup`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// The matches, whether the object has them under `spec` or, as in v1alpha2, at the top level.
    pub spec: HttpRouteGroupSpec,
}

/// The `spec` of an HTTPRouteGroup.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HttpRouteGroupSpec {
    /// At least one match. The group accepts a request if at least one match accepts it.
    pub matches: Vec<HttpMatch>,
}

/// Conditions on a request. The match accepts the request if all of them hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HttpMatch {
    /// Name in the group; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path without its query begins with this pattern. If absent, any path is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_regex: Option<Pattern>,
    /// The method is one of these. If empty, any method is accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Header names in lower case, each with a pattern that must match the whole first value of the header. An absent
    /// header does not match.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "serialize_headers")]
    pub headers: Vec<(String, Pattern)>,
}

// === impl HttpRouteGroup ===

impl HttpRouteGroup {
    /// The fields of an HTTPRouteGroup in any version of SMI.
    pub const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "matches", "status"];
    /// The values of `apiVersion`, the newest last.
    pub const API_VERSIONS: &[&str] = &API_VERSIONS;

    /// Parses one HTTPRouteGroup.
    ///
    /// # Errors
    /// Returns all problems, at least one.
    pub fn from_value(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        Self::read(0, value, &mut problems).ok_or(problems)
    }

    /// Parses entry `index` of `httpRouteGroups` and records all problems.
    pub(crate) fn read(index: usize, value: &Value, problems: &mut Vec<Problem>) -> Option<Self> {
        let before = problems.len();
        let object = Object::HttpRouteGroup { index, name: object_name(value) };
        let reader = &mut Reader { object, problems };
        let map = reader.map(value, "")?;
        let (api_version, kind) = reader.type_meta(map, "HTTPRouteGroup", &API_VERSIONS);
        let metadata = Metadata::read(map, reader);
        let matches = read_matches(map, reader);
        if problems.len() > before {
            return None;
        }
        let spec = HttpRouteGroupSpec { matches: matches? };
        Some(Self { api_version: api_version.into(), kind: kind.into(), metadata: metadata?, spec })
    }
}

/// Parses the matches, which are under `spec` or, as in v1alpha2, at the top level. The API server converts
/// `apiVersion` but does not move the matches, so both places are valid in every version.
fn read_matches(map: &Map<String, Value>, reader: &mut Reader<'_>) -> Option<Vec<HttpMatch>> {
    let spec = match get(map, "spec") {
        Some(spec) => get(reader.map(spec, "spec")?, "matches"),
        None => None,
    };
    let (list, field) = match (spec, get(map, "matches")) {
        (Some(_), Some(_)) => {
            reader.problem("matches", "is present at the top level and under spec; remove one of them");
            return None;
        }
        (Some(list), None) => (list, "spec.matches"),
        (None, Some(list)) => (list, "matches"),
        (None, None) => {
            reader.problem("spec.matches", "is missing; add it");
            return None;
        }
    };
    let list = reader.list(list, field)?;
    if list.is_empty() {
        reader.problem(field, "is empty, so the group accepts no request; add a match");
    }
    // Check the cost before any pattern is compiled.
    if let Err(why) = Budget::FILTER.check_group(Cost::of_matches(list)) {
        reader.problem(field, why);
        return None;
    }
    let read = |(index, value)| HttpMatch::read(value, &format!("{field}[{index}]"), reader);
    list.iter().enumerate().map(read).collect()
}

// === impl HttpRouteGroupSpec ===

impl HttpRouteGroupSpec {
    /// The fields of a `spec` in any version of SMI.
    pub const FIELDS: &[&str] = &["matches"];
}

// === impl HttpMatch ===

impl HttpMatch {
    /// The fields of a match in any version of SMI.
    pub const FIELDS: &[&str] = &["name", "pathRegex", "methods", "headers"];

    fn read(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let map = reader.map(value, field)?;
        let name = get(map, "name").and_then(|name| reader.string(name, &format!("{field}.name"))).unwrap_or_default();
        // Problems also name the match, because authors find a name more easily than an index.
        let field = &if name.is_empty() { field.to_owned() } else { format!("{field} {}", quote(name)) };
        let path = get(map, "pathRegex").and_then(|path| reader.string(path, &format!("{field}.pathRegex")));
        // `*` is not a regular expression, but SMI's tools write it for "any path".
        let path = path.filter(|path| !matches!(*path, "" | "*")).map(Pattern::prefix);
        let path_regex = reader.parsed(path, &format!("{field}.pathRegex"));
        Some(Self {
            name: name.into(),
            path_regex,
            methods: read_methods(map, field, reader),
            headers: read_headers(map, field, reader),
        })
    }
}

/// Parses methods. Returns an empty list if any method is accepted.
fn read_methods(map: &Map<String, Value>, field: &str, reader: &mut Reader<'_>) -> Vec<String> {
    let field = &format!("{field}.methods");
    let Some(list) = get(map, "methods").and_then(|list| reader.list(list, field)) else { return Vec::new() };
    let mut methods = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let field = &format!("{field}[{index}]");
        let Some(method) = reader.valid_string(value, field, names::is_token, "an HTTP method such as GET, or *")
        else {
            continue;
        };
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            reader
                .problem(field.as_str(), format!("{} matches no request; write methods in upper case", quote(method)));
        }
        methods.push(method.to_owned());
    }
    if methods.iter().any(|method| method == "*") { Vec::new() } else { methods }
}

/// Returns the cost of the matches of a group that is not validated yet. Values of the wrong type cost nothing.
pub(crate) fn cost_of_group(group: &Value) -> Cost {
    let spec = group.get("spec").and_then(|spec| spec.get("matches"));
    let matches = spec.or_else(|| group.get("matches")).and_then(Value::as_array);
    Cost::of_matches(matches.map(Vec::as_slice).unwrap_or_default())
}

/// Parses headers: a map, or the list of maps of v1alpha2.
fn read_headers(map: &Map<String, Value>, field: &str, reader: &mut Reader<'_>) -> Vec<(String, Pattern)> {
    let Some(value) = get(map, "headers") else { return Vec::new() };
    let mut headers = Vec::new();
    let mut read_map = |value, field: &str, reader: &mut Reader<'_>| {
        for (name, value) in reader.map(value, field).into_iter().flatten() {
            let field = &format!("{field}[{}]", quote(name));
            if !names::is_token(name) && name != ":authority" {
                reader.problem(field.as_str(), "is not the name of an HTTP header (an RFC 9110 token)");
                continue;
            }
            let pattern = reader.string(value, field).map(Pattern::whole);
            headers.extend(reader.parsed(pattern, field).map(|pattern| (name.to_ascii_lowercase(), pattern)));
        }
    };
    let field = &format!("{field}.headers");
    match value {
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                read_map(value, &format!("{field}[{index}]"), reader);
            }
        }
        Value::Object(_) => read_map(value, field, reader),
        other => {
            reader.problem(field.as_str(), format!("is {}, but must be a map of header names to patterns", kind(other)))
        }
    }
    headers
}

/// Serialises headers as a list of maps, the form of v1alpha2, because a header may have several patterns.
fn serialize_headers<S: serde::Serializer>(headers: &[(String, Pattern)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(headers.iter().map(|(name, pattern)| std::collections::BTreeMap::from([(name, pattern)])))
}

#[cfg(test)]
mod tests {
    use super::{HttpMatch, HttpRouteGroup, HttpRouteGroupSpec, Metadata, Pattern};
    use crate::configuration::annotations::Annotations;
    use crate::configuration::known_fields::assert_known_fields;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    // The literals have all fields of their types, so that a new field must be added here.
    #[test]
    fn serialized_fields_are_known_fields() {
        let pattern = Pattern::whole("a").unwrap();
        let one = HttpMatch {
            name: "api".into(),
            path_regex: Some(pattern.clone()),
            methods: vec!["GET".into()],
            headers: vec![("x".into(), pattern)],
        };
        let spec = HttpRouteGroupSpec { matches: vec![one.clone()] };
        let metadata = Metadata { name: "paths".into(), namespace: "shop".into(), annotations: Annotations::default() };
        let group = HttpRouteGroup { api_version: "".into(), kind: "".into(), metadata, spec: spec.clone() };
        assert_known_fields(&one, HttpMatch::FIELDS);
        assert_known_fields(&spec, HttpRouteGroupSpec::FIELDS);
        assert_known_fields(&group, HttpRouteGroup::FIELDS);
    }
}
