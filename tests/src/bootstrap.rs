//! A minimal Envoy bootstrap, without the parts that the `traffic-split` command generates. It separates what the
//! filter guarantees by itself from what a part of the bootstrap guarantees.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The response header that names the cluster that served the request.
pub const SERVED_BY: &str = "x-served-by";
/// The cluster of requests that no split routes. No configuration can select this name.
pub const ROOT_CLUSTER: &str = "the-root";

/// The request header that carries the selected cluster.
const CLUSTER_HEADER: &str = "x-traffic-split-cluster";
/// The request header that carries the cluster of the mirror.
const MIRROR_HEADER: &str = "x-traffic-split-mirror";
/// The value of `Set-Cookie`, taken from a request header.
const SET_COOKIE: &str = "%REQ(x-traffic-split-set-cookie)%";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// A Wasm module and its configuration.
#[derive(Clone, Debug)]
pub struct Wasm {
    /// The module.
    pub module: PathBuf,
    /// The failure policy after a trap, e.g. `FAIL_RELOAD`.
    pub failure_policy: &'static str,
    /// The plugin configuration.
    pub configuration: String,
    /// The functions that the module may import and export; `None` for all.
    pub capabilities: Option<Vec<String>>,
}

impl Wasm {
    /// Returns the module with the failure policy of a deployed filter: after a trap, Envoy creates a new VM.
    #[must_use]
    pub fn new(module: &Path, configuration: &str) -> Wasm {
        let configuration = configuration.to_owned();
        Wasm { module: module.to_owned(), failure_policy: "FAIL_RELOAD", configuration, capabilities: None }
    }

    fn typed_config(&self) -> Value {
        let mut config = json!({
            "name": "traffic-split",
            "failure_policy": self.failure_policy,
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": self.module}},
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": self.configuration,
            },
        });
        // Envoy warns that this field is deprecated, and reads no names as all names.
        if let Some(names) = &self.capabilities {
            let allowed: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!({}))).collect();
            config["capability_restriction_config"] = json!({"allowed_capabilities": allowed});
        }
        json!({"@type": WASM, "config": config})
    }
}

/// The bootstrap of a sidecar.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The client's namespace.
    pub namespace: &'static str,
    /// The addresses of the listeners `outbound-0`, `outbound-1`, ….
    pub listeners: Vec<SocketAddr>,
    /// The clusters by name, each with one address.
    pub clusters: Vec<(String, SocketAddr)>,
    /// Hosts with a cluster of the same name; all other hosts use the root cluster.
    pub hosts: Vec<&'static str>,
    /// Whether Envoy removes the filter's headers from client requests before routing.
    pub strips: bool,
    /// The filter.
    pub wasm: Wasm,
}

impl Bootstrap {
    /// Returns the bootstrap as JSON, which Envoy reads as YAML.
    #[must_use]
    pub fn text(&self) -> String {
        let listeners: Vec<Value> =
            self.listeners.iter().enumerate().map(|(index, address)| self.listener(index, *address)).collect();
        let clusters: Vec<Value> = self.clusters.iter().map(|(name, address)| cluster(name, *address)).collect();
        json!({
            "node": {"id": "client", "cluster": "client", "metadata": {"NAMESPACE": self.namespace}},
            "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], 0)))},
            "stats_config": {"stats_tags": stats_tags()},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        })
        .to_string()
    }

    fn listener(&self, index: usize, address: SocketAddr) -> Value {
        let own = self.hosts.iter().map(|host| virtual_host(host, &[host, &format!("{host}:*")], host));
        let virtual_hosts: Vec<Value> = own.chain([virtual_host("any", &["*"], ROOT_CLUSTER)]).collect();
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound",
            "route_config": {
                "name": "outbound",
                "virtual_hosts": virtual_hosts,
                "response_headers_to_add": [{"header": {"key": SERVED_BY, "value": "%UPSTREAM_CLUSTER_RAW%"}}],
            },
            "http_filters": [{"name": "traffic-split", "typed_config": self.wasm.typed_config()}, {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }],
        });
        if self.strips {
            manager["early_header_mutation_extensions"] = json!([{
                "name": "traffic-split-strip",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": [{"remove": CLUSTER_HEADER}],
                },
            }]);
        }
        json!({
            "name": format!("outbound-{index}"),
            "address": socket(address),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }]}],
        })
    }
}

/// Returns the rules that extract the labels from the name of the filter's counter.
pub(crate) fn stats_tags() -> Value {
    let tags = ["split", "backend", "reason"];
    tags.map(|name| json!({"tag_name": name, "regex": format!(r"({name}=\.=(.*?);\.;)")})).into_iter().collect()
}

/// A guest in the text format that traps at its first request, which ends its VM.
pub const TRAPPING: &str = r#"(module
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 1024))
    (func (export "_initialize"))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get $size))))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;

fn virtual_host(name: &str, domains: &[&str], cluster: &str) -> Value {
    json!({
        "name": name,
        "domains": domains,
        "routes": [
            {
                "match": {"prefix": "/", "headers": [{"name": CLUSTER_HEADER, "present_match": true}]},
                "route": {
                    "cluster_header": CLUSTER_HEADER,
                    "request_mirror_policies": [{"cluster_header": MIRROR_HEADER}],
                },
                "response_headers_to_add": [{"header": {"key": "set-cookie", "value": SET_COOKIE}}],
                "request_headers_to_remove": [CLUSTER_HEADER],
            },
            {"match": {"prefix": "/"}, "route": {"cluster": cluster}},
        ],
    })
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let endpoint = json!({"endpoint": {"address": socket(address)}});
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}
