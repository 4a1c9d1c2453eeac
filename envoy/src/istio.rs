//! The EnvoyFilter and the WasmPlugin that load the filter into Istio's proxies.

use crate::enabled_hosts::{self, EnabledHosts};
use crate::split_route::{SplitRoute, split_route};
use crate::wiring::{self, FILTER, FailurePolicy, WasmSource};
use crate::yaml::{self, ALWAYS_JSON};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use traffic_split::Configuration;

/// Options of [`envoy_filter`] and [`wasm_plugin`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IstioOptions {
    /// The name of the objects.
    pub name: String,
    /// The namespace of the objects: Istio's root namespace for the whole mesh, or the namespace whose proxies get the filter.
    pub namespace: String,
    /// The labels of the pods whose proxies get the filter. Empty selects all pods.
    pub selector: BTreeMap<String, String>,
    /// The kind of proxies that get the filter.
    pub context: PatchContext,
    /// The ports that clients of gateways write into `Host`. A request to `HOST:PORT` is split only on the listener of that
    /// port. Requests without a port are split on every listener.
    pub gateway_ports: Vec<u16>,
    /// Where proxies find the compiled filter.
    pub wasm: WasmSource,
    /// The version of the filter at that place, if known.
    pub wasm_version: Option<String>,
    /// The epoch of the filter's VM: another number is another VM. Defaults to [`vm_epoch`](crate::vm_epoch) of the
    /// configuration. To replace an EnvoyFilter, use [`next_vm_epoch`](crate::next_vm_epoch).
    pub vm_epoch: Option<u64>,
    /// What Envoy does after the filter's VM fails.
    pub failure_policy: FailurePolicy,
    /// The route of split requests.
    pub route: SplitRoute,
    /// Whether the configuration has the ports of every root with a Service. If not, a root without ports in the configuration
    /// enables the filter for all hosts.
    pub knows_all_services: bool,
}

/// The kind of proxies that get the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchContext {
    /// Sidecars, for the requests of their own pods.
    #[default]
    Sidecar,
    /// Gateways, for the configuration's `hosts`.
    Gateway,
    /// Sidecars and gateways.
    Both,
}

/// Renders the EnvoyFilter that loads the filter with its configuration into proxies, as JSON.
///
/// The filter is disabled by default and enabled in the virtual hosts of roots. When splits change, only the extension configuration
/// and these virtual hosts change: proxies keep their listeners and connections.
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
                "value": wiring::filter(&name, json!({"ads": {}, "resource_api_version": "V3"})),
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
        let hosts = enabled_hosts(configuration, options, context).conditions().into_iter();
        let enabled = hosts.map(|condition| enabling_patch(context, &name, condition)).collect::<Vec<_>>();
        [strip, filter, extension].into_iter().chain(routes).chain(enabled)
    });
    options.envoy_filter(&options.name, patches.collect())
}

/// Returns why the EnvoyFilter enables the filter for all hosts, and what to do; `None` if only the hosts of roots enable it.
#[must_use]
pub fn enabled_for_all_hosts(configuration: &Configuration, options: &IstioOptions) -> Option<String> {
    let mut contexts = options.context.names().iter();
    let reason = contexts.find_map(|context| enabled_hosts(configuration, options, context).reason())?;
    Some(reason.to_string())
}

/// Renders [`envoy_filter`] as YAML.
pub fn envoy_filter_yaml(configuration: &Configuration, options: &IstioOptions) -> String {
    format!(
        "# Loads the filter into Istio's proxies. When splits change, no listener changes.\n{}",
        yaml::write(&envoy_filter(configuration, options))
    )
}

/// Renders a WasmPlugin with the filter and its configuration, and an EnvoyFilter for the settings that a WasmPlugin lacks,
/// as two YAML documents.
pub fn wasm_plugin(configuration: &Configuration, options: &IstioOptions) -> String {
    let needed = wiring::filter_configuration(configuration);
    let mut spec = json!({
        "url": options.wasm.url(),
        "pluginName": FILTER,
        "failStrategy": options.failure_policy.as_str(),
        // Outbound listeners of sidecars, and gateways.
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
        "# The route of split requests, and the removal of the filter's headers from client requests. Required for\n\
         # security: without it, any client can choose any cluster. Independent of the splits. Apply it first; delete it\n\
         # last.\n{}\
         ---\n\
         # A proxy that starts while this configuration is invalid answers 500 to every host, and 403 while the filter\n\
         # cannot be fetched, unless --failure-policy is open. With `render envoyfilter`, the root Services serve instead.\n\
         # Gateways load this filter too, but split no requests without `--context gateway` or `both`.\n{}",
        yaml::write(&options.envoy_filter(&options.static_name(), patches)),
        yaml::write(&plugin),
    )
}

const SIDECAR: &str = "SIDECAR_OUTBOUND";
const GATEWAY: &str = "GATEWAY";
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// Returns the patches that do not depend on the splits: the early header mutation and the routes of split requests.
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
    // Without a virtual host, the patch applies to all of them.
    let route = json!({
        "applyTo": "HTTP_ROUTE",
        "match": {"context": context},
        "patch": {"operation": "INSERT_FIRST", "value": split_route(configuration, &options.route)},
    });
    if context != GATEWAY {
        return (strip, vec![route]);
    }
    let ports = options.gateway_ports.iter().copied().map(Some);
    (strip, [None].into_iter().chain(ports).map(|port| gateway_route(&route, configuration, port)).collect())
}

/// Returns the virtual hosts of one kind of proxy that enable the filter.
fn enabled_hosts(configuration: &Configuration, options: &IstioOptions, context: &str) -> EnabledHosts {
    match context {
        GATEWAY => enabled_hosts::of_gateways(configuration),
        _ => enabled_hosts::of_sidecars(configuration, options.knows_all_services),
    }
}

/// Returns the patch that enables the filter in the virtual hosts with this condition. The patch changes routes, not the listener.
fn enabling_patch(context: &str, filter: &str, condition: Option<Value>) -> Value {
    let mut patch = json!({
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": context},
        "patch": {
            "operation": "MERGE",
            "value": {"typed_per_filter_config": enabled_hosts::enabling(filter)},
        },
    });
    if let Some(condition) = condition {
        patch["match"]["routeConfiguration"] = condition;
    }
    patch
}

/// Returns the route of split requests at gateways. It matches only the operator's `hosts`, in virtual hosts that already
/// have routes: otherwise a client that sends a Service's own name would reach Services that the gateway does not expose.
/// `port` is the listener's port, which clients may write into `Host`.
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

/// Returns a header match for the configuration's `hosts`, with this port or without a port.
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
    /// Returns the name of the extension configuration, in the form that Istio uses for a WasmPlugin.
    fn extension(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Returns the share of an EnvoyFilter's size for one copy of the configuration; there is one for each kind of proxy.
    pub(crate) fn max_configuration_bytes(&self, of_all: usize) -> usize {
        of_all / self.context.names().len()
    }

    /// Returns the name of the EnvoyFilter that accompanies a WasmPlugin.
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
            knows_all_services: false,
        }
    }
}

// === impl PatchContext ===

impl PatchContext {
    /// Returns Istio's names of the contexts.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Sidecar => &[SIDECAR],
            Self::Gateway => &[GATEWAY],
            Self::Both => &[SIDECAR, GATEWAY],
        }
    }
}
