//! Valid plugin configurations, and the problems of invalid ones.

use serde_json::{Value, json};
use traffic_split::{Configuration, Object, Rules};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Returns the guide's split with this `spec`.
fn split(spec: Value) -> Value {
    json!({
        "apiVersion": "split.smi-spec.io/v1alpha2",
        "kind": "TrafficSplit",
        "metadata": {"name": "http-split", "namespace": "httpbin"},
        "spec": spec,
    })
}

fn with_split(split: Value) -> Value {
    json!({"trafficSplits": [split]})
}

fn with_spec(spec: Value) -> Value {
    with_split(split(spec))
}

/// Returns a configuration with a split of the root `httpbin` into these backends.
fn backends(backends: Value) -> Value {
    with_spec(json!({"service": "httpbin", "backends": backends}))
}

fn read(value: &Value) -> Result<Configuration, Vec<String>> {
    Configuration::from_value(value).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn assert_valid(value: Value) -> Configuration {
    read(&value).unwrap_or_else(|problems| panic!("{value}: {problems:#?}"))
}

#[track_caller]
fn assert_problems(value: Value, expected: &[&str]) {
    match read(&value) {
        Ok(_) => panic!("{value} was accepted; expected {expected:#?}"),
        Err(problems) => assert_eq!(problems, expected, "{value}"),
    }
}

const SPLIT: &str = "trafficSplits[0] httpbin/http-split";

#[test]
fn empty_object_has_no_splits_and_empty_text_is_an_error() {
    assert_eq!(Configuration::from_json(b"{}"), Ok(Configuration::default()));
    for text in ["", " \n"] {
        let problems = Configuration::from_json(text.as_bytes()).unwrap_err();
        assert_eq!(problems[0].to_string(), "configuration: is empty; write {} for a configuration without splits");
    }
}

#[test]
fn invalid_json_is_an_error_with_line_and_column() {
    for (text, why) in [
        (&b"{\n \"a\": }"[..], "expected value at line 2 column 7"),
        (b"{\"cluster\": 1, \"cluster\": 2}", "the key \"cluster\" is duplicated at line 1 column 24"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"{\"a\": \"\xff\"}", "invalid unicode code point"),
        (b"{\"a\": 1e999}", "number out of range"),
        (b"\xff\xfe", "expected value at line 1 column 1"),
    ] {
        let problems = Configuration::from_json(text).unwrap_err();
        assert_eq!(problems.len(), 1);
        let message = problems[0].to_string();
        assert!(message.starts_with("configuration: is not valid JSON: ") && message.contains(why), "{message}");
    }
    let deep = "[".repeat(1_000_000);
    assert!(Configuration::from_json(deep.as_bytes()).unwrap_err()[0].message.contains("recursion limit"));
}

#[test]
fn json_that_is_not_an_object_is_an_error() {
    assert_problems(json!([]), &["configuration: is a list, but must be an object"]);
    assert_problems(Value::Null, &["configuration: is null, but must be an object"]);
}

#[test]
fn unknown_key_is_an_error_that_lists_known_keys() {
    let problems = read(&json!({"trafficSplit": []})).unwrap_err();
    assert!(problems[0].starts_with("configuration: the key \"trafficSplit\" is unknown; use one of "), "{problems:?}");
    assert_problems(
        json!({"services": {"httpbin/httpbin": {"port": 80}}}),
        &["services httpbin/httpbin: the key \"port\" is unknown; use ports or cluster"],
    );
}

#[test]
fn output_of_kubectl_is_accepted() {
    let mut whole = split(json!({
        "service": "httpbin.httpbin.svc.cluster.local",
        "backends": [{"service": "httpbin-v1", "weight": 100, "extra": true}],
        "matches": [],
        "other": 1,
    }));
    whole["metadata"] = json!({
        "name": "http-split", "namespace": "httpbin", "generation": 3, "labels": {"a": "b"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "flagger.app/x": "y"},
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        "ownerReferences": [{}], "creationTimestamp": null,
    });
    whole["status"] = json!({"conditions": []});
    let configuration = assert_valid(with_split(whole));
    assert_eq!(configuration.traffic_splits[0].key(), "httpbin/http-split");
    assert_eq!(configuration.traffic_splits[0].spec.service, "httpbin");
}

#[test]
fn written_configuration_parses_back_to_an_equal_value() {
    let whole = json!({
        "clusterHeader": "X-Cluster", "cluster": "{namespace}/{service}|{port}", "clusterDomain": "example.org",
        "namespace": "curl", "excludedNamespaces": ["kube-system"], "backendHeader": "x-backend",
        "mirrorHeader": "x-mirror", "setCookieHeader": "x-set-cookie", "headersStripped": true,
        "trafficSplits": [split(json!({
            "service": "httpbin.httpbin.svc.example.org:14001",
            "backends": [{"service": "v1.httpbin.svc.example.org", "weight": "500m"}, {"service": "v2", "weight": 2.0}, {"service": "v3"}],
        }))],
        "httpRouteGroups": [{
            "apiVersion": "specs.smi-spec.io/v1alpha2", "kind": "HTTPRouteGroup",
            "metadata": {"name": "m", "namespace": "httpbin"},
            "matches": [{"name": "a", "pathRegex": "/a", "methods": ["GET"], "headers": {"X-A": "1", "x-b": ".*"}}, {}],
        }],
        "services": {"httpbin/httpbin": {"ports": [14001, "80"]}, "httpbin/v1": {"ports": {"14001": 8080}},
            "httpbin/v2": {"cluster": "somewhere"}, "httpbin/v3": {}},
        "hosts": {"Shop.Example.com.": "httpbin/httpbin"},
    });
    let read = assert_valid(whole);
    assert_eq!(read.cluster_header, "x-cluster");
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written["services"]["httpbin/httpbin"]["ports"], json!([80, 14001]));
    assert_eq!(written["services"]["httpbin/v1"]["ports"], json!({"14001": "8080"}));
    assert_eq!(written["hosts"], json!({"shop.example.com": "httpbin/httpbin"}));
    assert_eq!(written["trafficSplits"][0]["spec"]["backends"][0], json!({"service": "v1", "weight": "500m"}));
    assert_eq!(assert_valid(written), read);
}

