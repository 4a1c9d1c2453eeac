//! The parts of Envoy's configuration that bootstraps and EnvoyFilters share: early header mutation, config discovery
//! and the filter.

use crate::yaml::ALWAYS_JSON;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use traffic_split::Configuration;

/// The name of the filter and of its route in Envoy's configuration.
pub(crate) const FILTER: &str = "traffic-split";
/// The type of Envoy's Wasm filter.
pub(crate) const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// The type of a filter that does nothing when its configuration is empty.
pub(crate) const NO_OP_TYPE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";

/// Where a proxy finds the compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WasmSource {
    /// A file on the proxy's host or in its container.
    File(String),
    /// An image `oci://…` or a file `https://…`, which Istio's agent fetches.
    Remote {
        /// Its URL.
        url: String,
        /// The SHA-256 of the file, or of the image's manifest, in hexadecimal. If absent, Istio's agent accepts any content.
        sha256: Option<String>,
    },
}

/// What Envoy does after the filter's VM fails. `FAIL_CLOSED` is not available: Envoy would answer 503 until it restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// `FAIL_RELOAD`: Envoy starts a new VM; requests get 503 for at most one second.
    #[default]
    Reload,
    /// `FAIL_OPEN`: the root Service serves until a new VM starts.
    Open,
}

/// Returns the extension of the connection manager that removes the filter's headers from client requests. An HTTP filter would be
/// too late: Envoy selects the route before it runs filters.
pub(crate) fn early_header_mutation(configuration: &Configuration) -> Value {
    let strip = [
        configuration.cluster_header.as_str(),
        backend_header(configuration),
        &configuration.mirror_header,
        &configuration.set_cookie_header,
    ];
    json!({
        "name": "traffic-split-strip",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": strip.map(|header| json!({"remove": header})),
        },
    })
}

/// The `backendHeader` of a configuration that needs one and has none.
pub const BACKEND_HEADER: &str = "x-traffic-split-backend";

/// Returns the name of the header that names the picked backend in this configuration or in the filter's next one.
pub(crate) fn backend_header(configuration: &Configuration) -> &str {
    configuration.backend_header.as_deref().unwrap_or(BACKEND_HEADER)
}

/// Returns the HTTP filter named `name`. The filter is disabled unless the virtual host of a request enables it.
pub(crate) fn filter(name: &str, config_source: Value) -> Value {
    json!({"name": name, "disabled": true, "config_discovery": config_discovery(config_source)})
}

/// Returns the `config_discovery` of the filter, whose configuration changes without a change of the listener. While the
/// configuration is missing or invalid, the default configuration lets the root Services and other hosts serve.
fn config_discovery(config_source: Value) -> Value {
    json!({
        "config_source": config_source,
        "type_urls": [WASM_TYPE, NO_OP_TYPE],
        "default_config": {"@type": NO_OP_TYPE},
        "apply_default_config_without_warming": true,
    })
}

/// The number of VM epochs. A stream keeps the VM in which it began, so each worker has at most this number of VMs of one filter.
pub const VM_EPOCHS: u64 = 8;

/// Returns the epoch of a configuration's VM, below [`VM_EPOCHS`], derived from everything except the splits' weights.
///
/// Configurations of one epoch share a VM, so a change of weights starts no new VM. Seven of eight other changes start a new VM,
/// which recovers from a trap in `on_configure`: Envoy refuses all configurations of a failed VM until no stream and no
/// configuration uses that VM.
pub fn vm_epoch(configuration: &Configuration) -> u64 {
    hash(structure(configuration).as_bytes()) % VM_EPOCHS
}

/// Returns the epoch for the configuration that replaces `served`. Unlike [`vm_epoch`], it always differs from `served_epoch` if
/// more than weights change.
pub(crate) fn next_vm_epoch(served: &Configuration, served_epoch: u64, configuration: &Configuration) -> u64 {
    if structure(served) == structure(configuration) { served_epoch } else { increment_vm_epoch(served_epoch) }
}

