//! Reads a bootstrap or a config dump, and finds listeners, route configurations, clusters and extension configurations in it.

use super::values::{is_wasm, list, name, type_name, typed_config};
use crate::diagnostic::Diagnostic;
use crate::safe_text::one_line;
use crate::yaml;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// An Envoy's configuration: its bootstrap, or the response of its admin interface to `/config_dump`.
#[derive(Clone, Debug)]
pub struct EnvoyConfiguration {
    listeners: Vec<Value>,
    route_configurations: BTreeMap<String, Value>,
    clusters: BTreeSet<String>,
    /// The extension configurations that Envoy has received, by name.
    extensions: BTreeMap<String, Value>,
    /// The bootstrap names a source of listeners, which a bootstrap alone does not contain.
    uses_lds: bool,
    /// The bootstrap names a source of clusters, which a bootstrap alone does not contain.
    uses_cds: bool,
    is_dump: bool,
}

// === impl EnvoyConfiguration ===

impl EnvoyConfiguration {
    /// Parses a bootstrap or a config dump, as YAML or JSON.
    ///
    /// # Errors
    /// If the text is neither: one error, without the name of the file.
    pub fn parse(text: &[u8]) -> Result<Self, Box<Diagnostic>> {
        let error = |position, message: String| Box::new(Diagnostic::error("", "", "", message).at(position));
        // A config dump may have many megabytes, which the parser of JSON reads much faster than that of YAML.
        let value = match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(_) => {
                let documents = yaml::read(text).map_err(|why| error(why.position, why.message))?;
                let number = documents.len();
                match <[yaml::LocatedValue; 1]>::try_from(documents) {
                    Ok([document]) => document.value,
                    Err(_) if number == 0 => {
                        return Err(error(None, "is empty; pass a bootstrap or a config dump".into()));
                    }
                    Err(documents) if documents.iter().all(|document| document.value.get("kind").is_some()) => {
                        let message = "has Kubernetes objects; pass an Envoy bootstrap, or the output of Envoy's /config_dump, and \
                                       the objects without --bootstrap";
                        return Err(error(None, message.into()));
                    }
                    Err(_) => {
                        return Err(error(None, "has several documents; pass one bootstrap or config dump".into()));
                    }
                }
            }
        };
        Self::from_value(value).map_err(|message| error(None, message))
    }

    /// Reads a bootstrap or a config dump.
    ///
    /// # Errors
    /// If the value is neither: the message.
    pub fn from_value(value: Value) -> Result<Self, String> {
        let value = snake_case(value);
        if let Some(configs) = value.get("configs").and_then(Value::as_array) {
            return Self::from_dump(configs);
        }
        if value.get("static_resources").is_some() || value.get("dynamic_resources").is_some() {
            let mut envoy = Self::empty(false);
            envoy.add_bootstrap(&value);
            return Ok(envoy);
        }
        Err(match value.get("kind").and_then(Value::as_str) {
            Some(kind) => format!(
                "is a Kubernetes object of kind `{}`; pass an Envoy bootstrap, or the output of Envoy's /config_dump",
                one_line(kind)
            ),
            None if value.get("trafficSplits").is_some() => {
                "is a plugin configuration; pass it with --config, and an Envoy bootstrap or the output of Envoy's /config_dump with \
                 --bootstrap"
                    .into()
            }
            None if value.get("resources").is_some() => {
                "is the output of `render ecds`, not a bootstrap; pass the bootstrap of the Envoy that reads the file".into()
            }
            None => {
                "is neither an Envoy bootstrap nor a config dump; pass a file with `static_resources`, or the output of Envoy's /config_dump"
                    .into()
            }
        })
    }

    fn empty(is_dump: bool) -> Self {
        Self {
            listeners: Vec::new(),
            route_configurations: BTreeMap::new(),
            clusters: BTreeSet::new(),
            extensions: BTreeMap::new(),
            uses_lds: false,
            uses_cds: false,
            is_dump,
        }
    }

    fn from_dump(configs: &[Value]) -> Result<Self, String> {
        let mut envoy = Self::empty(true);
        let mut has_listeners = false;
        for config in configs {
            match type_name(config).rsplit('.').next().unwrap_or_default() {
                "ListenersConfigDump" => {
                    has_listeners = true;
                    for known in list(config, "static_listeners") {
                        envoy.listeners.extend(known.get("listener").cloned());
                    }
                    for known in list(config, "dynamic_listeners") {
                        let listener = known.pointer("/active_state/listener");
                        envoy.listeners.extend(listener.or(known.pointer("/warming_state/listener")).cloned());
                    }
                }
                "RoutesConfigDump" => {
                    let known = list(config, "static_route_configs").chain(list(config, "dynamic_route_configs"));
                    for routes in known.filter_map(|known| known.get("route_config")) {
                        envoy.route_configurations.insert(name(routes).into(), routes.clone());
                    }
                }
                "ClustersConfigDump" => {
                    for state in ["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"] {
                        let clusters = list(config, state).filter_map(|known| known.get("cluster"));
                        envoy.clusters.extend(clusters.map(|cluster| name(cluster).to_owned()));
                    }
                }
                "EcdsConfigDump" => {
                    for filter in list(config, "ecds_filters").filter_map(|known| known.get("ecds_filter")) {
                        envoy.extensions.insert(name(filter).into(), filter.clone());
                    }
                }
                _ => {}
            }
        }
        if has_listeners {
            return Ok(envoy);
        }
        Err("has no listeners; pass the whole output of Envoy's /config_dump, without `resource` and `mask`".into())
    }

    fn add_bootstrap(&mut self, bootstrap: &Value) {
        let resources = bootstrap.get("static_resources").unwrap_or(&Value::Null);
        self.listeners.extend(list(resources, "listeners").cloned());
        self.clusters.extend(list(resources, "clusters").map(|cluster| name(cluster).to_owned()));
        self.uses_lds = bootstrap.pointer("/dynamic_resources/lds_config").is_some();
        self.uses_cds = bootstrap.pointer("/dynamic_resources/cds_config").is_some();
    }

    pub(super) fn listeners(&self) -> &[Value] {
        &self.listeners
    }

    /// Returns the route configuration that RDS has sent under this name.
    pub(super) fn route_configuration(&self, name: &str) -> Option<&Value> {
        self.route_configurations.get(name)
    }

    /// Returns the configuration of a Wasm filter, inline or from ECDS.
    pub(super) fn wasm<'v>(&'v self, filter: &'v Value) -> Option<&'v Value> {
        let typed = match filter.get("typed_config") {
            Some(_) => typed_config(filter),
            None => typed_config(self.extensions.get(name(filter))?),
        };
        typed.filter(|(type_name, _)| is_wasm(type_name)).map(|(_, config)| config)
    }

    /// Returns whether Envoy has received an extension configuration of this name; `None` if unknown.
    pub(super) fn has_extension(&self, name: &str) -> Option<bool> {
        self.is_dump.then(|| self.extensions.contains_key(name))
    }

    /// Returns the names of the clusters; `None` if CDS adds clusters that a bootstrap does not contain.
    pub(super) fn clusters(&self) -> Option<&BTreeSet<String>> {
        (self.is_dump || !self.uses_cds).then_some(&self.clusters)
    }

    /// Returns whether LDS adds listeners that a bootstrap does not contain.
    pub(super) fn lacks_dynamic_listeners(&self) -> bool {
        !self.is_dump && self.uses_lds
    }
}

/// Converts the keys of an object to the form of config dumps, `typed_config`. Envoy also accepts `typedConfig`, which `istioctl`
/// writes.
fn snake_case(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(snake_case).collect(),
        Value::Object(map) => {
            let entries = map.into_iter().map(|(key, value)| {
                // A plugin configuration has its own keys.
                let value = if key == "configuration" { value } else { snake_case(value) };
                (snake_case_key(key), value)
            });
            Value::Object(entries.collect::<Map<_, _>>())
        }
        scalar => scalar,
    }
}

fn snake_case_key(key: String) -> String {
    let is_field = key.chars().all(|char| char.is_ascii_alphanumeric());
    if !is_field || !key.contains(|char: char| char.is_ascii_uppercase()) {
        return key;
    }
    let mut snake = String::new();
    for char in key.chars() {
        if char.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
}