#[test]
fn every_problem_of_every_object_is_reported_at_once() {
    let mut broken = split(json!({"service": "httpbin", "backends": [
        {"service": "v1", "weight": -5}, {"service": "V2", "weight": "x"}, 7, {"weight": 1},
    ]}));
    broken["apiVersion"] = json!("v1");
    assert_problems(
        json!({"backendHeader": "a b", "headersStripped": "yes", "namespace": "a.b",
            "trafficSplits": [broken, split(json!({}))]}),
        &[
            "configuration: backendHeader: \"a b\" is not the name of an HTTP header (an RFC 9110 token)",
            "configuration: headersStripped: is a string, but must be true or false",
            "configuration: namespace: \"a.b\" is not a DNS label (lower-case letters, digits and `-`, 63 at most)",
            "trafficSplits[0] httpbin/http-split: apiVersion: \"v1\" is not supported; use split.smi-spec.io/v1alpha1 to v1alpha4",
            "trafficSplits[0] httpbin/http-split: spec.backends[0].weight: -5 is negative; use 0 or more",
            "trafficSplits[0] httpbin/http-split: spec.backends[1].service: \"V2\" contains upper-case letters; write \"v2\"",
            "trafficSplits[0] httpbin/http-split: spec.backends[1].weight: \"x\" is not a Kubernetes quantity such as \"5\", \"500m\" or \"1e3\"",
            "trafficSplits[0] httpbin/http-split: spec.backends[2]: is a number, but must be an object",
            "trafficSplits[0] httpbin/http-split: spec.backends[3].service: is missing; add it",
            "trafficSplits[1] httpbin/http-split: spec.service: is missing; add it",
            "trafficSplits[1] httpbin/http-split: spec.backends: is missing; add it",
        ],
    );
}

#[test]
fn problem_names_its_split_as_far_as_metadata_is_valid() {
    for (metadata, object) in [
        (json!({"name": "a"}), "trafficSplits[0] a"),
        (json!({"namespace": "a"}), "trafficSplits[0]"),
        (json!({"name": "a\nb", "namespace": "c"}), "trafficSplits[0]"),
        (json!(3), "trafficSplits[0]"),
    ] {
        let mut split = split(json!({"service": "a", "backends": [{"service": "a", "weight": 1}]}));
        split["metadata"] = metadata;
        let problems = read(&with_split(split)).unwrap_err();
        assert!(problems[0].starts_with(&format!("{object}: ")), "{problems:?}");
    }
    assert_problems(with_split(json!("x")), &["trafficSplits[0]: is a string, but must be an object"]);
    assert_problems(
        with_split(json!({})),
        &[
            "trafficSplits[0]: apiVersion: is missing; add it",
            "trafficSplits[0]: kind: is missing; add it",
            "trafficSplits[0]: metadata: is missing; add it",
            "trafficSplits[0]: spec: is missing; add it",
        ],
    );
}

