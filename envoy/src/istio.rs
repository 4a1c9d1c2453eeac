//! The objects by which Istio loads the filter into its sidecars and gateways.

use crate::ALWAYS_JSON;
use crate::wiring::{self, FILTER, FailurePolicy, SplitRoute, Wasm};
use crate::yaml;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use traffic_split::Configuration;

/// Which proxies get the filter, and how it is run, for [`envoy_filter`] and [`wasm_plugin`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Istio {
    /// The objects' name.
    pub name: String,
    /// The objects' namespace: Istio's root namespace, for all of the mesh, or the one whose proxies get the filter.
    pub namespace: String,
    /// The labels of the pods whose proxies get the filter; empty: all.
    pub selector: BTreeMap<String, String>,
    /// The kind of proxies that get it.
    pub context: Context,
    /// The ports of gateways' listeners that clients write into `Host`: a request to `HOST:PORT` is split on the listener
    /// of this port, and on no other. Requests to a host without a port are split on every listener.
    pub gateway_ports: Vec<u16>,
    /// Where proxies find the compiled filter.
    pub wasm: Wasm,
    /// What tells this filter from others at that place, if anything is known of it.
    pub wasm_version: Option<String>,
    /// The epoch of the filter's VM: another number is another VM. Absent: [`vm_epoch`](crate::vm_epoch) of the
    /// configuration. Whoever replaces an EnvoyFilter takes [`next_vm_epoch`].
    pub vm_epoch: Option<u64>,
    /// What Envoy does when the filter's VM has died.
    pub failure_policy: FailurePolicy,
    /// How requests are treated whose cluster the filter picked.
    pub route: SplitRoute,
}

