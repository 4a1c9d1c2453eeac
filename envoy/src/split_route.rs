//! The route of split requests, which bootstraps and EnvoyFilters share.

use crate::wiring::{self, FILTER};
use serde_json::{Value, json};
use std::time::Duration;
use traffic_split::Configuration;

/// Options of the route of split requests. That route replaces the whole original route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitRoute {
    /// Timeout of a request, after which Envoy answers 504. Defaults to none, as in Istio.
    pub timeout: Option<Duration>,
    /// Number of retries of a request that no backend has started to process. Defaults to 2, as in Istio.
    pub retries: u32,
    /// Request header that a backend's `ring_hash` or `maglev` load balancer hashes, instead of `consistentHash` of a
    /// DestinationRule.
    pub hash_header: Option<String>,
    /// Response header for the name of the picked backend. Has no effect without a `backendHeader`.
    pub response_header: String,
}

/// The value of the mirror header in a copy. In the request itself, that header names the cluster of the copy.
const COPY: &str = "copy";

/// Returns the route of split requests.
pub(crate) fn split_route(configuration: &Configuration, options: &SplitRoute) -> Value {
    let header = &configuration.cluster_header;
    let mut response_headers = Vec::new();
    let mut add = |key: &str, header: &str| {
        response_headers.push(json!({"header": {"key": key, "value": format!("%REQ({header})%")}}));
    };
    if let Some(backend) = &configuration.backend_header {
        add(&options.response_header, backend);
    }
    // The response header and the mirror have no effect on requests without their request header. The route always has both, because
    // the filter's next configuration may need them.
    add("set-cookie", &configuration.set_cookie_header);
    let mut route = json!({
        "cluster_header": header,
        "request_mirror_policies": [mirror_policy(configuration)],
    });
    set_timeout(&mut route, options.timeout);
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
        // Remove only this header: Envoy removes these headers before it evaluates the mirror policy and `%REQ()%`.
        "request_headers_to_remove": [header],
        "response_headers_to_add": response_headers,
    })
}

/// Returns the mirror policy: a copy is the request as the client sent it, marked as a copy.
fn mirror_policy(configuration: &Configuration) -> Value {
    let mark = json!({
        "header": {"key": configuration.mirror_header, "value": COPY},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    });
    json!({
        "cluster_header": configuration.mirror_header,
        // Otherwise Envoy appends `-shadow` to the host, and a backend with virtual hosts refuses the copy.
        "disable_shadow_host_suffix_append": true,
        // As in Istio: copies are not part of the request's trace.
        "trace_sampled": false,
        "request_headers_mutations": [
            // This header names the backend that serves the request, not the backend that receives the copy.
            {"remove": wiring::backend_header(configuration)},
            {"remove": configuration.set_cookie_header},
            {"append": mark},
        ],
    })
}

/// Sets the timeout of a route. The deadline in `grpc-timeout` applies in any case, as on Istio's routes.
pub(crate) fn set_timeout(route: &mut Value, timeout: Option<Duration>) {
    let seconds = format!("{}s", timeout.unwrap_or_default().as_secs_f64());
    match timeout.filter(|timeout| !timeout.is_zero()) {
        None => route["max_stream_duration"] = json!({"grpc_timeout_header_max": seconds}),
        // Envoy ignores `timeout` if `max_stream_duration` is set. Istio also uses this deprecated field for this reason.
        Some(_) => route["max_grpc_timeout"] = seconds.as_str().into(),
    }
    route["timeout"] = seconds.into();
}

/// Returns Istio's default retry policy, which retries only requests that no backend has started to process.
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
