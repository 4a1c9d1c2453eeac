//! What the filter needs around it in Envoy, whoever writes it down: a bootstrap's file, or an EnvoyFilter.

use crate::ALWAYS_JSON;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use traffic_split::Configuration;

/// The filter's name wherever Envoy wants one.
pub(crate) const FILTER: &str = "traffic-split";
/// The type of an HTTP filter that is WebAssembly.
pub(crate) const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// A filter that does nothing, unless it is told to.
const NOTHING_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";

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
pub enum Wasm {
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
        "type_urls": [WASM_TYPE, NOTHING_TYPE],
        "default_config": {"@type": NOTHING_TYPE},
        "apply_default_config_without_warming": true,
    })
}

/// The filter and its configuration, as what `config_discovery` gets.
pub(crate) fn wasm(
    configuration: &Configuration,
    wasm: &Wasm,
    version: Option<&str>,
    failure_policy: FailurePolicy,
) -> Value {
    let vm_id = match version {
        Some(version) => format!("{FILTER}-{version}"),
        None => FILTER.into(),
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
                "value": serde_json::to_string(&what_the_filter_needs(configuration)).expect(ALWAYS_JSON),
            },
        },
    })
}

/// The configuration of a filter around which [`early_header_mutation`] stands, unless the operator says otherwise; without
/// the Services and groups that no split names.
pub(crate) fn what_the_filter_needs(configuration: &Configuration) -> Configuration {
    let mut needed = configuration.clone();
    needed.headers_stripped.get_or_insert(true);
    let splits = &configuration.traffic_splits;
    let services: BTreeSet<_> = (splits.iter())
        .flat_map(|split| {
            let backends = split.spec.backends.iter().map(|backend| &backend.service);
            let namespace = &split.metadata.namespace;
            backends.chain([&split.spec.service]).map(move |service| format!("{namespace}/{service}"))
        })
        .collect();
    needed.services.retain(|key, _| services.contains(key));
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

impl Wasm {
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

impl Default for Wasm {
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
