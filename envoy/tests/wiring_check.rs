//! The check of the filter's wiring: rendered configurations have no finding, and each mistake has its message.

use serde_json::{Value, json};
use std::path::Path;
use traffic_split::Configuration;
use traffic_split_envoy::{
    BootstrapOptions, Diagnostic, EcdsOptions, EnvoyConfiguration, IstioOptions, PatchContext, bootstrap,
    check_watched_file, check_wiring, ecds, envoy_filter,
};

/// Where the parts of the wiring are in the rendered bootstrap.
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";
const DISCOVERY: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/config_discovery";
const HOST: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
const ROUTE: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0";

fn configuration() -> Configuration {
    let split = json!({
        "apiVersion": "split.smi-spec.io/v1alpha2",
        "kind": "TrafficSplit",
        "metadata": {"name": "split", "namespace": "shop", "annotations": {
            "traffic-split/mirror": "web-v2=10", "traffic-split/sticky-cookie": "user",
        }},
        "spec": {"service": "web", "backends": [{"service": "web-v1", "weight": 9}, {"service": "web-v2", "weight": 1}]},
    });
    let services = json!({
        "shop/web": {"ports": [80]}, "shop/web-v1": {"ports": [80]}, "shop/web-v2": {"ports": [80]}, "shop/web-v3": {"ports": [80]},
    });
    let value = json!({
        "trafficSplits": [split], "services": services, "hosts": {"shop.example.com": {"service": "shop/web", "port": 80}},
        "backendHeader": "x-traffic-split-backend",
    });
    Configuration::from_value(&value).unwrap()
}

fn parse(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

fn rendered() -> Value {
    parse(&bootstrap(&configuration(), &BootstrapOptions::default()))
}

/// Returns the extension configuration that Envoy loads, as in its config dump.
fn extension() -> Value {
    parse(&ecds(&configuration(), &EcdsOptions::default()).text)["resources"][0].clone()
}

/// Returns the config dump of an Envoy with this bootstrap.
fn dump(bootstrap: &Value, extension: Option<Value>) -> Value {
    let resources = &bootstrap["static_resources"];
    let wrap = |key: &str, inner: &str| -> Vec<Value> {
        resources[key].as_array().unwrap().iter().map(|value| json!({inner: value})).collect()
    };
    let extensions: Vec<_> =
        extension.into_iter().map(|value| json!({"version_info": "1", "ecds_filter": value})).collect();
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": bootstrap},
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": wrap("clusters", "cluster")},
        {"@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump", "ecds_filters": extensions},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "static_listeners": wrap("listeners", "listener")},
    ]})
}

#[track_caller]
fn check(value: Value, configuration: Option<&Configuration>) -> Vec<String> {
    texts(check_wiring(&EnvoyConfiguration::from_value(value).unwrap(), configuration).diagnostics)
}

fn texts(diagnostics: Vec<Diagnostic>) -> Vec<String> {
    diagnostics.into_iter().map(|diagnostic| format!("{}: {diagnostic}", diagnostic.severity)).collect()
}

/// Asserts the findings after a change of the part of the rendered bootstrap at this pointer. Each must be the same in a bootstrap
/// and in a config dump, with and without the splits.
#[track_caller]
fn finds(pointer: &str, change: impl FnOnce(&mut Value), findings: &[&str]) {
    let mut value = rendered();
    change(value.pointer_mut(pointer).unwrap());
    assert_eq!(check(value.clone(), Some(&configuration())), findings);
    let dump = dump(&value, Some(extension()));
    assert_eq!(check(dump.clone(), Some(&configuration())), findings, "in the config dump");
    assert_eq!(check(dump, None), findings, "with the loaded splits");
}

fn remove(key: &'static str) -> impl FnOnce(&mut Value) {
    move |value| assert!(value.as_object_mut().unwrap().remove(key).is_some(), "{key}")
}

fn set(key: &'static str, new: Value) -> impl FnOnce(&mut Value) {
    move |value| value[key] = new
}

fn push_first(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap().insert(0, item);
}

#[test]
fn rendered_bootstrap_has_no_finding() {
    assert_eq!(check(rendered(), None), [""; 0]);
    assert_eq!(check(rendered(), Some(&configuration())), [""; 0]);
    assert_eq!(check(dump(&rendered(), Some(extension())), None), [""; 0]);
    assert_eq!(check(dump(&rendered(), Some(extension())), Some(&configuration())), [""; 0]);
}