/// The kind of proxies that get the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Context {
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
pub fn envoy_filter(configuration: &Configuration, options: &Istio) -> Value {
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

/// The configuration that proxies get by an EnvoyFilter; `None` if it has none that the filter takes.
#[must_use]
pub fn served_configuration(filter: &Value) -> Option<Configuration> {
    let patches = filter.pointer("/spec/configPatches")?.as_array()?;
    let extension = patches.iter().find(|patch| patch["applyTo"] == "EXTENSION_CONFIG")?;
    let text = extension.pointer("/patch/value/typed_config/config/configuration/value")?.as_str()?;
    Configuration::from_json(text.as_bytes()).ok()
}

/// The number of changes of an EnvoyFilter after which its VM is replaced even if only weights change.
const MAX_CHANGES_PER_VM: u64 = 100;

/// The [`Istio::vm_epoch`] for the EnvoyFilter that replaces `served`, as the API server has it, with this configuration.
///
/// It differs from the one served if more than weights change, so that the configuration serves even if the workers' VMs
/// trapped on the one served; and after every hundredth change, by `metadata.generation`, so that Envoy frees the VM's
/// memory and metrics.
///
/// Apply the result to one replacement only: before each retry, ask again with the EnvoyFilter that is there then.
#[must_use]
pub fn next_vm_epoch(served: &Value, configuration: &Configuration) -> u64 {
    vm_epoch_after(served, served_configuration(served).as_ref(), configuration)
}

/// The same for an EnvoyFilter whose configuration was read already.
pub(crate) fn vm_epoch_after(served: &Value, previous: Option<&Configuration>, configuration: &Configuration) -> u64 {
    let Some((epoch, previous)) = served_vm_epoch(served).zip(previous) else {
        return served_vm_epoch(served).map_or_else(|| wiring::vm_epoch(configuration), wiring::following_vm_epoch);
    };
    let generation = served.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or_default();
    if generation > 0 && generation.is_multiple_of(MAX_CHANGES_PER_VM) {
        return wiring::following_vm_epoch(epoch);
    }
    wiring::next_vm_epoch(previous, epoch, configuration)
}

/// The epoch at the end of the VM's id; `None` in an EnvoyFilter of a version that wrote none.
pub(crate) fn served_vm_epoch(filter: &Value) -> Option<u64> {
    let patches = filter.pointer("/spec/configPatches")?.as_array()?;
    let extension = patches.iter().find(|patch| patch["applyTo"] == "EXTENSION_CONFIG")?;
    let id = extension.pointer("/patch/value/typed_config/config/vm_config/vm_id")?.as_str()?;
    id.rsplit_once('-')?.1.parse().ok().filter(|epoch| *epoch < wiring::VM_EPOCHS)
}

/// Takes all splits out of an EnvoyFilter, so that every root serves. False if it has none, or no configuration.
#[cfg(feature = "controller")]
pub(crate) fn without_splits(filter: &mut Value) -> bool {
    let Some(mut configuration) = served_configuration(filter).filter(|served| !served.traffic_splits.is_empty())
    else {
        return false;
    };
    configuration.traffic_splits.clear();
    let text = serde_json::to_string(&wiring::what_the_filter_needs(&configuration)).expect(ALWAYS_JSON);
    let epoch = next_vm_epoch(filter, &configuration);
    let patches = filter.pointer_mut("/spec/configPatches").and_then(Value::as_array_mut);
    for patch in patches.into_iter().flatten() {
        if let Some(Value::String(id)) = patch.pointer_mut("/patch/value/typed_config/config/vm_config/vm_id")
            && let Some((filter, served)) = id.rsplit_once('-')
            && served.parse::<u64>().is_ok_and(|served| served < wiring::VM_EPOCHS)
        {
            *id = format!("{filter}-{epoch}");
        }
        if let Some(value) = patch.pointer_mut("/patch/value/typed_config/config/configuration/value") {
            *value = text.as_str().into();
        }
    }
    true
}

/// [`envoy_filter`] as YAML.
pub fn envoy_filter_yaml(configuration: &Configuration, options: &Istio) -> String {
    format!(
        "# Loads the filter into Istio's proxies; when splits change, only the extension configuration does.\n{}",
        yaml::write(&envoy_filter(configuration, options))
    )
}

/// A WasmPlugin with the filter and its configuration, and the EnvoyFilter with what a WasmPlugin can't say; as YAML, two
/// documents.
pub fn wasm_plugin(configuration: &Configuration, options: &Istio) -> String {
    let needed = wiring::what_the_filter_needs(configuration);
    let mut spec = json!({
        "url": options.wasm.url(),
        "pluginName": FILTER,
        "failStrategy": options.failure_policy.as_str(),
        // Sidecars for what their pods call, and gateways.
        "match": [{"mode": "CLIENT"}],
        "pluginConfig": serde_json::to_value(&needed).expect(ALWAYS_JSON),
    });
    if let Wasm::Remote { sha256: Some(sha256), .. } = &options.wasm {
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
         # `--to envoyfilter` serves the root Services meanwhile. Gateways load it too, and split nothing without\n\
         # `--context gateway` or `both`.\n{}",
        yaml::write(&options.envoy_filter(&options.static_name(), patches)),
        yaml::write(&plugin),
    )
}

const SIDECAR: &str = "SIDECAR_OUTBOUND";
const GATEWAY: &str = "GATEWAY";
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// What stays as it is whatever splits there are: the early header mutation, and the routes of split requests.
fn static_patches(configuration: &Configuration, options: &Istio, context: &str) -> (Value, Vec<Value>) {
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

impl Istio {
    /// The name of the extension configuration, as Istio names a WasmPlugin's.
    fn extension(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// How much of what an EnvoyFilter may hold there is for a configuration, which it holds once for each kind of proxy.
    pub(crate) fn most_bytes(&self, of_all: usize) -> usize {
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

impl Default for Istio {
    fn default() -> Self {
        Self {
            name: FILTER.into(),
            namespace: "istio-system".into(),
            selector: BTreeMap::new(),
            context: Context::default(),
            gateway_ports: Vec::new(),
            wasm: Wasm::default(),
            wasm_version: None,
            vm_epoch: None,
            failure_policy: FailurePolicy::default(),
            route: SplitRoute::default(),
        }
    }
}

// === impl Context ===

impl Context {
    /// As Istio calls them.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Sidecar => &[SIDECAR],
            Self::Gateway => &[GATEWAY],
            Self::Both => &[SIDECAR, GATEWAY],
        }
    }
}
