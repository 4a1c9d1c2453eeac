//! Properties of the EnvoyFilter and the WasmPlugin that load the filter in Istio, whichever options are set.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use traffic_split::Configuration;
use traffic_split_envoy::{
    FailurePolicy, InputFile, IstioOptions, LoadOptions, PatchContext, VM_EPOCHS, WasmSource, envoy_filter, load,
    next_vm_epoch, vm_epoch, wasm_plugin,
};

fn guide(file: &str) -> InputFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/guide").join(file);
    InputFile { name: file.into(), content: std::fs::read(path).map_err(|why| why.to_string()) }
}

fn configuration() -> Configuration {
    load(&["trafficsplit-v1.yaml", "services.yaml"].map(guide), None, &LoadOptions::default()).unwrap().configuration
}

fn patches(filter: &Value) -> &Vec<Value> {
    filter["spec"]["configPatches"].as_array().unwrap()
}

/// Returns the value of the only patch with this `applyTo`.
#[track_caller]
fn patch<'f>(filter: &'f Value, apply_to: &str) -> &'f Value {
    let found: Vec<_> = patches(filter).iter().filter(|patch| patch["applyTo"] == apply_to).collect();
    let [patch] = found[..] else { panic!("{} patches of {apply_to}", found.len()) };
    &patch["patch"]["value"]
}

