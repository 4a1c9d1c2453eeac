//! The objects by which Istio loads the filter into its sidecars and gateways.

use crate::wiring::{self, FILTER, FailurePolicy, SplitRoute, WasmSource};
use crate::yaml::{self, ALWAYS_JSON};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use traffic_split::Configuration;

/// Which proxies get the filter, and how it is run, for [`envoy_filter`] and [`wasm_plugin`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IstioOptions {
    /// The objects' name.
    pub name: String,
    /// The objects' namespace: Istio's root namespace, for all of the mesh, or the one whose proxies get the filter.
    pub namespace: String,
    /// The labels of the pods whose proxies get the filter; empty: all.
    pub selector: BTreeMap<String, String>,
    /// The kind of proxies that get it.
    pub context: PatchContext,
    /// The ports of gateways' listeners that clients write into `Host`: a request to `HOST:PORT` is split on the listener
    /// of this port, and on no other. Requests to a host without a port are split on every listener.
    pub gateway_ports: Vec<u16>,
    /// Where proxies find the compiled filter.
    pub wasm: WasmSource,
    /// What tells this filter from others at that place, if anything is known of it.
    pub wasm_version: Option<String>,
    /// The epoch of the filter's VM: another number is another VM. Absent: [`vm_epoch`](crate::vm_epoch) of the
    /// configuration. Whoever replaces an EnvoyFilter takes [`next_vm_epoch`](crate::next_vm_epoch).
    pub vm_epoch: Option<u64>,
    /// What Envoy does when the filter's VM has died.
    pub failure_policy: FailurePolicy,
    /// How requests are treated whose cluster the filter picked.
    pub route: SplitRoute,
}

/// The kind of proxies that get the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchContext {
    /// Sidecars, for what their own pods call.
    #[default]
    Sidecar,
    /// Gateways, for the hosts that the configuration's `hosts` names.
    Gateway,
    /// Sidecars and gateways.
    Both,
}

/// The EnvoyFilter that wires the filter into proxies, with its configuration: as JSON, to be applied.
///
/// Only the configuration changes when splits do, and a proxy gets it as extension configuration: its listeners stay, and
/// so do connections.
pub fn envoy_filter(configuration: &Configuration, options: &IstioOptions) -> Value {
    let name = options.extension();
    let patches = options.context.names().iter().flat_map(|context| {
        let (strip, routes) = static_patches(configuration, options, context);
        let filter = json!({
            "applyTo": "HTTP_FILTER",
            "match": {
                "context": context,
                "listener": {"filterChain": {"filter": {
                    "name": CONNECTION_MANAGER,
                    "subFilter": {"name": "envoy.filters.http.router"},
                }}},
            },
            "patch": {
                "operation": "INSERT_BEFORE",
                "value": {
                    "name": name,
                    "config_discovery": wiring::config_discovery(json!({"ads": {}, "resource_api_version": "V3"})),
                },
            },
        });
        let extension = json!({
            "applyTo": "EXTENSION_CONFIG",
            "match": {"context": context},
            "patch": {
                "operation": "ADD",
                "value": {
                    "name": name,
                    "typed_config": wiring::wasm(
                        configuration,
                        &options.wasm,
                        options.wasm_version.as_deref(),
                        options.vm_epoch,
                        options.failure_policy,
                    ),
                },
            },
        });
        [strip, filter, extension].into_iter().chain(routes)
    });
    options.envoy_filter(&options.name, patches.collect())
}

/// [`envoy_filter`] as YAML.
pub fn envoy_filter_yaml(configuration: &Configuration, options: &IstioOptions) -> String {
    format!(
        "# Loads the filter into Istio's proxies; when splits change, only the extension configuration does.\n{}",
        yaml::write(&envoy_filter(configuration, options))
    )
}

/// A WasmPlugin with the filter and its configuration, and the EnvoyFilter with what a WasmPlugin can't say; as YAML, two
/// documents.
pub fn wasm_plugin(configuration: &Configuration, options: &IstioOptions) -> String {
    let needed = wiring::filter_configuration(configuration);
    let mut spec = json!({
        "url": options.wasm.url(),
        "pluginName": FILTER,
        "failStrategy": options.failure_policy.as_str(),
        // Sidecars for what their pods call, and gateways.
        "match": [{"mode": "CLIENT"}],
        "pluginConfig": serde_json::to_value(&needed).expect(ALWAYS_JSON),
    });
    if let WasmSource::Remote { sha256: Some(sha256), .. } = &options.wasm {
        spec["sha256"] = sha256.as_str().into();
    }
    if !options.selector.is_empty() {
        spec["selector"] = json!({"matchLabels": options.selector});
    }
    let plugin = json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": options.name, "namespace": options.namespace},
        "spec": spec,
    });
    let contexts = options.context.names().iter();
    let patches = contexts.flat_map(|context| {
        let (strip, routes) = static_patches(configuration, options, context);
        [strip].into_iter().chain(routes)
    });
    let patches = patches.collect();
    format!(
        "# The route of split requests, and that our headers never come from a client: without it any client picks any\n\
         # cluster. It stays as it is when splits change. Apply it first, and delete it last.\n{}\
         ---\n\
         # What a WasmPlugin can't do: a proxy that starts while this configuration is bad answers 500 to every host, split\n\
         # or not, until there is a good one, and 403 while the filter can't be fetched, unless --failure-policy is open.\n\
         # `render envoyfilter` serves the root Services meanwhile. Gateways load it too, and split nothing without\n\
         # `--context gateway` or `both`.\n{}",
        yaml::write(&options.envoy_filter(&options.static_name(), patches)),
        yaml::write(&plugin),
    )
}

