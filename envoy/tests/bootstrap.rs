//! Properties of every rendered bootstrap for a bare Envoy, whichever options are set.

use regex_lite::Regex;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use traffic_split::Configuration;
use traffic_split_envoy::{BootstrapOptions, InputFile, LoadOptions, Protocol, bootstrap, load};

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

fn guide(file: &str) -> InputFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/guide").join(file);
    InputFile { name: file.into(), content: std::fs::read(path).map_err(|why| why.to_string()) }
}

fn configuration() -> Configuration {
    let files = ["trafficsplit-v1.yaml", "services.yaml"].map(guide);
    load(&files, Some(&guide("config.yaml")), &LoadOptions::default()).unwrap().configuration
}

fn guide_options() -> BootstrapOptions {
    let mut options = BootstrapOptions::default();
    options.endpoints =
        ["httpbin.httpbin=127.0.0.1:10003", "httpbin-v1.httpbin=127.0.0.1:10001", "httpbin-v2.httpbin=127.0.0.1:10002"]
            .map(|text| text.parse().unwrap())
            .into();
    options
}

fn render(configuration: &Configuration, options: &BootstrapOptions) -> Value {
    serde_saphyr::from_str(&bootstrap(configuration, options)).unwrap()
}

fn virtual_hosts(envoy: &Value) -> &Vec<Value> {
    envoy.pointer(&format!("{MANAGER}/route_config/virtual_hosts")).unwrap().as_array().unwrap()
}

fn clusters(envoy: &Value) -> Vec<(&str, &str, String)> {
    let clusters = envoy.pointer("/static_resources/clusters").unwrap().as_array().unwrap();
    let text = |value: &'_ Value, key: &str| value.get(key).unwrap().as_str().unwrap().to_owned();
    clusters
        .iter()
        .map(|cluster| {
            let endpoints = cluster.pointer("/load_assignment/endpoints/0/lb_endpoints").unwrap();
            let addresses: Vec<_> = (endpoints.as_array().unwrap().iter())
                .map(|endpoint| endpoint.pointer("/endpoint/address/socket_address").unwrap())
                .map(|socket| format!("{}:{}", text(socket, "address"), socket["port_value"]))
                .collect();
            (cluster["name"].as_str().unwrap(), cluster["type"].as_str().unwrap(), addresses.join(" "))
        })
        .collect()
}

/// Returns the route for requests with this host that the filter does not split.
fn fall_through<'e>(envoy: &'e Value, host: &str) -> &'e Value {
    let has = |virtual_host: &&Value, host: &str| {
        virtual_host["domains"].as_array().unwrap().iter().any(|domain| domain == host)
    };
    let found = virtual_hosts(envoy).iter().find(|virtual_host| has(virtual_host, host));
    let found = found.or_else(|| virtual_hosts(envoy).iter().find(|virtual_host| has(virtual_host, "*")));
    found.unwrap()["routes"].as_array().unwrap().last().unwrap()
}

#[test]
fn every_virtual_host_begins_with_the_split_route() {
    let mut options = guide_options();
    options.hosts = vec!["example.com=example.com:80".parse().unwrap()];
    let envoy = render(&configuration(), &options);
    assert_eq!(virtual_hosts(&envoy).len(), 5);
    for virtual_host in virtual_hosts(&envoy) {
        let first = &virtual_host["routes"][0];
        assert_eq!(first.pointer("/route/cluster_header").unwrap(), "x-traffic-split-cluster");
        assert_eq!(first.pointer("/match/headers/0/name").unwrap(), "x-traffic-split-cluster");
        assert_eq!(first["request_headers_to_remove"], json!(["x-traffic-split-cluster"]));
    }
}

#[test]
fn filter_is_enabled_only_in_virtual_hosts_of_roots() {
    let mut options = guide_options();
    options.hosts = vec!["example.com=example.com:80".parse().unwrap()];
    let mut configuration = configuration();
    configuration.hosts.insert("shop.example.com".into(), "httpbin/httpbin".into());
    configuration.hosts.insert("v1.example.com".into(), "httpbin/httpbin-v1".into());
    let envoy = render(&configuration, &options);
    assert_eq!(envoy.pointer(&format!("{MANAGER}/http_filters/0/disabled")).unwrap(), true);
    let enabling = json!({"traffic-split": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"},
        "is_optional": true,
    }});
    let enabled = |envoy: &Value| -> Vec<String> {
        let hosts = virtual_hosts(envoy).iter().filter(|host| host.get("typed_per_filter_config") == Some(&enabling));
        hosts.map(|host| host["name"].as_str().unwrap().into()).collect()
    };
    assert_eq!(enabled(&envoy), ["httpbin/httpbin", "hosts of httpbin/httpbin"]);
    // Without a split, any Service may become a root.
    configuration.traffic_splits.clear();
    let all = [
        "httpbin/httpbin",
        "httpbin/httpbin-v1",
        "httpbin/httpbin-v2",
        "hosts of httpbin/httpbin",
        "hosts of httpbin/httpbin-v1",
    ];
    assert_eq!(enabled(&render(&configuration, &options)), all);
}