#[test]
fn all_versions_of_trafficsplit_follow_the_same_rules() {
    for version in 1..=4 {
        for weight in [json!(1), json!("1"), json!("1000m")] {
            let mut split = split(json!({"service": "a", "backends": [{"service": "b", "weight": weight}]}));
            split["apiVersion"] = json!(format!("split.smi-spec.io/v1alpha{version}"));
            assert_valid(with_split(split));
        }
    }
}

#[test]
fn root_may_have_any_dns_form_of_its_service() {
    for service in [
        "httpbin",
        "httpbin.httpbin",
        "httpbin.httpbin.svc",
        "httpbin.httpbin.svc.cluster",
        "httpbin.httpbin.svc.cluster.local",
        "httpbin.httpbin.svc.cluster.local:14001",
        "httpbin:80",
        "httpbin.",
        "httpbin.httpbin.",
        "httpbin.httpbin.svc.",
        "httpbin.httpbin.svc.cluster.",
        "httpbin.httpbin.svc.cluster.local.",
        "httpbin.httpbin.svc.cluster.local.:14001",
    ] {
        let configuration =
            assert_valid(with_spec(json!({"service": service, "backends": [{"service": "v1", "weight": 1}]})));
        assert_eq!(configuration.traffic_splits[0].spec.service, "httpbin", "{service}");
    }
    for (service, why) in [
        ("httpbin:x:80", "\"httpbin:x:80\" does not end with a port (1–65535)"),
        ("httpbin:0", "\"httpbin:0\" does not end with a port (1–65535)"),
        ("httpbin\r\nx: z", "\"httpbin\\r\\nx: z\" does not end with a port (1–65535)"),
    ] {
        let problems =
            read(&with_spec(json!({"service": service, "backends": [{"service": "v1", "weight": 1}]}))).unwrap_err();
        assert_eq!(problems, [format!("{SPLIT}: spec.service: {why}")]);
    }
}

#[test]
fn message_about_a_name_that_is_no_service_tells_what_to_write() {
    let name = "write the name of a Service of the TrafficSplit's namespace";
    let write = "write \"httpbin\"";
    let namespace = "is not in the TrafficSplit's namespace; name a Service of the namespace \"httpbin\"";
    let of_root = format!("{namespace}, and write other host names into `hosts`");
    let foreign = "is not in the cluster domain";
    let setting = ", or set `clusterDomain` to the domain of this name";
    let syntax = "is not the name of a Service (lower-case letters, digits and `-`, 63 at most)";
    let root = "write the name of the root Service, and add to `hosts` the host";
    for (text, of_root, of_backend) in [
        ("", format!("is empty; {name}"), None),
        (".", format!("{syntax}; {name}"), None),
        ("-httpbin", format!("{syntax}; {name}"), None),
        ("*.httpbin", format!("{syntax}; {name}"), None),
        ("Httpbin", format!("contains upper-case letters; {write}"), None),
        ("HTTPBIN.httpbin.svc.cluster.local", format!("contains upper-case letters; {write}"), None),
        ("httpbin_v1", "contains an underscore; write \"httpbin-v1\"".into(), None),
        (" httpbin ", format!("contains white space; {write}"), None),
        ("httpbin\r\nx", format!("contains white space; {name}"), None),
        ("http://httpbin.httpbin", format!("is a URL; {write}"), None),
        ("https://httpbin.httpbin.svc.cluster.local:443/x", format!("is a URL; {write}"), None),
        ("http://10.0.0.1", format!("is a URL; {name}"), None),
        (
            "http://shop.example.com",
            format!("is a URL; {root} \"shop.example.com\""),
            Some(format!("is a URL; {name}")),
        ),
        ("httpbin/httpbin", format!("contains a slash; {write}"), None),
        ("service/httpbin", format!("contains a slash; {write}"), None),
        ("httpbin..", of_root.clone(), Some(namespace.into())),
        ("httpbin.other", of_root.clone(), Some(namespace.into())),
        ("httpbin.other.svc.cluster.local", of_root.clone(), Some(namespace.into())),
        ("httpbin.httpbin.svc.example.org", format!("{foreign}; {write}{setting}"), None),
        ("httpbin.httpbin.svc.example.org.", format!("{foreign}; {write}{setting}"), None),
        ("httpbin.httpbin.svc.cluster.local..", format!("{foreign}; {write}{setting}"), None),
        ("httpbin.httpbin.cluster.local", format!("lacks the label `svc` before the cluster domain; {write}"), None),
        (
            "shop.example.com",
            format!("is not the name of a Service; {root} \"shop.example.com\""),
            Some(format!("is not the name of a Service; {name}")),
        ),
        (
            "httpbin.httpbin.pod",
            format!("is not the name of a Service; {root} \"httpbin.httpbin.pod\""),
            Some(format!("is not the name of a Service; {name}")),
        ),
        ("10.0.0.1", format!("is an IP address; {name}"), None),
    ] {
        let of_backend = of_backend.unwrap_or_else(|| of_root.clone());
        let root = json!({"service": text, "backends": [{"service": "v1", "weight": 1}]});
        assert_problems(with_spec(root), &[&format!("{SPLIT}: spec.service: {text:?} {of_root}")]);
        let backend = json!([{"service": text, "weight": 1}]);
        assert_problems(backends(backend), &[&format!("{SPLIT}: spec.backends[0].service: {text:?} {of_backend}")]);
    }
    let port = json!([{"service": "v1:8080", "weight": 1}]);
    assert_problems(
        backends(port),
        &[&format!("{SPLIT}: spec.backends[0].service: \"v1:8080\" contains a port; write \"v1\"")],
    );
}

