//! What the filter needs around it in Envoy, whoever writes it down: a bootstrap's file, or an EnvoyFilter.

use crate::yaml::ALWAYS_JSON;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;
use traffic_split::Configuration;

/// The filter's name wherever Envoy wants one.
pub(crate) const FILTER: &str = "traffic-split";
/// The type of an HTTP filter that is WebAssembly.
pub(crate) const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// A filter that does nothing, unless it is told to.
const NO_OP_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";

/// How Envoy treats a request that the filter has picked a cluster for. The route that is inserted replaces the one that
/// was there, with all that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitRoute {
    /// How long a request may take until it is answered 504; absent: as long as it likes, which is Istio's default.
    pub timeout: Option<Duration>,
    /// How often a request is tried again that no backend has begun to work on; 2 is Istio's default.
    pub retries: u32,
    /// The request header by which a backend's `ring_hash` or `maglev` load balancer picks the endpoint, in place of a
    /// DestinationRule's `consistentHash`.
    pub hash_header: Option<String>,
    /// The response header that gets the name of the backend that was picked. It takes a `backendHeader`.
    pub response_header: String,
}

/// Where a sidecar finds the compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WasmSource {
    /// A file on the sidecar's host.
    File(String),
    /// An image `oci://…` or a file `https://…`, which Istio's agent fetches.
    Remote {
        /// Its URL.
        url: String,
        /// The SHA-256 of the file, or of the image's manifest, in hexadecimal; absent: Istio's agent accepts any content.
        sha256: Option<String>,
    },
}

/// What Envoy does when the filter's VM has died. That it may answer 503 for ever after
/// (`FAIL_CLOSED`) is not on offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// `FAIL_RELOAD`: a new VM is started; requests within the back-off of a second get 503.
    #[default]
    Reload,
    /// `FAIL_OPEN`: the root serves until there is a new VM.
    Open,
}

/// An extension of the connection manager that keeps our headers from coming from a client: before the route is looked
/// for, which is why it isn't one of the filters.
pub(crate) fn early_header_mutation(configuration: &Configuration) -> Value {
    let strip = [
        configuration.cluster_header.as_str(),
        // Stripped even while nothing writes it: the next configuration may.
        configuration.backend_header.as_deref().unwrap_or(BACKEND_HEADER),
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

/// The `backendHeader` of who wants one, and doesn't say which.
pub const BACKEND_HEADER: &str = "x-traffic-split-backend";

/// The filter's configuration comes from elsewhere, and changes without the listener. Without one, or with a bad one, the
/// default serves the roots and other hosts.
pub(crate) fn config_discovery(config_source: Value) -> Value {
    json!({
        "config_source": config_source,
        "type_urls": [WASM_TYPE, NO_OP_TYPE],
        "default_config": {"@type": NO_OP_TYPE},
        "apply_default_config_without_warming": true,
    })
}

/// The number of VM epochs. A stream keeps the VM under which it began: this is the most VMs of one filter that long
/// streams can hold in each worker.
pub const VM_EPOCHS: u64 = 8;

/// The epoch of a configuration's VM, below [`VM_EPOCHS`], from everything but the splits' weights.
///
/// Configurations of one epoch share a VM, so changes of weights, which are frequent, start no VM. Other changes do, save
/// one in eight: a VM whose workers trapped at configure is refused by Envoy until no stream and no configuration uses it.
pub fn vm_epoch(configuration: &Configuration) -> u64 {
    hash(structure(configuration).as_bytes()) % VM_EPOCHS
}

/// The epoch of the VM for the configuration that replaces `served`, which has epoch `served_epoch`: another one if more
/// than weights change. Unlike with [`vm_epoch`], such a change always gets another VM.
pub(crate) fn next_vm_epoch(served: &Configuration, served_epoch: u64, configuration: &Configuration) -> u64 {
    if structure(served) == structure(configuration) { served_epoch } else { increment_vm_epoch(served_epoch) }
}

/// The epoch after this one.
#[must_use]
pub fn increment_vm_epoch(epoch: u64) -> u64 {
    epoch.wrapping_add(1) % VM_EPOCHS
}

/// What the filter is configured with, without weights.
fn structure(configuration: &Configuration) -> String {
    let mut needed = filter_configuration(configuration);
    for backend in needed.traffic_splits.iter_mut().flat_map(|split| &mut split.spec.backends) {
        backend.weight = None;
    }
    serde_json::to_string(&needed).expect(ALWAYS_JSON)
}

/// FNV-1a: the same on every machine.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The filter and its configuration, as what `config_discovery` gets. `epoch` defaults to [`vm_epoch`].
pub(crate) fn wasm(
    configuration: &Configuration,
    wasm: &WasmSource,
    version: Option<&str>,
    epoch: Option<u64>,
    failure_policy: FailurePolicy,
) -> Value {
    // A VM of its own for each compiled filter and each epoch.
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

/// The configuration of a filter around which [`early_header_mutation`] stands, unless the operator says otherwise; without
/// the Services and groups that no split names.
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

/// The route of requests whose cluster the filter picked.
pub(crate) fn split_route(configuration: &Configuration, options: &SplitRoute) -> Value {
    let header = &configuration.cluster_header;
    let mut response_headers = Vec::new();
    let mut add = |key: &str, header: &str| {
        response_headers.push(json!({"header": {"key": key, "value": format!("%REQ({header})%")}}));
    };
    if let Some(backend) = &configuration.backend_header {
        add(&options.response_header, backend);
    }
    // This, and the mirror below, have no effect until a request has the header. They are here
    // because Envoy reads the route once, and the filter's next configuration may set them.
    add("set-cookie", &configuration.set_cookie_header);
    let mut route = json!({
        "cluster_header": header,
        "timeout": format!("{}s", options.timeout.unwrap_or_default().as_secs_f64()),
        "request_mirror_policies": [{"cluster_header": configuration.mirror_header}],
    });
    if options.retries > 0 {
        route["retry_policy"] = retry_policy(options.retries);
    }
    if let Some(header) = &options.hash_header {
        route["hash_policy"] = json!([{"header": {"header_name": header}}]);
    }
    json!({
        "name": FILTER,
        "match": {"prefix": "/", "headers": [{"name": header, "present_match": true}]},
        "route": route,
        // It alone: Envoy removes what stands here before it reads the others, which would undo them.
        "request_headers_to_remove": [header],
        "response_headers_to_add": response_headers,
    })
}

/// Istio's default, which retries only what no backend has begun to work on.
pub(crate) fn retry_policy(retries: u32) -> Value {
    json!({
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": retries,
        "retry_host_predicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            },
        }],
        "host_selection_retry_max_attempts": 5,
    })
}

// === impl SplitRoute ===

impl Default for SplitRoute {
    fn default() -> Self {
        Self { timeout: None, retries: 2, hash_header: None, response_header: "x-served-by".into() }
    }
}

// === impl Wasm ===

impl WasmSource {
    /// What stands in `vm_config.code`.
    fn code(&self) -> Value {
        match self {
            Self::File(path) => json!({"local": {"filename": path}}),
            Self::Remote { url, sha256 } => {
                // Istio's agent fetches it, and no cluster is asked.
                let http_uri = json!({"uri": url, "cluster": "_", "timeout": "30s"});
                let mut remote = json!({"http_uri": http_uri});
                if let Some(sha256) = sha256 {
                    remote["sha256"] = sha256.as_str().into();
                }
                json!({"remote": remote})
            }
        }
    }

    /// As a WasmPlugin's `url`.
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