#[test]
fn rendered_envoy_filter_has_no_finding() {
    for context in [PatchContext::Sidecar, PatchContext::Gateway] {
        let envoy = istio_dump(context);
        assert_eq!(check(envoy.clone(), None), [""; 0], "{context:?}");
        assert_eq!(check(envoy, Some(&configuration())), [""; 0], "{context:?}");
    }
}

#[test]
fn missing_or_misplaced_route_is_found() {
    finds(
        HOST,
        |host| drop(host["routes"].as_array_mut().unwrap().remove(0)),
        &[
            "error: listener outbound, virtual host shop/web: routes: the route of split requests is missing, so the root Services serve \
           every request without an error; insert the route of docs/bare-envoy.md, step 4 c as the first route",
        ],
    );
    finds(
        HOST,
        |host| host["routes"].as_array_mut().unwrap().reverse(),
        &[
            "error: listener outbound, virtual host shop/web: routes[1]: the route of split requests follows routes[0], which matches every \
           request, so the root Services serve every request without an error; make it the first route",
        ],
    );
    finds(
        HOST,
        |host| push_first(&mut host["routes"], json!({"match": {"prefix": "/a"}, "route": {"cluster": "a"}})),
        &[
            "warning: listener outbound, virtual host shop/web: routes[1]: the route of split requests is not the first, so requests that \
           an earlier route matches are not split; make it the first route",
        ],
    );
    finds(
        MANAGER,
        remove("route_config"),
        &[
            "error: listener outbound: route_config: there are no routes; add a `route_config` with the route of docs/bare-envoy.md, step \
           4 c",
        ],
    );
}

#[test]
fn route_for_another_header_is_found() {
    let other_cluster_header = "error: listener outbound, virtual host shop/web: routes[0].route.cluster_header: reads the header \
        `x-other`, but the filter writes `x-traffic-split-cluster`, so split requests get the status 503; write `x-traffic-split-cluster`";
    let other_match = "error: listener outbound, virtual host shop/web: routes[0].match.headers: matches the header `x-other`, but the \
        filter writes `x-traffic-split-cluster`, so the root Services serve every request without an error; write `x-traffic-split-cluster`";
    finds(ROUTE, |route| route["route"]["cluster_header"] = "x-other".into(), &[other_cluster_header]);
    finds(ROUTE, |route| route["match"]["headers"][0]["name"] = "x-other".into(), &[other_match]);
    // A route without the usual name.
    let both = |route: &mut Value| {
        route["match"]["headers"][0]["name"] = "x-other".into();
        route["route"]["cluster_header"] = "x-other".into();
        route["name"] = "splits".into();
    };
    finds(ROUTE, both, &[other_match, other_cluster_header]);
    finds(
        ROUTE,
        |route| {
            route["route"] =
                json!({"cluster": "a", "request_mirror_policies": route["route"]["request_mirror_policies"]})
        },
        &[
            "error: listener outbound, virtual host shop/web: routes[0].route.cluster_header: is missing, so the weights have no effect; set \
           it to `x-traffic-split-cluster`",
        ],
    );
}

#[test]
fn route_that_does_not_match_exactly_the_split_requests_is_found() {
    finds(
        ROUTE,
        set("match", json!({"prefix": "/"})),
        &[
            "error: listener outbound, virtual host shop/web: routes[0].match.headers: matches requests without the header \
           `x-traffic-split-cluster`, which then get the status 503; add `headers: [{name: x-traffic-split-cluster, present_match: true}]`",
        ],
    );
    finds(
        ROUTE,
        |route| {
            route["match"]["headers"][0] = json!({"name": "x-traffic-split-cluster", "string_match": {"exact": "a"}})
        },
        &["error: listener outbound, virtual host shop/web: routes[0].match.headers: does not match every value of \
           `x-traffic-split-cluster`, so other split requests go to the root; write `present_match: true`"],
    );
    finds(
        ROUTE,
        |route| push_first(&mut route["match"]["headers"], json!({"name": "x-user", "present_match": true})),
        &[
            "warning: listener outbound, virtual host shop/web: routes[0].match: does not match every split request, so the others go to \
           the root; match only the header and `prefix: /`",
        ],
    );
    finds(
        ROUTE,
        |route| route["match"]["prefix"] = "/api".into(),
        &[
            "warning: listener outbound, virtual host shop/web: routes[0].match: does not match every path, so other split requests go to \
           the root; write `prefix: /`",
        ],
    );
}