#[test]
fn trailing_dot_of_a_dns_name_is_accepted_as_in_a_host() {
    let mut split = split(json!({
        "service": "httpbin.httpbin.svc.example.org.",
        "backends": [{"service": "v1.httpbin.svc.example.org.", "weight": 1}, {"service": "v2.", "weight": 1}],
    }));
    split["metadata"]["annotations"] = json!({"traffic-split/mirror": "v2.httpbin.=10"});
    let configuration = assert_valid(json!({"clusterDomain": "example.org.", "trafficSplits": [split]}));
    let split = &configuration.traffic_splits[0];
    assert_eq!(configuration.cluster_domain, "example.org");
    assert_eq!(split.spec.service, "httpbin");
    assert_eq!(split.spec.backends.iter().map(|backend| &*backend.service).collect::<Vec<_>>(), ["v1", "v2"]);
    assert_eq!(split.metadata.annotations.mirror.as_ref().unwrap().backend, "v2");
}

#[test]
fn backends_are_unique_and_in_the_splits_namespace() {
    assert_valid(backends(
        json!([{"service": "v1.httpbin", "weight": 1}, {"service": "v2.httpbin.svc.cluster.local", "weight": 1}]),
    ));
    assert_problems(
        backends(json!([{"service": "v1.other", "weight": 1}])),
        &[&format!(
            "{SPLIT}: spec.backends[0].service: \"v1.other\" is not in the TrafficSplit's namespace; name a Service of the namespace \"httpbin\""
        )],
    );
    assert_problems(
        backends(
            json!([{"service": "v1", "weight": 1}, {"service": "v2", "weight": 1}, {"service": "v1.httpbin", "weight": 1}]),
        ),
        &[&format!("{SPLIT}: spec.backends[2].service: \"v1\" duplicates spec.backends[0]; remove one of them")],
    );
    assert_problems(
        backends(json!([])),
        &[&format!("{SPLIT}: spec.backends: is empty; a split needs at least one backend")],
    );
}

#[test]
fn weights_with_sum_zero_are_an_error_and_missing_weight_a_warning() {
    for nothing in
        [json!([{"service": "v1", "weight": 0}]), json!([{"service": "v1"}, {"service": "v2", "weight": "0"}])]
    {
        assert_problems(
            backends(nothing),
            &[&format!("{SPLIT}: spec.backends: the weights sum to 0; give at least one backend a weight above 0")],
        );
    }
    let rules = Rules::new(&assert_valid(backends(json!([{"service": "v1"}, {"service": "v2", "weight": 1}]))), None);
    let warnings: Vec<_> = rules.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, [format!("{SPLIT}: spec.backends[0].weight: is missing and counts as 0; write weight: 0")]);
}