#[test]
fn configured_headers_are_removed_from_client_requests_before_routing() {
    let mut configuration = configuration();
    configuration.cluster_header = "x-a".into();
    configuration.backend_header = None;
    configuration.mirror_header = "x-b".into();
    configuration.set_cookie_header = "x-c".into();
    let envoy = render(&configuration, &BootstrapOptions::default());
    let mutations = format!("{MANAGER}/early_header_mutation_extensions/0/typed_config/mutations");
    let expected = json!([
        {"remove": "x-a"}, {"remove": "x-traffic-split-backend"}, {"remove": "x-b"}, {"remove": "x-c"}
    ]);
    assert_eq!(envoy.pointer(&mutations).unwrap(), &expected);
    let route = &virtual_hosts(&envoy)[0]["routes"][0];
    assert_eq!(route.pointer("/route/request_mirror_policies/0/cluster_header").unwrap(), "x-b");
}

#[test]
fn response_names_the_backend_only_with_a_backend_header() {
    let keys = |configuration: &Configuration| {
        let envoy = render(configuration, &BootstrapOptions::default());
        let headers = virtual_hosts(&envoy)[0]["routes"][0]["response_headers_to_add"].as_array().unwrap().clone();
        headers.iter().map(|header| header["header"]["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut configuration = configuration();
    assert_eq!(keys(&configuration), ["x-served-by", "set-cookie"]);
    configuration.backend_header = None;
    assert_eq!(keys(&configuration), ["set-cookie"]);
}

#[test]
fn no_idle_timeout_ends_a_stream() {
    let envoy = render(&configuration(), &guide_options());
    assert_eq!(envoy.pointer(&format!("{MANAGER}/stream_idle_timeout")).unwrap(), "0s");
    for virtual_host in virtual_hosts(&envoy) {
        for route in virtual_host["routes"].as_array().unwrap().iter().filter_map(|route| route.get("route")) {
            assert_eq!(route["timeout"], "0s");
            assert_eq!(route.get("idle_timeout"), None);
            assert_eq!(route["max_stream_duration"], json!({"grpc_timeout_header_max": "0s"}));
        }
    }
    let mut options = guide_options();
    options.route.timeout = Some(Duration::from_secs(600));
    let envoy = render(&configuration(), &options);
    assert_eq!(envoy.pointer(&format!("{MANAGER}/stream_idle_timeout")).unwrap(), "0s");
    assert_eq!(virtual_hosts(&envoy)[0].pointer("/routes/0/route/timeout").unwrap(), "600s");
}

#[test]
fn only_websocket_upgrades_are_forwarded() {
    let envoy = render(&configuration(), &guide_options());
    let upgrades = envoy.pointer(&format!("{MANAGER}/upgrade_configs")).unwrap();
    assert_eq!(upgrades, &json!([{"upgrade_type": "websocket"}]));
    let ignored = envoy.pointer(&format!("{MANAGER}/http_protocol_options/ignore_http_11_upgrade")).unwrap();
    let regexes: Vec<_> = (ignored.as_array().unwrap().iter())
        .map(|matcher| matcher.pointer("/safe_regex/regex").unwrap().as_str().unwrap())
        .map(|regex| Regex::new(&format!("^(?:{regex})$")).unwrap())
        .collect();
    let is_ignored = |offer: &str| regexes.iter().any(|regex| regex.is_match(offer));
    for offer in ["", "TLS/1.2", "tls/1.0", "h2c", "foo", "w", "websocke", "websockeT2", "xwebsocket", "webSocket/13"] {
        assert!(is_ignored(offer), "{offer}");
    }
    for offer in ["websocket", "WebSocket", "WEBSOCKET"] {
        assert!(!is_ignored(offer), "{offer}");
    }
}

#[test]
fn http_1_0_is_accepted_only_on_request() {
    let mut options = guide_options();
    let path = format!("{MANAGER}/http_protocol_options/accept_http_10");
    assert_eq!(render(&configuration(), &options).pointer(&path), None);
    options.accept_http_10 = true;
    assert_eq!(render(&configuration(), &options).pointer(&path).unwrap(), true);
}

#[test]
fn requests_and_responses_stay_as_sent() {
    let envoy = render(&configuration(), &guide_options());
    let manager = envoy.pointer(MANAGER).unwrap().as_object().unwrap();
    assert_eq!(manager["server_header_transformation"], "PASS_THROUGH");
    assert_eq!(manager["proxy_100_continue"], true);
    // Envoy's defaults leave paths and hosts unchanged.
    for setting in
        ["normalize_path", "merge_slashes", "strip_trailing_host_dot", "use_remote_address", "request_timeout"]
    {
        assert_eq!(manager.get(setting), None, "{setting}");
    }
}

#[test]
fn clusters_limit_no_client() {
    let mut options = guide_options();
    options.hosts = vec!["example.com=example.com:80".parse().unwrap()];
    let envoy = render(&configuration(), &options);
    let clusters = envoy.pointer("/static_resources/clusters").unwrap().as_array().unwrap();
    assert_eq!(clusters.len(), 4);
    for cluster in clusters {
        let limits = json!({
            "max_connections": u32::MAX, "max_pending_requests": u32::MAX, "max_requests": u32::MAX, "max_retries": u32::MAX
        });
        assert_eq!(cluster.pointer("/circuit_breakers/thresholds").unwrap(), &json!([limits]));
        assert_eq!(cluster["connect_timeout"], "10s");
        assert_eq!(cluster.pointer("/upstream_connection_options/tcp_keepalive/keepalive_time").unwrap(), 300);
    }
}

#[test]
fn root_serves_while_the_filter_has_no_configuration() {
    let envoy = render(&configuration(), &BootstrapOptions::default());
    let discovery = envoy.pointer(&format!("{MANAGER}/http_filters/0/config_discovery")).unwrap();
    assert_eq!(discovery["apply_default_config_without_warming"], true);
    assert!(discovery["type_urls"].as_array().unwrap().contains(&discovery["default_config"]["@type"]));
    assert_eq!(
        discovery.pointer("/config_source/path_config_source/watched_directory/path").unwrap(),
        "/etc/traffic-split"
    );
}

#[test]
fn services_that_no_split_names_have_a_cluster() {
    let envoy = render(&configuration(), &guide_options());
    assert_eq!(
        clusters(&envoy),
        [
            ("httpbin/httpbin|14001", "STATIC", "127.0.0.1:10003".to_owned()),
            ("httpbin/httpbin-v1|14001", "STATIC", "127.0.0.1:10001".to_owned()),
            ("httpbin/httpbin-v2|14001", "STATIC", "127.0.0.1:10002".to_owned()),
        ]
    );
}

#[test]
fn services_without_endpoints_use_dns() {
    let mut configuration = configuration();
    configuration.cluster_domain = "example.org".into();
    let mut options = BootstrapOptions::default();
    options.endpoints = vec!["httpbin-v1.httpbin=127.0.0.1:1".parse().unwrap()];
    options.endpoints.push("httpbin-v1.httpbin:14001=[::1]:2".parse().unwrap());
    options.endpoints.push("httpbin-v1.httpbin:80=127.0.0.1:3".parse().unwrap());
    let envoy = render(&configuration, &options);
    let clusters = clusters(&envoy);
    assert_eq!(
        clusters[0],
        ("httpbin/httpbin|14001", "STRICT_DNS", "httpbin.httpbin.svc.example.org:14001".to_owned())
    );
    assert_eq!(clusters[1], ("httpbin/httpbin-v1|14001", "STATIC", "127.0.0.1:1 ::1:2".to_owned()));
}

#[test]
fn cluster_uses_the_services_protocol_else_the_clients() {
    let mut options = guide_options();
    options.hosts = vec!["example.com=example.com:80".parse().unwrap()];
    options.protocols.insert("httpbin/httpbin".into(), [(14001, Protocol::Http1)].into());
    options.protocols.insert("httpbin/httpbin-v1".into(), [(14001, Protocol::Http2)].into());
    options.protocols.insert("httpbin/httpbin-v2".into(), [(80, Protocol::Http2)].into());
    let envoy = render(&configuration(), &options);
    let clusters = envoy.pointer("/static_resources/clusters").unwrap().as_array().unwrap();
    let keys = |cluster: &Value| {
        let extension = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let options = cluster.pointer(extension).and_then(Value::as_object);
        options.into_iter().flat_map(|options| options.keys()).find(|key| *key != "@type").cloned()
    };
    let found: Vec<_> = clusters.iter().map(keys).collect();
    let found: Vec<_> = found.iter().map(Option::as_deref).collect();
    let as_the_client = Some("use_downstream_protocol_config");
    assert_eq!(found, [None, Some("explicit_http_config"), as_the_client, as_the_client]);
}

#[test]
fn explicit_cluster_takes_precedence_over_the_template() {
    let mut configuration = configuration();
    configuration.services.get_mut("httpbin/httpbin-v1").unwrap().cluster = Some("canary".into());
    let envoy = render(&configuration, &BootstrapOptions::default());
    assert_eq!(clusters(&envoy)[1].0, "canary");
}

#[test]
fn service_has_all_its_names_and_the_bare_name_in_its_namespace() {
    let mut configuration = configuration();
    configuration.hosts.insert("shop.example.com".into(), "httpbin/httpbin".into());
    let mut options = BootstrapOptions::default();
    let root = "httpbin/httpbin|14001";
    let envoy = render(&configuration, &options);
    for host in [
        "httpbin.httpbin",
        "httpbin.httpbin.",
        "httpbin.httpbin.svc",
        "httpbin.httpbin.svc.cluster",
        "httpbin.httpbin.svc.cluster.local",
        "httpbin.httpbin.svc.cluster.local.",
        "shop.example.com",
    ] {
        assert_eq!(fall_through(&envoy, host).pointer("/route/cluster").unwrap(), root, "{host}");
    }
    assert_eq!(fall_through(&envoy, "httpbin")["direct_response"]["status"], 404);
    options.namespace = "httpbin".into();
    assert_eq!(fall_through(&render(&configuration, &options), "httpbin")["route"]["cluster"], root);
    // The namespace of the configuration takes precedence over the node's.
    configuration.namespace = Some("curl".into());
    let envoy = render(&configuration, &options);
    assert_eq!(fall_through(&envoy, "httpbin")["direct_response"]["status"], 404);
    assert_eq!(envoy.pointer("/node/metadata/NAMESPACE").unwrap(), "curl");
}

#[test]
fn other_hosts_go_to_their_address() {
    let mut options = BootstrapOptions::default();
    options.hosts = vec!["Example.com=10.0.0.1:80".parse().unwrap(), "example.com=10.0.0.2:80".parse().unwrap()];
    let envoy = render(&configuration(), &options);
    assert_eq!(fall_through(&envoy, "example.com")["route"]["cluster"], "host|example.com");
    assert!(clusters(&envoy).contains(&("host|example.com", "STATIC", "10.0.0.1:80 10.0.0.2:80".to_owned())));
}

#[test]
fn further_ports_of_a_service_are_routed_by_the_host_header() {
    let config = b"services: {httpbin/httpbin: {ports: [80, 14001]}, httpbin/httpbin-v1: {}}".to_vec();
    let config = InputFile { name: "config.yaml".into(), content: Ok(config) };
    let configuration =
        load(&[guide("trafficsplit-v1.yaml")], Some(&config), &LoadOptions::default()).unwrap().configuration;
    let envoy = render(&configuration, &BootstrapOptions::default());
    let routes = virtual_hosts(&envoy)[0]["routes"].as_array().unwrap();
    assert_eq!(routes[1].pointer("/match/headers/0/string_match/suffix").unwrap(), ":80");
    assert_eq!(routes[1]["route"]["cluster"], "outbound|80||httpbin.httpbin.svc.cluster.local");
    assert_eq!(routes[2]["route"]["cluster"], "outbound|14001||httpbin.httpbin.svc.cluster.local");
    let names: Vec<_> = clusters(&envoy).into_iter().map(|(name, ..)| name.to_owned()).collect();
    assert_eq!(
        names,
        [
            "outbound|80||httpbin.httpbin.svc.cluster.local",
            "outbound|14001||httpbin.httpbin.svc.cluster.local",
            "outbound|80||httpbin-v1.httpbin.svc.cluster.local",
            "outbound|14001||httpbin-v1.httpbin.svc.cluster.local",
        ]
    );
}
