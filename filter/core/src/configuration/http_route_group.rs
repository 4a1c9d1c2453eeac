//! SMI's HTTPRouteGroup, `specs.smi-spec.io/v1alpha2` to `v1alpha4`, as it is read and written.

use crate::configuration::budget::{Budget, Cost};
use crate::configuration::names;
use crate::configuration::pattern::Pattern;
use crate::configuration::problem::{Object, Problem};
use crate::configuration::reader::{Reader, get, kind, quote};
use crate::configuration::traffic_split::{Metadata, object_name};
use serde::Serialize;
use serde_json::{Map, Value};

/// The versions of HTTPRouteGroup; the same rules hold for all.
const API_VERSIONS: [&str; 3] =
    ["specs.smi-spec.io/v1alpha2", "specs.smi-spec.io/v1alpha3", "specs.smi-spec.io/v1alpha4"];

/// Which requests a split is for. Valid in itself: its patterns are compiled.
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
    /// The matches, wherever the object had them: v1alpha2 has them at the top.
    pub spec: HttpRouteGroupSpec,
}

/// An HTTPRouteGroup's specification.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HttpRouteGroupSpec {
    /// At least one. A request that one of them holds for is the group's.
    pub matches: Vec<HttpMatch>,
}

/// Conditions on a request, which must all hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HttpMatch {
    /// Its name in the group; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Holds for the path, without its query, from the start on; absent: any path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_regex: Option<Pattern>,
    /// The method is one of these; empty: any method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Each holds for the whole first value of its header; a header that isn't there has none.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "serialize_headers")]
    pub headers: Vec<(String, Pattern)>,
}

// === impl HttpRouteGroup ===

impl HttpRouteGroup {
    /// Validates one HTTPRouteGroup by itself.
    ///
    /// # Errors
    /// Every problem found; at least one.
    pub fn from_value(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        Self::read(0, value, &mut problems).ok_or(problems)
    }

    /// Reads entry `index` of `httpRouteGroups`; notes every problem.
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

/// The matches under `spec`, or at the top, as v1alpha2 has them. An object that the API server
/// has converted has them where its author wrote them, whatever its version.
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
            reader.problem("spec.matches", "is missing");
            return None;
        }
    };
    let list = reader.list(list, field)?;
    if list.is_empty() {
        reader.problem(field, "is empty; a group without a match accepts no request");
    }
    // Before anything is compiled.
    if let Err(why) = Budget::FILTER.check_group(Cost::of_matches(list)) {
        reader.problem(field, why);
        return None;
    }
    let read = |(place, value)| HttpMatch::read(value, &format!("{field}[{place}]"), reader);
    list.iter().enumerate().map(read).collect()
}

// === impl HttpMatch ===

impl HttpMatch {
    fn read(value: &Value, field: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let map = reader.map(value, field)?;
        let name = get(map, "name").and_then(|name| reader.string(name, &format!("{field}.name"))).unwrap_or_default();
        // With its name, a match is found sooner than by its place.
        let field = &if name.is_empty() { field.to_owned() } else { format!("{field} {}", quote(name)) };
        let path = get(map, "pathRegex").and_then(|path| reader.string(path, &format!("{field}.pathRegex")));
        // `*` alone is no expression, but what SMI's tools write for everything.
        let path = path.filter(|path| !matches!(*path, "" | "*")).map(Pattern::prefix);
        let path_regex = reader.fine(path, &format!("{field}.pathRegex"));
        Some(Self {
            name: name.into(),
            path_regex,
            methods: read_methods(map, field, reader),
            headers: read_headers(map, field, reader),
        })
    }
}

/// None for all of them.
fn read_methods(map: &Map<String, Value>, field: &str, reader: &mut Reader<'_>) -> Vec<String> {
    let field = &format!("{field}.methods");
    let Some(list) = get(map, "methods").and_then(|list| reader.list(list, field)) else { return Vec::new() };
    let mut methods = Vec::with_capacity(list.len());
    for (place, value) in list.iter().enumerate() {
        let field = &format!("{field}[{place}]");
        let Some(method) = reader.name(value, field, names::is_token, "an HTTP method such as GET, or *") else {
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

/// What the matches of an unread group cost, by their text alone; wrong types count nothing.
pub(crate) fn cost_of_group(group: &Value) -> Cost {
    let spec = group.get("spec").and_then(|spec| spec.get("matches"));
    let matches = spec.or_else(|| group.get("matches")).and_then(Value::as_array);
    Cost::of_matches(matches.map(Vec::as_slice).unwrap_or_default())
}

/// A map, or v1alpha2's list of maps.
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
            headers.extend(reader.fine(pattern, field).map(|pattern| (name.to_ascii_lowercase(), pattern)));
        }
    };
    let field = &format!("{field}.headers");
    match value {
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                read_map(value, &format!("{field}[{place}]"), reader);
            }
        }
        Value::Object(_) => read_map(value, field, reader),
        other => {
            reader.problem(field.as_str(), format!("is {}, but must be a map of header names to patterns", kind(other)))
        }
    }
    headers
}

/// The list that both v1alpha2 and this crate read: a header may stand in it twice.
fn serialize_headers<S: serde::Serializer>(headers: &[(String, Pattern)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(headers.iter().map(|(name, pattern)| std::collections::BTreeMap::from([(name, pattern)])))
}