/// Returns a configuration with the guide's split, with these annotations and the backends `v1` and `v2`.
fn annotated(annotations: Value) -> Value {
    let mut split = split(
        json!({"service": "httpbin", "backends": [{"service": "v1", "weight": 1}, {"service": "v2", "weight": 0}]}),
    );
    split["metadata"]["annotations"] = annotations;
    with_split(split)
}

#[test]
fn own_annotations_are_kept_and_foreign_ones_ignored() {
    let configuration = assert_valid(annotated(json!({
        "traffic-split/override-header": "X-Backend", "traffic-split/sticky-header": "X-User",
        "traffic-split/sticky-cookie": "canary", "traffic-split/sticky-cookie-attributes": "path=/; secure",
        "traffic-split/mirror": "v2.httpbin.svc.cluster.local = 0.5",
        "example.org/traffic-split": 7, "kubectl.kubernetes.io/last-applied-configuration": "{}",
    })));
    let written = serde_json::to_value(&configuration).unwrap();
    assert_eq!(
        written["trafficSplits"][0]["metadata"]["annotations"],
        json!({
            "traffic-split/override-header": "x-backend", "traffic-split/sticky-header": "x-user",
            "traffic-split/sticky-cookie": "canary", "traffic-split/sticky-cookie-attributes": "Path=/; Secure",
            "traffic-split/mirror": "v2=500m",
        })
    );
    assert_eq!(assert_valid(written), configuration);
    for nothing in [json!(null), json!({}), json!({"a/b": "c"})] {
        let written = serde_json::to_value(assert_valid(annotated(nothing))).unwrap();
        assert_eq!(written["trafficSplits"][0]["metadata"].get("annotations"), None);
    }
}

#[test]
fn problem_of_an_annotation_names_the_annotation() {
    for (annotation, value, why) in [
        (
            "sticky-heather",
            json!("x"),
            "is unknown; use one of traffic-split/mirror, traffic-split/override-header, traffic-split/sticky-cookie, traffic-split/sticky-cookie-attributes, traffic-split/sticky-header",
        ),
        ("sticky-header", json!(7), "is a number, but must be a string"),
        ("sticky-header", json!(":path"), "\":path\" is not the name of an HTTP header (an RFC 9110 token)"),
        ("sticky-header", json!("X-Traffic-Split-Backend"), ""),
        ("override-header", json!(""), "\"\" is not the name of an HTTP header (an RFC 9110 token)"),
        (
            "override-header",
            json!("X-Traffic-Split-Cluster"),
            "\"x-traffic-split-cluster\" is the clusterHeader, which clients cannot send; use another header",
        ),
        (
            "sticky-header",
            json!("x-traffic-split-set-cookie"),
            "\"x-traffic-split-set-cookie\" is the setCookieHeader, which clients cannot send; use another header",
        ),
        ("sticky-cookie", json!("a=b"), "\"a=b\" is not the name of a cookie (an RFC 9110 token)"),
        (
            "sticky-cookie-attributes",
            json!("Path=/"),
            "requires traffic-split/sticky-cookie, which names the cookie; add that annotation",
        ),
        ("mirror", json!("v2"), "\"v2\" is not BACKEND=PERCENT, such as httpbin-v2=10"),
        ("mirror", json!("v3=10"), "\"v3\" is not a backend of the split; use a Service of spec.backends"),
        (
            "mirror",
            json!("v2.other=10"),
            "\"v2.other\" is not in the TrafficSplit's namespace; name a Service of the namespace \"httpbin\"",
        ),
        ("mirror", json!("v2=101"), "\"101\" is above 100 percent"),
        ("mirror", json!("v2=-1"), "\"-1\" is not a percentage from 0 to 100, such as 10 or 0.5"),
        ("mirror", json!("v2=10%"), "\"10%\" is not a percentage from 0 to 100, such as 10 or 0.5"),
        ("mirror", json!("v2="), "\"\" is not a percentage from 0 to 100, such as 10 or 0.5"),
    ] {
        let key = format!("traffic-split/{annotation}");
        let value = annotated(json!({key.as_str(): value}));
        match why {
            // The filter writes this header only if the configuration sets backendHeader.
            "" => _ = assert_valid(value),
            why => assert_problems(value, &[&format!("{SPLIT}: metadata.annotations[\"{key}\"]: {why}")]),
        }
    }
    assert_problems(
        annotated(json!({"traffic-split/sticky-cookie": "c", "traffic-split/sticky-cookie-attributes": "Max-Age=x"})),
        &[&format!(
            "{SPLIT}: metadata.annotations[\"traffic-split/sticky-cookie-attributes\"]: Max-Age \"x\" is not a number of seconds"
        )],
    );
    assert_problems(
        annotated(json!([])),
        &[&format!("{SPLIT}: metadata.annotations: is a list, but must be an object")],
    );
}