const SIDECAR: &str = "SIDECAR_OUTBOUND";
const GATEWAY: &str = "GATEWAY";
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// What stays as it is whatever splits there are: the early header mutation, and the routes of split requests.
fn static_patches(configuration: &Configuration, options: &IstioOptions, context: &str) -> (Value, Vec<Value>) {
    let strip = json!({
        "applyTo": "NETWORK_FILTER",
        "match": {"context": context, "listener": {"filterChain": {"filter": {"name": CONNECTION_MANAGER}}}},
        "patch": {
            "operation": "MERGE",
            "value": {
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "early_header_mutation_extensions": [wiring::early_header_mutation(configuration)],
                },
            },
        },
    });
    // No virtual host is named: it goes first in all.
    let route = json!({
        "applyTo": "HTTP_ROUTE",
        "match": {"context": context},
        "patch": {"operation": "INSERT_FIRST", "value": wiring::split_route(configuration, &options.route)},
    });
    if context != GATEWAY {
        return (strip, vec![route]);
    }
    let ports = options.gateway_ports.iter().copied().map(Some);
    (strip, [None].into_iter().chain(ports).map(|port| gateway_route(&route, configuration, port)).collect())
}

/// The route of split requests at gateways: only where the gateway routes already, and by the names that the operator gives
/// to the outside. Else a client that sends a Service's own name would reach what the gateway does not expose. `port` is
/// the listener's, and what a client may write into `Host`.
fn gateway_route(route: &Value, configuration: &Configuration, port: Option<u16>) -> Value {
    let mut route = route.clone();
    route["match"]["routeConfiguration"] = json!({"vhost": {"route": {"action": "ROUTE"}}});
    if let Some(port) = port {
        route["match"]["routeConfiguration"]["portNumber"] = port.into();
    }
    let headers = route.pointer_mut("/patch/value/match/headers").and_then(Value::as_array_mut);
    headers.expect("the route is for a header").push(named_hosts(configuration, port));
    route
}

/// Holds for requests to the configuration's `hosts`: with this port, or without any.
fn named_hosts(configuration: &Configuration, port: Option<u16>) -> Value {
    let hosts: Vec<_> = configuration.hosts.keys().map(|host| host.replace('.', r"\.")).collect();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    json!({
        "name": ":authority",
        "string_match": {"safe_regex": {"regex": format!(r"(?i)(?:{})\.?{port}", hosts.join("|"))}},
    })
}

// === impl Istio ===

impl IstioOptions {
    /// The name of the extension configuration, as Istio names a WasmPlugin's.
    fn extension(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// How much of what an EnvoyFilter may hold there is for a configuration, which it holds once for each kind of proxy.
    pub(crate) fn max_configuration_bytes(&self, of_all: usize) -> usize {
        of_all / self.context.names().len()
    }

    /// The EnvoyFilter beside a WasmPlugin.
    fn static_name(&self) -> String {
        format!("{}-route", self.name)
    }

    fn envoy_filter(&self, name: &str, patches: Vec<Value>) -> Value {
        let mut spec = json!({"configPatches": patches});
        if !self.selector.is_empty() {
            spec["workloadSelector"] = json!({"labels": self.selector});
        }
        json!({
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        })
    }
}

impl Default for IstioOptions {
    fn default() -> Self {
        Self {
            name: FILTER.into(),
            namespace: "istio-system".into(),
            selector: BTreeMap::new(),
            context: PatchContext::default(),
            gateway_ports: Vec::new(),
            wasm: WasmSource::default(),
            wasm_version: None,
            vm_epoch: None,
            failure_policy: FailurePolicy::default(),
            route: SplitRoute::default(),
        }
    }
}

// === impl PatchContext ===

impl PatchContext {
    /// As Istio calls them.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Sidecar => &[SIDECAR],
            Self::Gateway => &[GATEWAY],
            Self::Both => &[SIDECAR, GATEWAY],
        }
    }
}
