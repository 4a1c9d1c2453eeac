//! Properties of the EnvoyFilter and the WasmPlugin that load the filter in Istio, whichever options are set.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use traffic_split::Configuration;
use traffic_split_envoy::{
    FailurePolicy, InputFile, IstioOptions, LoadOptions, PatchContext, VM_EPOCHS, WasmSource, enabled_for_all_hosts,
    envoy_filter, load, next_vm_epoch, remove_splits, vm_epoch, wasm_plugin,
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
            ["VIRTUAL_HOST", "MERGE"],
            ["VIRTUAL_HOST", "MERGE"],
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

/// Returns the conditions of the patches that enable the filter in virtual hosts.
fn enabled_hosts(filter: &Value, context: &str) -> Vec<Value> {
    let patches = patches(filter).iter().filter(|patch| patch["applyTo"] == "VIRTUAL_HOST");
    let patches = patches.filter(|patch| patch["match"]["context"] == context);
    patches.map(|patch| patch["match"]["routeConfiguration"]["vhost"].clone()).collect()
}

/// Returns a configuration with a split for each of these roots in the namespace `shop`.
fn splits_of(roots: &[String], services: Value, hosts: Value) -> Configuration {
    let split = |root: &String| {
        json!({
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": root, "namespace": "shop"},
            "spec": {"service": root, "backends": [{"service": "leaf", "weight": 1}]},
        })
    };
    let splits: Vec<_> = roots.iter().map(split).collect();
    let value = json!({"trafficSplits": splits, "services": services, "hosts": hosts, "clusterDomain": "corp.example"});
    Configuration::from_value(&value).unwrap()
}

#[test]
fn filter_is_disabled_except_in_virtual_hosts_of_roots() {
    let rendered = envoy_filter(&configuration(), &IstioOptions::default());
    assert_eq!(patch(&rendered, "HTTP_FILTER")["disabled"], true);
    let enabling = json!({"typed_per_filter_config": {"istio-system.traffic-split": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"},
        "is_optional": true,
    }}});
    let values = patches(&rendered).iter().filter(|patch| patch["applyTo"] == "VIRTUAL_HOST");
    assert!(values.map(|patch| &patch["patch"]["value"]).all(|value| *value == enabling), "{rendered}");
    let domain = "httpbin.httpbin.svc.cluster.local";
    assert_eq!(
        enabled_hosts(&rendered, "SIDECAR_OUTBOUND"),
        [json!({"domainName": domain}), json!({"name": format!("{domain}:14001")})]
    );
}

#[test]
fn each_root_enables_its_domain_and_its_ports_once() {
    let services =
        json!({"shop/web": {"ports": [80, 9090]}, "shop/api": {"ports": []}, "shop/leaf": {"ports": [80, 81]}});
    let mut configuration = splits_of(&["web".into(), "api".into()], services, json!({}));
    let mut second = configuration.traffic_splits[0].clone();
    second.metadata.name = "second".into();
    configuration.traffic_splits.push(second);
    // Client namespaces that are excluded do not change the hosts: clients of other namespaces call the same Services.
    configuration.excluded_namespaces = vec!["shop".into()];
    let expected = [
        json!({"domainName": "api.shop.svc.corp.example"}),
        json!({"domainName": "web.shop.svc.corp.example"}),
        json!({"name": "web.shop.svc.corp.example:80"}),
        json!({"name": "web.shop.svc.corp.example:9090"}),
    ];
    let rendered = envoy_filter(&configuration, &IstioOptions::default());
    assert_eq!(enabled_hosts(&rendered, "SIDECAR_OUTBOUND"), expected);
    assert_eq!(enabled_for_all_hosts(&configuration, &IstioOptions::default()), None);
}

#[test]
fn root_without_known_ports_enables_all_hosts_unless_all_services_are_known() {
    let configuration = splits_of(&["web".into()], json!({}), json!({}));
    let mut options = IstioOptions::default();
    let rendered = envoy_filter(&configuration, &options);
    assert_eq!(enabled_hosts(&rendered, "SIDECAR_OUTBOUND"), [Value::Null]);
    assert_eq!(patches(&rendered)[4]["match"], json!({"context": "SIDECAR_OUTBOUND"}));
    let why = "the ports of a root are unknown, so proxies run the filter for all hosts, not only for the roots; to reduce its cost, add \
        the root's Service to the input";
    assert_eq!(enabled_for_all_hosts(&configuration, &options).as_deref(), Some(why));
    options.knows_all_services = true;
    let rendered = envoy_filter(&configuration, &options);
    assert_eq!(enabled_hosts(&rendered, "SIDECAR_OUTBOUND"), [json!({"domainName": "web.shop.svc.corp.example"})]);
    assert_eq!(enabled_for_all_hosts(&configuration, &options), None);
}