/// Returns the epoch after this one.
#[must_use]
pub fn increment_vm_epoch(epoch: u64) -> u64 {
    epoch.wrapping_add(1) % VM_EPOCHS
}

/// Returns the filter's configuration without weights.
fn structure(configuration: &Configuration) -> String {
    let mut needed = filter_configuration(configuration);
    for backend in needed.traffic_splits.iter_mut().flat_map(|split| &mut split.spec.backends) {
        backend.weight = None;
    }
    serde_json::to_string(&needed).expect(ALWAYS_JSON)
}

/// Returns the FNV-1a hash, which is the same on every machine.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Returns the Wasm filter with its configuration, as `config_discovery` receives it. `epoch` defaults to [`vm_epoch`].
pub(crate) fn wasm(
    configuration: &Configuration,
    wasm: &WasmSource,
    version: Option<&str>,
    epoch: Option<u64>,
    failure_policy: FailurePolicy,
) -> Value {
    // Each compiled filter and each epoch has a VM of its own.
    let epoch = epoch.unwrap_or_else(|| vm_epoch(configuration));
    let vm_id = match version {
        Some(version) => format!("{FILTER}-{version}-{epoch}"),
        None => format!("{FILTER}-{epoch}"),
    };
    json!({
        "@type": WASM_TYPE,
        "config": {
            "name": FILTER,
            "failure_policy": failure_policy.as_str(),
            "vm_config": {
                "vm_id": vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": wasm.code(),
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": serde_json::to_string(&filter_configuration(configuration)).expect(ALWAYS_JSON),
            },
        },
    })
}

/// Returns the configuration for a filter whose headers Envoy removes from client requests ([`early_header_mutation`]), without the
/// Services and groups that no split names. The operator's `headersStripped` takes precedence.
pub(crate) fn filter_configuration(configuration: &Configuration) -> Configuration {
    let mut needed = configuration.clone();
    needed.headers_stripped.get_or_insert(true);
    let splits = &configuration.traffic_splits;
    let services: HashSet<_> = (splits.iter())
        .flat_map(|split| {
            let backends = split.spec.backends.iter().map(|backend| backend.service.as_str());
            let namespace = split.metadata.namespace.as_str();
            backends.chain([split.spec.service.as_str()]).map(move |service| (namespace, service))
        })
        .collect();
    needed.services.retain(|key, _| key.split_once('/').is_some_and(|key| services.contains(&key)));
    let groups: BTreeSet<_> = (splits.iter())
        .flat_map(|split| split.spec.matches.iter().map(|group| (&split.metadata.namespace, &group.name)))
        .collect();
    needed.http_route_groups.retain(|group| groups.contains(&(&group.metadata.namespace, &group.metadata.name)));
    needed
}

// === impl Wasm ===

impl WasmSource {
    /// Returns the value of `vm_config.code`.
    fn code(&self) -> Value {
        match self {
            Self::File(path) => json!({"local": {"filename": path}}),
            Self::Remote { url, sha256 } => {
                // Istio's agent fetches the code, so the cluster is never used.
                let http_uri = json!({"uri": url, "cluster": "_", "timeout": "30s"});
                let mut remote = json!({"http_uri": http_uri});
                if let Some(sha256) = sha256 {
                    remote["sha256"] = sha256.as_str().into();
                }
                json!({"remote": remote})
            }
        }
    }

    /// Returns the `url` of a WasmPlugin.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::File(path) => format!("file://{path}"),
            Self::Remote { url, .. } => url.clone(),
        }
    }
}

impl Default for WasmSource {
    fn default() -> Self {
        Self::File("/etc/traffic-split/traffic-split.wasm".into())
    }
}

// === impl FailurePolicy ===

impl FailurePolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "FAIL_RELOAD",
            Self::Open => "FAIL_OPEN",
        }
    }
}