/// Returns the plugin configuration in an EnvoyFilter, parsed as the filter parses it.
fn plugin_configuration(filter: &Value) -> Configuration {
    let text = patch(filter, "EXTENSION_CONFIG").pointer("/typed_config/config/configuration/value").unwrap();
    Configuration::from_json(text.as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn envoy_filter_removes_headers_loads_the_filter_and_inserts_the_route_first() {
    let filter = envoy_filter(&configuration(), &IstioOptions::default());
    let what: Vec<_> = patches(&filter).iter().map(|patch| (&patch["applyTo"], &patch["patch"]["operation"])).collect();
    assert_eq!(
        json!(what),
        json!([
            ["NETWORK_FILTER", "MERGE"],
            ["HTTP_FILTER", "INSERT_BEFORE"],
            ["EXTENSION_CONFIG", "ADD"],
            ["HTTP_ROUTE", "INSERT_FIRST"],
        ])
    );
    assert!(patches(&filter).iter().all(|patch| patch["match"]["context"] == "SIDECAR_OUTBOUND"));
    // A proxy that starts without a valid configuration serves the roots.
    let discovery = &patch(&filter, "HTTP_FILTER")["config_discovery"];
    assert_eq!(discovery["apply_default_config_without_warming"], true);
    assert!(discovery["default_config"]["@type"].as_str().unwrap().ends_with("HeaderMutation"));
    assert_eq!(patch(&filter, "HTTP_FILTER")["name"], patch(&filter, "EXTENSION_CONFIG")["name"]);
    assert_eq!(plugin_configuration(&filter).headers_stripped, Some(true));
}

#[test]
fn configured_headers_are_removed_from_client_requests() {
    let configuration =
        Configuration::from_value(&json!({"clusterHeader": "x-c", "mirrorHeader": "x-m", "setCookieHeader": "x-s"}));
    let filter = envoy_filter(&configuration.unwrap(), &IstioOptions::default());
    let strip = patch(&filter, "NETWORK_FILTER")
        .pointer("/typed_config/early_header_mutation_extensions/0/typed_config/mutations")
        .unwrap();
    let removed = ["x-c", "x-traffic-split-backend", "x-m", "x-s"].map(|name| json!({"remove": name}));
    assert_eq!(*strip, json!(removed));
    assert_eq!(patch(&filter, "HTTP_ROUTE")["route"]["cluster_header"], "x-c");
}

#[test]
fn changed_splits_change_only_the_extension_configuration() {
    let other = load(&["trafficsplit-50-50.yaml", "services.yaml"].map(guide), None, &LoadOptions::default())
        .unwrap()
        .configuration;
    let [old, new] =
        [configuration(), other].map(|configuration| envoy_filter(&configuration, &IstioOptions::default()));
    for (old, new) in patches(&old).iter().zip(patches(&new)) {
        assert_eq!(old != new, old["applyTo"] == "EXTENSION_CONFIG", "{new}");
    }
}

#[test]
fn services_and_groups_that_no_split_names_are_omitted() {
    let split = |name: &str, group: &str| {
        json!({
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"service": "root", "backends": [{"service": "leaf", "weight": 1}], "matches": [{"name": group}]},
        })
    };
    let group = |name: &str| {
        json!({
            "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"matches": [{"methods": ["GET"]}]},
        })
    };
    let services =
        ["shop/root", "shop/leaf", "shop/other", "other/root"].map(|key| (key.into(), json!({"ports": [80]})));
    let configuration = Configuration::from_value(&json!({
        "trafficSplits": [split("split", "used")],
        "httpRouteGroups": [group("used"), group("unused")],
        "services": serde_json::Map::from_iter(services),
    }));
    let written = plugin_configuration(&envoy_filter(&configuration.unwrap(), &IstioOptions::default()));
    assert_eq!(written.services.keys().collect::<Vec<_>>(), ["shop/leaf", "shop/root"]);
    let groups: Vec<_> = written.http_route_groups.iter().map(|group| group.metadata.name.as_str()).collect();
    assert_eq!(groups, ["used"]);
}

#[test]
fn gateway_route_matches_only_the_configured_hosts() {
    let mut options = IstioOptions::default();
    options.context = PatchContext::Both;
    let mut configuration = configuration();
    configuration.hosts.insert("shop.example.com".into(), "httpbin/httpbin".into());
    configuration.hosts.insert("example.org".into(), "httpbin/httpbin".into());
    let both = envoy_filter(&configuration, &options);
    options.context = PatchContext::Gateway;
    let gateway = envoy_filter(&configuration, &options);
    let contexts: Vec<_> = patches(&both).iter().map(|patch| patch["match"]["context"].as_str().unwrap()).collect();
    assert_eq!(contexts, [["SIDECAR_OUTBOUND"; 4], ["GATEWAY"; 4]].concat());
    assert_eq!(patches(&both)[4..], patches(&gateway)[..]);
    let values = |patches: &[Value]| patches.iter().map(|patch| patch["patch"].clone()).collect::<Vec<_>>();
    let (sidecars, mut gateways) = (values(&patches(&both)[..4]), values(&patches(&both)[4..]));
    let headers = gateways[3].pointer_mut("/value/match/headers").and_then(Value::as_array_mut).unwrap();
    let host = headers.pop().unwrap();
    assert_eq!(sidecars, gateways);
    assert_eq!(
        host,
        json!({"name": ":authority", "string_match": {"safe_regex": {
            "regex": r"(?i)(?:example\.org|shop\.example\.com)\.?",
        }}})
    );
    // On the listener of a configured gateway port, `Host` may contain this port, but no other port.
    options.gateway_ports = vec![8080];
    let with_port = envoy_filter(&configuration, &options);
    assert_eq!(patches(&with_port)[..4], patches(&gateway)[..]);
    let route = &patches(&with_port)[4];
    assert_eq!(route["match"]["routeConfiguration"]["portNumber"], 8080);
    let regex = route.pointer("/patch/value/match/headers/1/string_match/safe_regex/regex").unwrap();
    assert_eq!(regex, r"(?i)(?:example\.org|shop\.example\.com)\.?:8080");
    // A virtual host without a route does not get the route of split requests.
    let route = patches(&gateway)[3].pointer("/match/routeConfiguration/vhost/route/action").unwrap();
    assert_eq!(route, "ROUTE");
}

#[test]
fn route_has_the_given_timeout_retries_and_headers() {
    let mut options = IstioOptions::default();
    let mut configuration = configuration();
    let usual = envoy_filter(&configuration, &options);
    let route = patch(&usual, "HTTP_ROUTE");
    assert_eq!(route["route"]["timeout"], "0s");
    assert_eq!(route["route"]["max_stream_duration"], json!({"grpc_timeout_header_max": "0s"}));
    assert_eq!(route["route"].get("max_grpc_timeout"), None);
    assert_eq!(route["route"]["retry_policy"]["num_retries"], 2);
    assert_eq!(route["route"].get("hash_policy"), None);
    let keys = |route: &Value| {
        let headers = route["response_headers_to_add"].as_array().unwrap();
        headers.iter().map(|header| header["header"]["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(route), ["set-cookie"]);

    options.route.timeout = Some(Duration::from_millis(1500));
    options.route.retries = 0;
    options.route.hash_header = Some("x-user".into());
    options.route.response_header = "x-version".into();
    configuration.backend_header = Some("x-traffic-split-backend".into());
    let asked = envoy_filter(&configuration, &options);
    let route = patch(&asked, "HTTP_ROUTE");
    assert_eq!(route["route"]["timeout"], "1.5s");
    // Envoy ignores `timeout` if `max_stream_duration` is set.
    assert_eq!(route["route"].get("max_stream_duration"), None);
    assert_eq!(route["route"]["max_grpc_timeout"], "1.5s");
    assert_eq!(route["route"].get("retry_policy"), None);
    assert_eq!(route["route"]["hash_policy"], json!([{"header": {"header_name": "x-user"}}]));
    assert_eq!(keys(route), ["x-version", "set-cookie"]);
}

#[test]
fn copy_keeps_the_host_and_names_no_other_backend() {
    let policies = |backend_header: Option<&str>| {
        let mut configuration =
            Configuration::from_value(&json!({"mirrorHeader": "x-m", "setCookieHeader": "x-s"})).unwrap();
        configuration.backend_header = backend_header.map(str::to_owned);
        let rendered = envoy_filter(&configuration, &IstioOptions::default());
        patch(&rendered, "HTTP_ROUTE")["route"]["request_mirror_policies"].clone()
    };
    let copy = json!({"key": "x-m", "value": "copy"});
    for (configured, removed) in [(Some("x-b"), "x-b"), (None, "x-traffic-split-backend")] {
        let expected = json!([{
            "cluster_header": "x-m",
            "disable_shadow_host_suffix_append": true,
            "trace_sampled": false,
            "request_headers_mutations": [
                {"remove": removed},
                {"remove": "x-s"},
                {"append": {"header": copy, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}},
            ],
        }]);
        assert_eq!(policies(configured), expected);
    }
}

#[test]
fn filter_comes_from_a_file_or_a_url() {
    let code = |wasm: WasmSource| {
        let mut options = IstioOptions::default();
        options.wasm = wasm;
        options.failure_policy = FailurePolicy::Open;
        let filter = envoy_filter(&configuration(), &options);
        let config = &patch(&filter, "EXTENSION_CONFIG")["typed_config"]["config"];
        assert_eq!(config["failure_policy"], "FAIL_OPEN");
        config["vm_config"]["code"].clone()
    };
    assert_eq!(code(WasmSource::File("/f.wasm".into())), json!({"local": {"filename": "/f.wasm"}}));
    let http_uri = |uri: &str| json!({"uri": uri, "cluster": "_", "timeout": "30s"});
    assert_eq!(
        code(WasmSource::Remote { url: "oci://r/f:1".into(), sha256: None }),
        json!({"remote": {"http_uri": http_uri("oci://r/f:1")}})
    );
    assert_eq!(
        code(WasmSource::Remote { url: "https://r/f.wasm".into(), sha256: Some("ab".into()) }),
        json!({"remote": {"http_uri": http_uri("https://r/f.wasm"), "sha256": "ab"}})
    );
}

#[test]
fn objects_have_the_given_namespace_and_selector() {
    let mut options = IstioOptions::default();
    options.namespace = "curl".into();
    options.selector = [("app".to_owned(), "curl".to_owned())].into();
    let filter = envoy_filter(&configuration(), &options);
    assert_eq!(filter["metadata"], json!({"name": "traffic-split", "namespace": "curl"}));
    assert_eq!(filter["spec"]["workloadSelector"], json!({"labels": {"app": "curl"}}));
    // Istio has one list of extension configurations for all namespaces, so the name contains the namespace.
    assert_eq!(patch(&filter, "EXTENSION_CONFIG")["name"], "curl.traffic-split");

    let [route, plugin] = plugin_documents(&options);
    for object in [&route, &plugin] {
        assert_eq!(object["metadata"]["namespace"], "curl");
    }
    assert_eq!(plugin["spec"]["selector"], json!({"matchLabels": {"app": "curl"}}));
}

fn plugin_documents(options: &IstioOptions) -> [Value; 2] {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&wasm_plugin(&configuration(), options)).unwrap();
    documents.try_into().unwrap()
}

#[test]
fn wasm_plugin_has_an_envoy_filter_for_route_and_headers() {
    let mut options = IstioOptions::default();
    options.wasm = WasmSource::Remote { url: "https://r/f.wasm".into(), sha256: Some("ab".into()) };
    let [route, plugin] = plugin_documents(&options);
    // Istio applies the patches in this order: the removal of headers precedes the route.
    let applied: Vec<_> = patches(&route).iter().map(|patch| patch["applyTo"].as_str().unwrap()).collect();
    assert_eq!(applied, ["NETWORK_FILTER", "HTTP_ROUTE"]);
    let spec = &plugin["spec"];
    assert_eq!(spec["url"], "https://r/f.wasm");
    assert_eq!(spec["sha256"], "ab");
    assert_eq!(spec["match"], json!([{"mode": "CLIENT"}]));
    assert_eq!(spec["failStrategy"], "FAIL_RELOAD");
    let configuration = Configuration::from_value(&spec["pluginConfig"]).unwrap();
    assert_eq!(configuration.traffic_splits.len(), 1);
    assert_eq!(configuration.headers_stripped, Some(true));

    let [_, local] = plugin_documents(&IstioOptions::default());
    assert_eq!(local["spec"]["url"], "file:///etc/traffic-split/traffic-split.wasm");
}

#[test]
fn only_changes_other_than_weights_get_the_next_vm() {
    let of = |root: &str, weight: u32| {
        Configuration::from_value(&json!({"trafficSplits": [{
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": "split", "namespace": "shop"},
            "spec": {"service": root, "backends": [{"service": "v1", "weight": weight}, {"service": "v2", "weight": 1}]},
        }]}))
        .unwrap()
    };
    assert_eq!(vm_epoch(&of("web", 1)), vm_epoch(&of("web", 2)));
    let roots: std::collections::BTreeSet<_> = (0..64).map(|n| vm_epoch(&of(&format!("web-{n}"), 1))).collect();
    assert_eq!(roots.len() as u64, VM_EPOCHS, "other objects have other epochs");

    let served = |epoch, generation: u64| {
        let mut options = IstioOptions::default();
        options.vm_epoch = epoch;
        let mut filter = envoy_filter(&of("web", 1), &options);
        filter["metadata"]["generation"] = generation.into();
        filter
    };
    let own = vm_epoch(&of("web", 1));
    for (served, configuration, expected) in [
        (served(None, 1), of("web", 2), own),
        (served(Some(3), 1), of("web", 2), 3),
        (served(Some(3), 1), of("api", 1), 4),
        (served(Some(7), 1), of("api", 1), 0),
        (served(Some(3), 100), of("web", 2), 4),
        (served(Some(4), 101), of("web", 3), 4),
        (json!({}), of("web", 1), own),
    ] {
        assert_eq!(next_vm_epoch(&served, &configuration), expected);
    }
}