#[test]
fn wrong_headers_of_the_route_are_found() {
    finds(
        ROUTE,
        remove("request_headers_to_remove"),
        &[
            "error: listener outbound, virtual host shop/web: routes[0].request_headers_to_remove: lacks `x-traffic-split-cluster`, so the \
           backend receives the header, and a proxy of the backend may route by it; add `x-traffic-split-cluster`",
        ],
    );
    finds(
        ROUTE,
        |route| push_first(&mut route["request_headers_to_remove"], "x-traffic-split-mirror".into()),
        &[
            "error: listener outbound, virtual host shop/web: routes[0].request_headers_to_remove: removes `x-traffic-split-mirror` before \
           Envoy reads it, so no request is mirrored; remove it from the list",
        ],
    );
    finds(
        ROUTE,
        |route| push_first(&mut route["request_headers_to_remove"], "x-traffic-split-set-cookie".into()),
        &[
            "error: listener outbound, virtual host shop/web: routes[0].request_headers_to_remove: removes `x-traffic-split-set-cookie` \
           before Envoy reads it, so no sticky cookie is set; remove it from the list",
        ],
    );
    finds(
        ROUTE,
        remove("response_headers_to_add"),
        &[
            "error: listener outbound, virtual host shop/web: routes[0].response_headers_to_add: lacks the header that the annotation \
           `traffic-split/sticky-cookie` needs, so no client gets a cookie; add `header: {key: set-cookie, value: \
           \"%REQ(x-traffic-split-set-cookie)%\"}`",
        ],
    );
    finds(
        ROUTE,
        |route| remove("request_mirror_policies")(&mut route["route"]),
        &[
            "error: listener outbound, virtual host shop/web: routes[0].route.request_mirror_policies: lacks the policy that the annotation \
           `traffic-split/mirror` needs, so no request is mirrored; add `cluster_header: x-traffic-split-mirror`",
        ],
    );
}

#[test]
fn headers_that_clients_can_forge_are_found() {
    finds(
        MANAGER,
        remove("early_header_mutation_extensions"),
        &[
            "error: listener outbound: early_header_mutation_extensions: the filter's headers are not removed from client requests, so any \
           client can choose any cluster; add the extension of docs/bare-envoy.md, step 4 a",
        ],
    );
    for (index, header, effect) in [
        (0, "x-traffic-split-cluster", "any client can choose any cluster"),
        (1, "x-traffic-split-backend", "any client can write the name of the picked backend"),
        (2, "x-traffic-split-mirror", "any client can send copies of its requests to any cluster"),
        (3, "x-traffic-split-set-cookie", "any client can set cookies of the response"),
    ] {
        let message = format!(
            "error: listener outbound: early_header_mutation_extensions: the header `{header}` is not removed from client requests, so \
             {effect}; add `- remove: {header}` to `mutations`"
        );
        let mutation = format!("{MANAGER}/early_header_mutation_extensions/0/typed_config/mutations/{index}");
        finds(&mutation, set("remove", "x-other".into()), &[&message]);
    }
}

#[test]
fn missing_misplaced_or_disabled_filter_is_found() {
    let missing = "error: listener outbound: http_filters: the filter is missing, so the root Services serve every request without an \
        error; add the filter `traffic-split` before the router";
    let mut value = rendered();
    value.pointer_mut(MANAGER).unwrap()["http_filters"].as_array_mut().unwrap().remove(0);
    assert_eq!(check(value, Some(&configuration())), [missing]);
    finds(
        MANAGER,
        |manager| manager["http_filters"].as_array_mut().unwrap().reverse(),
        &[
            "error: listener outbound: http_filters[traffic-split]: the filter follows the router, so Envoy refuses the listener; move the \
           filter before the router",
        ],
    );
    finds(
        MANAGER,
        |manager| drop(manager["http_filters"].as_array_mut().unwrap().pop()),
        &[
            "error: listener outbound: http_filters: the router is missing, so Envoy refuses the listener; add `envoy.filters.http.router` \
           as the last filter",
        ],
    );
    finds(
        MANAGER,
        |manager| {
            let filter = manager["http_filters"][0].clone();
            push_first(&mut manager["http_filters"], filter);
        },
        &[
            "warning: listener outbound: http_filters: the filter is duplicated, so each request is split and counted twice; remove one",
        ],
    );
    let message = "error: listener outbound, virtual host shop/web: typed_per_filter_config: the filter is disabled, so the root Services \
        serve every request without an error; enable `traffic-split` as in docs/bare-envoy.md, step 4 b";
    let disabled = json!({"traffic-split": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true,
    }});
    finds(HOST, set("typed_per_filter_config", disabled), &[message]);
    finds(HOST, remove("typed_per_filter_config"), &[message]);
}