#[test]
fn splits_written_by_flagger_are_accepted() {
    // Flagger 1.36 lists the canary first and writes strings in v1alpha1; older versions omit a weight of 0.
    for (version, backends) in [
        (1, json!([{"service": "httpbin-canary", "weight": "20"}, {"service": "httpbin-primary", "weight": "80"}])),
        (1, json!([{"service": "httpbin-canary", "weight": "0"}, {"service": "httpbin-primary", "weight": "100"}])),
        (2, json!([{"service": "httpbin-canary"}, {"service": "httpbin-primary", "weight": 100}])),
        (3, json!([{"service": "httpbin-canary", "weight": 0}, {"service": "httpbin-primary", "weight": 100}])),
        // A v1alpha1 object as the API server returns it.
        (4, json!([{"service": "httpbin-canary", "weight": "100"}, {"service": "httpbin-primary", "weight": "0"}])),
    ] {
        for root in ["httpbin", "httpbin.httpbin", "httpbin.httpbin.svc.cluster.local"] {
            let mut split = split(json!({"service": root, "backends": backends}));
            split["apiVersion"] = json!(format!("split.smi-spec.io/v1alpha{version}"));
            split["metadata"]["ownerReferences"] = json!([{"kind": "Canary", "controller": true}]);
            split["status"] = json!({});
            let configuration = assert_valid(with_split(split));
            let split = &configuration.traffic_splits[0];
            assert_eq!(
                (split.spec.service.as_str(), split.spec.backends[0].service.as_str()),
                ("httpbin", "httpbin-canary")
            );
        }
    }
}

#[test]
fn splits_written_by_argo_rollouts_are_accepted() {
    // Argo Rollouts 1.10 lists canary, experiments, stable. Without a root Service, stable is both root and backend.
    for (root, backends) in [
        ("httpbin", json!([{"service": "httpbin-canary", "weight": 5}, {"service": "httpbin-stable", "weight": 95}])),
        (
            "httpbin-stable",
            json!([{"service": "httpbin-canary", "weight": "5"}, {"service": "httpbin-stable", "weight": "95"}]),
        ),
        (
            "httpbin-stable",
            json!([
                {"service": "httpbin-canary", "weight": 10}, {"service": "experiment-a", "weight": 5},
                {"service": "experiment-b", "weight": 5}, {"service": "httpbin-stable", "weight": 80},
            ]),
        ),
    ] {
        let configuration = assert_valid(with_spec(json!({"service": root, "backends": backends})));
        assert_eq!(configuration.traffic_splits[0].spec.service, root);
        assert_eq!(configuration.traffic_splits[0].spec.backends.len(), backends.as_array().unwrap().len());
    }
}

#[test]
fn two_splits_of_one_root_without_matches_are_an_error() {
    let one = split(json!({"service": "httpbin", "backends": [{"service": "v1", "weight": 1}]}));
    let mut two = one.clone();
    two["metadata"]["name"] = json!("two");
    assert_problems(
        json!({"trafficSplits": [one, two]}),
        &[
            "trafficSplits[1] httpbin/two: spec.service: the root httpbin already has the split httpbin/http-split without matches; add matches to one of them",
        ],
    );
    assert_problems(
        json!({"trafficSplits": [one, one]}),
        &["trafficSplits[1] httpbin/http-split: metadata.name: is duplicated; rename or remove one of them"],
    );
    // An invalid split before them does not shift their indexes.
    let problems = Configuration::from_value(&json!({"trafficSplits": [1, one, two]})).unwrap_err();
    assert_eq!(problems[1].object, Object::TrafficSplit { index: 2, name: "httpbin/two".into() });
}