#[test]
fn more_than_200_names_and_ports_enable_all_hosts() {
    let roots: Vec<_> = (0..101).map(|number| format!("web-{number}")).collect();
    let services = |count: usize| -> Value {
        roots[..count]
            .iter()
            .map(|root| (format!("shop/{root}"), json!({"ports": [80]})))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let options = IstioOptions::default();
    let at_limit = splits_of(&roots[..100], services(100), json!({}));
    assert_eq!(enabled_hosts(&envoy_filter(&at_limit, &options), "SIDECAR_OUTBOUND").len(), 200);
    assert_eq!(enabled_for_all_hosts(&at_limit, &options), None);
    let above = splits_of(&roots, services(101), json!({}));
    let rendered = envoy_filter(&above, &options);
    assert_eq!(enabled_hosts(&rendered, "SIDECAR_OUTBOUND"), [Value::Null]);
    // The listener is the same, so connections stay.
    assert_eq!(patch(&rendered, "HTTP_FILTER"), patch(&envoy_filter(&at_limit, &options), "HTTP_FILTER"));
    let why = "the roots have more than 200 names and ports, so proxies run the filter for all hosts, not only for the roots; to reduce its \
        cost, remove splits, or ports of their roots";
    assert_eq!(enabled_for_all_hosts(&above, &options).as_deref(), Some(why));
}

#[test]
fn names_in_hosts_enable_their_virtual_hosts_and_those_of_wildcards() {
    let hosts = json!({"Shop.example.com": "shop/web", "other.example.org": "shop/no-root"});
    let configuration = splits_of(&["web".into()], json!({"shop/web": {"ports": [80]}}), hosts);
    let mut options = IstioOptions::default();
    options.context = PatchContext::Both;
    let rendered = envoy_filter(&configuration, &options);
    let names = ["*", "*.com", "*.example.com", "shop.example.com"].map(|name| json!({"domainName": name}));
    assert_eq!(enabled_hosts(&rendered, "GATEWAY"), names);
    let own = [json!({"domainName": "web.shop.svc.corp.example"}), json!({"name": "web.shop.svc.corp.example:80"})];
    assert_eq!(enabled_hosts(&rendered, "SIDECAR_OUTBOUND"), [&names[..], &own[..]].concat());
}

#[test]
fn patches_and_the_largest_configuration_fit_into_an_object_of_kubernetes() {
    const MAX_OBJECT_BYTES: usize = 1_572_864;
    const MAX_CONFIGURATION_BYTES: usize = 1_000_000;
    let root = |number: usize| format!("{number:0>63}").replace('0', "a");
    let roots: Vec<_> = (1..=100).map(root).collect();
    let services: serde_json::Map<_, _> =
        roots.iter().map(|root| (format!("shop/{root}"), json!({"ports": [65535]}))).collect();
    let mut options = IstioOptions::default();
    options.context = PatchContext::Both;
    let mut configuration = splits_of(&roots, services.into(), json!({}));
    for split in &mut configuration.traffic_splits {
        split.metadata.namespace = "n".repeat(63);
    }
    options.knows_all_services = true;
    let mut rendered = envoy_filter(&configuration, &options);
    rendered["spec"]["configPatches"].as_array_mut().unwrap().retain(|patch| patch["applyTo"] != "EXTENSION_CONFIG");
    let bytes = rendered.to_string().len();
    assert!(bytes + MAX_CONFIGURATION_BYTES < MAX_OBJECT_BYTES, "{bytes}");
}

#[test]
fn removed_splits_enable_no_host() {
    let mut filter = envoy_filter(&configuration(), &IstioOptions::default());
    assert!(remove_splits(&mut filter));
    assert_eq!(enabled_hosts(&filter, "SIDECAR_OUTBOUND"), [Value::Null; 0]);
    assert_eq!(patches(&filter).len(), 4);
    assert_eq!(plugin_configuration(&filter).traffic_splits, []);
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
    let sidecars = contexts.iter().take_while(|context| **context == "SIDECAR_OUTBOUND").count();
    assert!(contexts[sidecars..].iter().all(|context| *context == "GATEWAY"), "{contexts:?}");
    assert_eq!(patches(&both)[sidecars..], patches(&gateway)[..]);
    let values = |patches: &[Value]| patches.iter().map(|patch| patch["patch"].clone()).collect::<Vec<_>>();
    let (sidecars, mut gateways) = (values(&patches(&both)[..4]), values(&patches(&gateway)[..4]));
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
    assert_eq!(patches(&with_port)[..4], patches(&gateway)[..4]);
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