#[test]
fn routes_that_envoy_refuses_are_found() {
    let message = "error: listener outbound, virtual host shop/web: typed_per_filter_config[traffic-split]: lacks `is_optional: true`, so \
        Envoy refuses the routes; set it to `true`";
    let config = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}});
    finds(HOST, set("typed_per_filter_config", json!({"traffic-split": config})), &[message]);
}

#[test]
fn filter_may_be_enabled_everywhere_or_only_where_a_split_needs_it() {
    let hosts = format!("{MANAGER}/route_config/virtual_hosts");
    let is_root = |host: &Value| {
        let name = host["name"].as_str().unwrap();
        name == "shop/web" || name.starts_with("hosts of shop/web,")
    };
    let mut value = rendered();
    for host in value.pointer_mut(&hosts).unwrap().as_array_mut().unwrap() {
        assert_eq!(host.get("typed_per_filter_config").is_some(), is_root(host), "{host}");
        // Other virtual hosts need no route.
        if !is_root(host) {
            host["routes"].as_array_mut().unwrap().remove(0);
        }
    }
    assert_eq!(check(value.clone(), Some(&configuration())), [""; 0]);
    assert_eq!(check(value, None), [""; 0]);
    let mut value = rendered();
    remove("disabled")(value.pointer_mut(FILTER).unwrap());
    for host in value.pointer_mut(&hosts).unwrap().as_array_mut().unwrap() {
        drop(host.as_object_mut().unwrap().remove("typed_per_filter_config"));
    }
    assert_eq!(check(value, Some(&configuration())), [""; 0]);
}

#[test]
fn filter_that_no_virtual_host_enables_is_found_without_the_splits() {
    let mut value = rendered();
    let hosts = format!("{MANAGER}/route_config/virtual_hosts");
    for host in value.pointer_mut(&hosts).unwrap().as_array_mut().unwrap() {
        drop(host.as_object_mut().unwrap().remove("typed_per_filter_config"));
    }
    let message = "error: listener outbound: virtual_hosts: no virtual host enables the filter, so the root Services serve every request \
        without an error; enable the filter in each virtual host that serves a root, as in docs/bare-envoy.md, step 4 b";
    assert_eq!(check(value.clone(), None), [message]);
    // The loaded configuration has no split, so no virtual host needs the filter.
    let empty = parse(&ecds(&Configuration::default(), &EcdsOptions::default()).text)["resources"][0].clone();
    assert_eq!(check(dump(&value, Some(empty)), None), [""; 0]);
}

#[test]
fn filter_under_a_wrong_name_is_found() {
    let message = "error: listener outbound: http_filters[my-split]: the filter has the name `my-split`, but the resource in its file is \
        `traffic-split`, so Envoy rejects the file and the root Services serve every request without an error; rename the filter to \
        `traffic-split`";
    let mut value = rendered();
    value.pointer_mut(FILTER).unwrap()["name"] = "my-split".into();
    assert_eq!(check(value.clone(), None), [message]);
    assert_eq!(check(value.clone(), Some(&configuration())), [message]);
    let rejected = "error: listener outbound: http_filters[my-split]: Envoy has accepted no configuration of the filter, so the root \
        Services serve every request without an error; read `extension_config_discovery` in Envoy's statistics, and Envoy's log";
    assert_eq!(check(dump(&value, None), Some(&configuration())), [message, rejected]);
}