#[test]
fn written_headers_must_be_tokens_and_differ() {
    for (key, value, why) in [
        ("clusterHeader", ":path", "\":path\" is not the name of an HTTP header (an RFC 9110 token)"),
        ("mirrorHeader", "", "\"\" is not the name of an HTTP header (an RFC 9110 token)"),
        ("setCookieHeader", "Host", "must not be host, because Envoy selects the route by it; use another header"),
        (
            "backendHeader",
            "x-traffic-split-cluster",
            "\"x-traffic-split-cluster\" is also the clusterHeader; they must differ",
        ),
        (
            "backendHeader",
            "X-Traffic-Split-Cluster",
            "\"x-traffic-split-cluster\" is also the clusterHeader; they must differ",
        ),
    ] {
        assert_problems(json!({key: value}), &[&format!("configuration: {key}: {why}")]);
    }
}

#[test]
fn cluster_template_must_be_valid_and_contain_the_service() {
    for (template, why) in [
        ("{service", "\"{service\" has an unbalanced brace; write placeholders as {service}"),
        ("service}", "\"service}\" has an unbalanced brace; write placeholders as {service}"),
        (
            "{svc}",
            "\"{svc}\" has the unknown placeholder \"svc\"; use {service}, {namespace}, {port} or {clusterDomain}",
        ),
        ("x|{port}", "\"x|{port}\" lacks {service}, so all backends would have the same cluster; add {service}"),
        ("{service}\r\nx: y", "\"{service}\\r\\nx: y\" is not a cluster name (visible ASCII, not empty)"),
        ("", "\"\" is not a cluster name (visible ASCII, not empty)"),
    ] {
        assert_problems(json!({"cluster": template}), &[&format!("configuration: cluster: {why}")]);
    }
    let configuration = assert_valid(json!({"cluster": "{namespace}/{service}|{port}"}));
    assert_eq!(configuration.cluster_name("httpbin-v1", "httpbin", 14001), "httpbin/httpbin-v1|14001");
}

#[test]
fn services_have_namespaced_keys_and_unique_valid_ports() {
    assert_problems(
        json!({"services": {
            "a\nb": {}, "b/b": {"ports": [0, 65536, "x", true]}, "c/c": {"ports": {"0": 1, "1": "http\n"}},
            "d/d": {"ports": 80}, "e/e": {"cluster": "a b"}, "f/f": 1,
            "g/g": {"ports": [80, "0080"]}, "h/h": {"ports": {"80": 1, "080": 2}},
        }}),
        &[
            "services \"a\\nb\": is not a Service's `namespace/name`",
            "services b/b: ports[0]: \"0\" is not a port (1–65535)",
            "services b/b: ports[1]: \"65536\" is not a port (1–65535)",
            "services b/b: ports[2]: \"x\" is not a port (1–65535)",
            "services b/b: ports[3]: is a boolean, but must be a port",
            "services c/c: ports[\"0\"]: is not a port (1–65535)",
            "services c/c: ports[\"1\"]: \"http\\n\" is not a port (1–65535)",
            "services d/d: ports: is a number, but must be a list of ports or a map",
            "services e/e: cluster: \"a b\" is not a cluster name (visible ASCII, not empty)",
            "services f/f: is a number, but must be an object",
            "services g/g: ports[1]: the port 80 is duplicated; remove one of them",
            "services h/h: ports[\"80\"]: the port 80 is duplicated; remove one of them",
        ],
    );
}

#[test]
fn host_is_a_name_without_a_port_and_has_one_root() {
    assert_problems(
        json!({"hosts": {"10.0.0.1": "a/a", "[::1]": "a/a", "a b": "a/a", "shop.example.com:80": "a/a", "x.org": "a", "y.org": "a/a", "Y.org": "a/b"}}),
        &[
            "configuration: hosts[\"10.0.0.1\"]: is an IP address; use a host name",
            "configuration: hosts[\"[::1]\"]: is not a host name; write only the name, without scheme, port, path or wildcard",
            "configuration: hosts[\"a b\"]: is not a host name; write only the name, without scheme, port, path or wildcard",
            "configuration: hosts[\"shop.example.com:80\"]: is not a host name; write only the name, without scheme, port, path or wildcard",
            "configuration: hosts[\"x.org\"]: \"a\" is not a Service's `namespace/name`",
            "configuration: hosts[\"y.org\"]: is duplicated with a different root; remove one of them",
        ],
    );
}

#[test]
fn long_value_with_control_characters_is_one_short_line_in_messages() {
    let problems = read(&json!({"namespace": "x\n".repeat(10_000)})).unwrap_err();
    assert!(problems[0].len() < 300 && !problems[0].contains('\n'), "{problems:?}");
}