#[test]
fn mistakes_of_config_discovery_are_found() {
    finds(
        DISCOVERY,
        |discovery| drop(discovery["type_urls"].as_array_mut().unwrap().remove(0)),
        &[
            "error: listener outbound: http_filters[traffic-split].config_discovery.type_urls: lacks the type of the filter, so Envoy rejects \
           its configuration and the root Services serve every request without an error; add \
           `type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm`",
        ],
    );
    finds(
        DISCOVERY,
        |discovery| drop(discovery["type_urls"].as_array_mut().unwrap().pop()),
        &[
            "error: listener outbound: http_filters[traffic-split].config_discovery.type_urls: lacks the type of `default_config`, so Envoy \
           refuses the listener; add `type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`",
        ],
    );
    finds(
        DISCOVERY,
        remove("default_config"),
        &[
            "error: listener outbound: http_filters[traffic-split].config_discovery.default_config: is missing, so every request gets the \
           status 500 while the filter's configuration is missing or invalid; add `\"@type\": \
           type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`",
        ],
    );
    finds(
        DISCOVERY,
        remove("apply_default_config_without_warming"),
        &[
            "warning: listener outbound: http_filters[traffic-split].config_discovery.apply_default_config_without_warming: is not `true`, so \
           the listener does not start before the filter's configuration arrives, or for 15 s without one; set it to `true`",
        ],
    );
    let watched = "listener outbound: http_filters[traffic-split].config_discovery.config_source.path_config_source.watched_directory";
    finds(
        DISCOVERY,
        |discovery| remove("watched_directory")(&mut discovery["config_source"]["path_config_source"]),
        &[&format!(
            "warning: {watched}: is missing, so Envoy misses changes of a mounted ConfigMap, which replace a symbolic link; set it to \
             `{{path: /etc/traffic-split}}`"
        )],
    );
    finds(
        DISCOVERY,
        |discovery| discovery["config_source"]["path_config_source"]["watched_directory"]["path"] = "/etc".into(),
        &[&format!(
            "error: {watched}: is `/etc`, but the file is in `/etc/traffic-split`, so Envoy misses every change of the file; set it to \
             `{{path: /etc/traffic-split}}`"
        )],
    );
    let mut value = rendered();
    remove("config_discovery")(value.pointer_mut(FILTER).unwrap());
    let message = "error: listener outbound: http_filters[traffic-split]: the filter has no configuration, so the root Services serve every \
        request without an error; add `config_discovery`";
    assert_eq!(check(value, Some(&configuration())), [message]);
}

#[test]
fn mistakes_of_the_filters_configuration_are_found() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut extension = extension();
        change(&mut extension["typed_config"]["config"]);
        check(dump(&rendered(), Some(extension)), Some(&configuration()))
    };
    let closed = "error: listener outbound: http_filters[traffic-split]: failure_policy: is `FAIL_CLOSED`, so a worker whose VM fails \
        answers every request with 503 until Envoy restarts; use `FAIL_RELOAD`";
    assert_eq!(with(&|config| config["failure_policy"] = "FAIL_CLOSED".into()), [closed]);
    // FAIL_CLOSED is Envoy's default.
    assert_eq!(with(&|config| remove("failure_policy")(config)), [closed]);
    assert_eq!(with(&|config| config["failure_policy"] = "FAIL_OPEN".into()), [""; 0]);
    assert_eq!(
        with(&|config| config["configuration"]["value"] = "{}}".into()),
        [
            "error: listener outbound: http_filters[traffic-split]: configuration: the filter refuses this configuration: configuration: is \
          not valid JSON: trailing characters at line 1 column 3; run `traffic-split check` on its objects"
        ],
    );
    assert_eq!(
        with(&|config| remove("configuration")(config)),
        [
            "error: listener outbound: http_filters[traffic-split]: configuration: is missing, so the root Services serve every request \
          without an error; render it with `traffic-split render ecds`"
        ],
    );
    assert_eq!(
        with(&|config| config["configuration"]["value"] = r#"{"clusterHeader": "x-other"}"#.into()),
        [
            "error: listener outbound: http_filters[traffic-split]: configuration: clusterHeader is `x-other`, but `x-traffic-split-cluster` \
          in the given configuration; pass the same --config to `check` and `render`"
        ],
    );
    let mut value = rendered();
    let filter = value.pointer_mut(FILTER).unwrap();
    *filter = json!({"name": "envoy.filters.http.wasm", "typed_config": extension()["typed_config"]});
    let inline = "warning: listener outbound: http_filters[envoy.filters.http.wasm].typed_config: contains the filter's configuration, so \
        each change of a weight replaces the listener and drains its connections; use `config_discovery`";
    assert_eq!(check(value, None), [inline]);
}

#[test]
fn missing_clusters_and_unserved_roots_are_found() {
    let mut value = rendered();
    let is_v2 = |cluster: &Value| cluster["name"].as_str().unwrap().contains("web-v2");
    value["static_resources"]["clusters"].as_array_mut().unwrap().retain(|cluster| !is_v2(cluster));
    let missing = "error: TrafficSplit shop/split: spec.backends[1].service: Envoy has no cluster \
        `outbound|80||web-v2.shop.svc.cluster.local`, so the requests of this backend get the status 503; add the cluster, or set `cluster` \
        in --config; did you mean `outbound|80||web-v1.shop.svc.cluster.local`?";
    assert_eq!(check(value.clone(), Some(&configuration())), [missing]);
    assert_eq!(check(dump(&value, Some(extension())), None), [missing]);
    // CDS may add the cluster.
    value["dynamic_resources"] = json!({"cds_config": {"ads": {}}});
    let unknown = "warning: dynamic_resources.cds_config: the clusters come from CDS, which a bootstrap does not contain, so they are not \
        checked; pass a config dump of a running Envoy";
    assert_eq!(check(value, Some(&configuration())), [unknown]);

    let mut value = rendered();
    let hosts = &mut value.pointer_mut(MANAGER).unwrap()["route_config"]["virtual_hosts"];
    hosts.as_array_mut().unwrap().retain(|host| host["name"] == "shop/web-v1");
    let unserved = "warning: TrafficSplit shop/split: spec.service: no virtual host serves `web.shop.svc.cluster.local`, so Envoy answers \
        404; add a virtual host for the root";
    assert_eq!(check(value.clone(), Some(&configuration())), [unserved]);
    // A loaded configuration may also contain splits for the clients of other Envoys.
    assert_eq!(check(dump(&value, Some(extension())), None), [""; 0]);
}

#[test]
fn envoy_without_the_filter_is_reported_once() {
    let mut value = rendered();
    *value.pointer_mut(MANAGER).unwrap() = json!({
        "@type": value.pointer(MANAGER).unwrap()["@type"], "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"]}]},
    });
    let second = value["static_resources"]["listeners"][0].clone();
    push_first(&mut value["static_resources"]["listeners"], second);
    let message = "error: no HTTP connection manager has the filter or the route of split requests, so the root Services serve every request \
        without an error; add the parts of docs/bare-envoy.md, step 4";
    assert_eq!(check(value, None), [message]);
    let empty = "error: no listener has an HTTP connection manager, so no request is split; add one with the parts of docs/bare-envoy.md, \
        step 4";
    assert_eq!(check(json!({"static_resources": {}}), None), [empty]);
    let lds =
        "error: the listeners come from LDS, which a bootstrap does not contain; pass Envoy's /config_dump instead";
    assert_eq!(check(json!({"dynamic_resources": {"lds_config": {}}}), None), [lds]);
}

#[test]
fn splits_that_are_unknown_leave_a_warning_for_hosts_without_the_route() {
    let mut value = rendered();
    // The filter is disabled in the virtual host of `shop/web-v1`, so that virtual host serves no root.
    for index in [0, 1] {
        let host = &mut value.pointer_mut(MANAGER).unwrap()["route_config"]["virtual_hosts"][index];
        host["routes"].as_array_mut().unwrap().remove(0);
    }
    let warning = "warning: listener outbound, virtual host shop/web: routes: the route of split requests is \
        missing, so requests to this virtual host are never split; if it serves a root, insert the route of docs/bare-envoy.md, step 4 c as \
        the first route";
    assert_eq!(check(value.clone(), None), [warning]);
    for host in value.pointer_mut(MANAGER).unwrap()["route_config"]["virtual_hosts"].as_array_mut().unwrap() {
        host["routes"] = json!([]);
    }
    let error = "error: listener outbound: virtual_hosts: no virtual host has the route of split requests, so the root Services serve every \
        request without an error; insert the route of docs/bare-envoy.md, step 4 c as the first route of each virtual host that serves a root";
    assert_eq!(check(value, None), [error]);
}

#[test]
fn other_files_are_refused() {
    for (text, message) in [
        ("", "is empty; pass a bootstrap or a config dump"),
        ("a: 1\n---\nb: 1\n", "has several documents; pass one bootstrap or config dump"),
        (
            "kind: TrafficSplit\n",
            "is a Kubernetes object of kind `TrafficSplit`; pass an Envoy bootstrap, or the output of Envoy's /config_dump",
        ),
        (
            "{\"a\": 1}",
            "is neither an Envoy bootstrap nor a config dump; pass a file with `static_resources`, or the output of Envoy's /config_dump",
        ),
        (
            "{\"configs\": []}",
            "has no listeners; pass the whole output of Envoy's /config_dump, without `resource` and `mask`",
        ),
        ("a: [\n", "1:4: the bracket is not closed; add the closing bracket, or put the value in single quotes"),
    ] {
        let error = EnvoyConfiguration::parse(text.as_bytes()).unwrap_err();
        let text = error.position.map(|position| format!("{position}: ")).unwrap_or_default() + &error.message;
        assert_eq!(text, message);
    }
}

#[test]
fn keys_in_camel_case_are_read() {
    let text = rendered().to_string();
    let mut camel = String::new();
    for part in text.split('"') {
        let is_key = part.contains('_') && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let words = part.split('_').enumerate().map(|(index, word)| match index {
            0 => word.to_owned(),
            _ => word[..1].to_uppercase() + &word[1..],
        });
        camel.push('"');
        camel.push_str(&if is_key { words.collect() } else { part.to_owned() });
    }
    let camel = camel[1..].to_owned();
    assert!(camel.contains("requestHeadersToRemove") && !camel.contains("request_headers_to_remove"), "{camel}");
    let envoy = EnvoyConfiguration::parse(camel.as_bytes()).unwrap();
    assert_eq!(texts(check_wiring(&envoy, Some(&configuration())).diagnostics), [""; 0]);
}

#[test]
fn file_that_envoy_does_not_watch_is_found() {
    let find = |value: Value, file: &str| {
        texts(check_watched_file(&EnvoyConfiguration::from_value(value).unwrap(), Path::new(file)))
    };
    assert_eq!(find(rendered(), "/etc/traffic-split/ecds.yaml"), [""; 0]);
    assert_eq!(find(rendered(), "/etc/./traffic-split//ecds.yaml"), [""; 0]);
    let other = "warning: path_config_source.path: Envoy reads the filter's configuration from `/etc/traffic-split/ecds.yaml`, not from \
        `/tmp/ecds.yaml`; write that file, or change `path` in the bootstrap";
    assert_eq!(find(rendered(), "/tmp/ecds.yaml"), [other]);
    let mut value = rendered();
    let source = &mut value.pointer_mut(DISCOVERY).unwrap()["config_source"]["path_config_source"];
    *source = json!({"path": "guide/ecds.yaml", "watched_directory": {"path": "guide"}});
    assert_eq!(find(value.clone(), "/srv/guide/ecds.yaml"), [""; 0]);
    let source = &mut value.pointer_mut(DISCOVERY).unwrap()["config_source"]["path_config_source"];
    source["watched_directory"]["path"] = "other".into();
    let unwatched = "error: listener outbound: http_filters[traffic-split].config_discovery.config_source.path_config_source.\
        watched_directory: is `other`, but the file is in `guide`, so Envoy misses every change of the file; set it to `{path: guide}`";
    assert_eq!(find(value.clone(), "/srv/guide/ecds.yaml"), [unwatched]);
    value.pointer_mut(FILTER).unwrap()["name"] = "my-split".into();
    assert_eq!(find(value, "/srv/guide/ecds.yaml").len(), 2);
    let mut value = rendered();
    value.pointer_mut(MANAGER).unwrap()["http_filters"].as_array_mut().unwrap().remove(0);
    let none = "warning: path_config_source.path: no filter reads `/a.yaml`, so the root Services serve every request without an error; \
        add the filter of docs/bare-envoy.md, step 4 b";
    assert_eq!(find(value, "/a.yaml"), [none]);
}

/// Returns the config dump of a proxy of Istio to which the rendered EnvoyFilter was applied: dynamic listeners, of which several share
/// a route configuration and one has no connection manager, and an extension configuration from ADS.
fn istio_dump(context: PatchContext) -> Value {
    let is_gateway = matches!(context, PatchContext::Gateway);
    let mut options = IstioOptions::default();
    options.context = context;
    options.gateway_ports = vec![8080];
    let rendered = envoy_filter(&configuration(), &options);
    let patches = rendered["spec"]["configPatches"].as_array().unwrap();
    let values = |kind: &str| -> Vec<Value> {
        let patches = patches.iter().filter(|patch| patch["applyTo"] == kind);
        patches.map(|patch| patch["patch"]["value"].clone()).collect()
    };
    let mut manager = values("NETWORK_FILTER").remove(0)["typed_config"].clone();
    manager["rds"] = json!({"route_config_name": "80", "config_source": {"ads": {}}});
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    });
    manager["http_filters"] = json!([{"name": "istio.alpn"}, values("HTTP_FILTER")[0], router]);
    let mut routes: Vec<_> = values("HTTP_ROUTE");
    // INSERT_FIRST
    routes.reverse();
    routes.push(json!({"name": "default", "match": {"prefix": "/"}, "route": {"cluster": "outbound|80||web.shop.svc.cluster.local"}}));
    let domains = if is_gateway {
        json!(["shop.example.com", "shop.example.com:8080"])
    } else {
        json!(["web.shop.svc.cluster.local", "web.shop.svc.cluster.local:80", "web", "web.shop"])
    };
    // The route is in every virtual host; the filter is enabled only in the root's.
    let mut other = routes[..routes.len() - 1].to_vec();
    other.push(json!({"match": {"prefix": "/"}, "route": {"cluster": "PassthroughCluster"}}));
    let enabling = &values("VIRTUAL_HOST")[0]["typed_per_filter_config"];
    let hosts = json!([
        {"name": "web", "domains": domains, "routes": routes, "typed_per_filter_config": enabling},
        {"name": "allow_any", "domains": ["*"], "routes": other},
    ]);
    let listener = |name: &str, filter: Value| {
        let chains = json!([{"filters": [filter]}]);
        json!({"name": name, "active_state": {"listener": {"name": name, "filter_chains": chains}}})
    };
    let tcp = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"},
    });
    let mut inbound = manager.clone();
    for key in ["early_header_mutation_extensions", "rds"] {
        remove(key)(&mut inbound);
    }
    inbound["route_config"] = json!({"name": "inbound|80||", "virtual_hosts": []});
    inbound["http_filters"].as_array_mut().unwrap().remove(1);
    let http =
        |config: &Value| json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": config});
    let listeners = [
        listener("virtualOutbound", tcp),
        listener("virtualInbound", http(&inbound)),
        listener("0.0.0.0_80", http(&manager)),
        listener("10.0.0.1_80", http(&manager)),
    ];
    let cluster =
        |service: &str| json!({"cluster": {"name": format!("outbound|80||{service}.shop.svc.cluster.local")}});
    let clusters = ["web", "web-v1", "web-v2"].map(cluster);
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {}},
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "dynamic_active_clusters": clusters,
        },
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": listeners},
        {
            "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
            "dynamic_route_configs": [{"route_config": {"name": "80", "virtual_hosts": hosts}}],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump",
            "ecds_filters": [{"ecds_filter": values("EXTENSION_CONFIG")[0]}],
        },
    ]})
}

/// Istio gives such a port a route configuration whose only virtual host has the domain `*`.
#[test]
fn disabled_filter_is_found_at_a_port_whose_protocol_istio_detects() {
    let mut value = istio_dump(PatchContext::Sidecar);
    let hosts = &mut value["configs"][3]["dynamic_route_configs"][0]["route_config"]["virtual_hosts"];
    hosts[0]["name"] = "web.shop.svc.cluster.local:80".into();
    hosts[0]["domains"] = json!(["*"]);
    assert_eq!(check(value.clone(), None), [""; 0]);
    let hosts = &mut value["configs"][3]["dynamic_route_configs"][0]["route_config"]["virtual_hosts"];
    remove("typed_per_filter_config")(&mut hosts[0]);
    let message = "error: route configuration 80, virtual host web.shop.svc.cluster.local:80: typed_per_filter_config: the filter is \
        disabled, so the root Services serve every request without an error; enable `istio-system.traffic-split` as in docs/bare-envoy.md, \
        step 4 b";
    assert_eq!(check(value, None), [message]);
}

#[test]
fn mistakes_in_a_shared_route_configuration_of_istio_are_reported_once() {
    let mut value = istio_dump(PatchContext::Sidecar);
    let routes = &mut value["configs"][3]["dynamic_route_configs"][0]["route_config"]["virtual_hosts"][0]["routes"];
    routes.as_array_mut().unwrap().remove(0);
    let message = "error: route configuration 80, virtual host web: routes: the route of split requests is missing, so the root Services serve \
        every request without an error; insert the route of docs/bare-envoy.md, step 4 c as the first route";
    assert_eq!(check(value, None), [message]);
    let mut value = istio_dump(PatchContext::Sidecar);
    remove("dynamic_route_configs")(&mut value["configs"][3]);
    let message = "warning: listener 0.0.0.0_80; listener 10.0.0.1_80: rds: the route configuration `80` is unknown, so its routes are not \
        checked; pass a config dump of a running Envoy";
    assert_eq!(check(value, None), [message]);
}
