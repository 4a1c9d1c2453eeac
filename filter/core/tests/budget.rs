//! Limits on the cost of a configuration: in total, for each namespace, for each root, and for one request.

use fixtures::{FakeRequest, FixedRandom, TrafficSplit, route_group};
use serde_json::{Value, json};
use traffic_split::{Budget, Configuration, Cost, Decision, Ledger, RootReason, Rules};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn split(namespace: &str, root: &str, backends: usize, groups: &[String]) -> Value {
    let split = TrafficSplit::new(root, root).namespace(namespace);
    let split = (0..backends).fold(split, |split, n| split.backend(&format!("v{n}"), 1));
    groups.iter().fold(split, |split, group| split.matches(group)).build()
}

/// Returns a group of one match with this number of header patterns.
fn group(namespace: &str, name: &str, headers: usize, pattern: &str) -> Value {
    let headers: Vec<_> = (0..headers).map(|n| json!({format!("h{n}"): pattern})).collect();
    route_group(namespace, name, json!([{"headers": headers}]))
}

fn problems(configuration: &Value) -> Vec<String> {
    let read = Configuration::from_json(configuration.to_string().as_bytes());
    read.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Returns a configuration with this number of namespaces, each with this number of splits of 256 backends.
fn backends(namespaces: usize, splits: usize) -> Value {
    let splits =
        (0..namespaces).flat_map(|n| (0..splits).map(move |s| split(&format!("ns{n}"), &format!("r{s}"), 256, &[])));
    json!({"trafficSplits": splits.collect::<Vec<_>>()})
}

#[test]
fn namespace_may_have_at_most_half_of_all_backends() {
    assert_eq!(problems(&backends(1, 128)), [""; 0]);
    assert_eq!(
        problems(&backends(1, 130)),
        [
            "trafficSplits[128] ns0/r128: the namespace ns0 has 33024 backends, above the limit of 32768; remove splits or backends"
        ],
        "one problem for each namespace and limit"
    );
}

#[test]
fn all_namespaces_together_may_not_exceed_the_total() {
    assert_eq!(problems(&backends(4, 64)), [""; 0]);
    assert_eq!(
        problems(&backends(5, 64)),
        [
            "trafficSplits[256] ns4/r0: the configuration has 65792 backends, above the limit of 65536; remove splits or backends"
        ]
    );
}

#[test]
fn small_patterns_of_all_groups_count_together() {
    // 132 patterns of size 31 each in a group.
    let groups = |count: usize| -> Value {
        let groups: Vec<_> =
            (0..count).map(|n| group(&format!("ns{}", n % 8), &format!("g{n}"), 132, "a{25}")).collect();
        json!({"httpRouteGroups": groups})
    };
    assert_eq!(problems(&groups(64)), [""; 0]);
    assert_eq!(
        problems(&groups(65)),
        [
            "configuration: httpRouteGroups: the configuration has 265980 units of pattern size, above the limit of 262144; \
          use fewer or shorter patterns and smaller repetitions"
        ]
    );
}

#[test]
fn matches_of_all_splits_of_one_root_count_together() {
    let configuration = |headers: usize| {
        let names = ["one".to_owned(), "two".to_owned()];
        json!({
            "trafficSplits": [split("ns", "root", 1, &names)],
            "httpRouteGroups": [group("ns", "one", headers, "a"), group("ns", "two", 1, "a{4000}")],
        })
    };
    assert_eq!(problems(&configuration(1768)), [""; 0]);
    assert_eq!(
        problems(&configuration(1769)),
        [
            "trafficSplits[0] ns/root: the splits of the root ns/root together have 16389 units of pattern size, above the limit of \
          16384; use fewer or shorter patterns and smaller repetitions"
        ]
    );
}

/// Such a group is refused before any of its patterns is compiled.
#[test]
fn group_above_the_limits_of_a_root_is_refused_by_itself() {
    for (headers, pattern, expected) in [
        (
            14_000,
            "a{2000}",
            "has 28084000 units of pattern size, above the limit of 16384; use fewer or shorter patterns and smaller repetitions",
        ),
        (2048, "", "has 2049 conditions in matches, above the limit of 2048; remove matches or conditions"),
    ] {
        let found = problems(&json!({"httpRouteGroups": [group("ns", "g", headers, pattern)]}));
        let total = "configuration: httpRouteGroups: the configuration has ";
        assert!(found.iter().any(|why| why.ends_with(expected) || why.starts_with(total)), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn numbers_of_backends_and_groups_of_a_split_are_limited() {
    assert_eq!(
        problems(&json!({"trafficSplits": [split("ns", "root", 257, &[])]})),
        ["trafficSplits[0] ns/root: spec.backends: has 257 entries, above the limit of 256; remove backends"]
    );
    let names: Vec<_> = (0..65).map(|n| format!("g{n}")).collect();
    assert_eq!(
        problems(&json!({"trafficSplits": [split("ns", "root", 1, &names)]})),
        [
            "trafficSplits[0] ns/root: spec.matches: has 65 entries, above the limit of 64; put matches into fewer groups"
        ]
    );
}

#[test]
fn number_of_reported_problems_is_limited() {
    let splits = vec![json!({}); 5000];
    let found = problems(&json!({"trafficSplits": splits}));
    assert_eq!(found.len(), 1001);
    assert!(found[1000].ends_with("more problems are not listed; fix the listed ones first"), "{}", found[1000]);
}

#[test]
fn configuration_text_is_limited_to_sixteen_mebibytes() {
    let text = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    assert!(Configuration::from_json(text(16 << 20).as_bytes()).is_ok());
    let problems = Configuration::from_json(text((16 << 20) + 1).as_bytes()).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "configuration: has 16777217 bytes, above the limit of 16777216; remove splits"
    );
}

/// The sum in the ledger is never less than the length of the configuration's text.
#[test]
fn costs_of_the_parts_cover_the_bytes_of_the_whole() {
    let value = json!({
        "namespace": "curl",
        "trafficSplits": [split("ns", "root", 3, &["g".into()]), split("ns2", "root", 1, &[])],
        "httpRouteGroups": [group("ns", "g", 2, r#"\d "quoted""#)],
        "services": {"ns/root": {"ports": [80]}, "ns/v1": {"ports": {"80": 81}, "cluster": "c"}},
    });
    let configuration = Configuration::from_value(&value).unwrap();
    let text = serde_json::to_string(&configuration).unwrap();
    let in_a_string = serde_json::to_string(&text).unwrap().len() as u64;
    let parts = configuration.base_cost();
    let parts = configuration.traffic_splits.iter().map(Cost::of_split).fold(parts, Cost::plus);
    let parts = configuration.http_route_groups.iter().map(Cost::of_group).fold(parts, Cost::plus);
    let services = configuration.services.iter().map(|(key, service)| Cost::of_service(key, service));
    let parts = services.fold(parts, Cost::plus);
    assert!((in_a_string..in_a_string + 60).contains(&parts.bytes), "{} for {in_a_string}", parts.bytes);
    assert_eq!((parts.backends, parts.conditions), (4, 3));
}

#[test]
fn refused_cost_is_not_spent() {
    let mut ledger = Ledger::new(Budget::with_bytes(1000), Cost::default());
    let cost = |bytes: usize| Cost::of_service(&"x".repeat(bytes - 8), &traffic_split::Service::default());
    assert_eq!(cost(100).bytes, 100);
    assert!(ledger.spend("a", cost(400), None).is_ok());
    assert!(ledger.spend("b", cost(400), None).is_ok());
    let why = ledger.spend("c", cost(201), None).unwrap_err();
    assert_eq!(
        why.to_string(),
        "the configuration has 1001 bytes of JSON, above the limit of 1000; remove splits or backends"
    );
    assert!(ledger.spend("c", cost(180), None).is_ok());
}

/// The pattern has a size of about 4,090, and a request has 600,000 steps: 146 for each unit.
#[test]
fn value_that_would_cost_too_many_steps_matches_nothing() {
    let configuration = json!({
        "trafficSplits": [split("ns", "root", 1, &["g".into()])],
        "httpRouteGroups": [group("ns", "g", 1, "(?:.?){450}")],
    });
    let configuration = Configuration::from_value(&configuration).unwrap();
    let size = configuration.http_route_groups[0].spec.matches[0].headers[0].1.size();
    let longest = (600_000 / size - 1) as usize;
    let rules = Rules::new(&configuration, None);
    let decide = |length: usize| {
        let request = FakeRequest::to("root.ns").header("h0", "a".repeat(length));
        rules.decide(&request, &mut FixedRandom::always(0))
    };
    assert!(longest > 100 && longest < 450, "{longest} for the size {size}");
    assert!(matches!(decide(longest), Decision::Backend(_)));
    assert_eq!(decide(longest + 1), Decision::Root(RootReason::NoMatch));
    let request = FakeRequest::to("root.ns").header("h0", "a".repeat(longest + 1));
    assert!(rules.explain(&request).skipped[0].1[0].too_long, "the trace says so");
}

/// A client of a gateway cannot reach a port that the operator did not configure, whatever its `Host` header says.
#[test]
fn configured_host_uses_the_operators_port_never_the_clients() {
    let decide = |host: &Value, ports: Option<Value>, authority: &str| {
        let mut configuration = json!({
            "cluster": "{service}:{port}", "hosts": {"shop.example.com": host},
            "trafficSplits": [split("ns", "root", 1, &[])],
        });
        if let Some(ports) = ports {
            configuration["services"] = json!({"ns/root": {"ports": ports}});
        }
        let configuration = Configuration::from_value(&configuration).unwrap();
        let rules = Rules::new(&configuration, None);
        match rules.decide(&FakeRequest::to(authority), &mut FixedRandom::always(0)) {
            Decision::Backend(pick) => pick.cluster.to_string(),
            Decision::Root(why) => format!("{why:?}"),
        }
    };
    let with_port = json!({"service": "ns/root", "port": 80});
    let short = json!("ns/root");
    for (host, ports, authority, expected) in [
        (&with_port, Some(json!([80, 9090])), "shop.example.com:9090", "v0:80"),
        (&with_port, Some(json!([80, 9090])), "SHOP.example.com.", "v0:80"),
        (&with_port, None, "shop.example.com:9090", "v0:80"),
        (&with_port, Some(json!([9090])), "shop.example.com:9090", "NoPort"),
        (&with_port, Some(json!([80])), "shop.example.com:x", "NoPort"),
        (&short, Some(json!([80, 9090])), "shop.example.com:9090", "v0:80"),
        (&short, Some(json!([8080, 9090])), "shop.example.com:9090", "NoPort"),
        (&short, Some(json!([80])), "shop.example.com:9090", "v0:80"),
        (&short, None, "shop.example.com:9090", "v0:80"),
        // A client in the mesh may call any port of the Service by its own name, as it could without a split.
        (&short, Some(json!([80, 9090])), "root.ns:9090", "v0:9090"),
    ] {
        assert_eq!(decide(host, ports.clone(), authority), expected, "{host} {ports:?} {authority}");
    }
}

#[test]
fn host_without_a_usable_port_is_a_warning_that_names_the_remedy() {
    let warnings_of_ports = |host: Value, ports: &[u16]| {
        let configuration = json!({
            "hosts": {"shop.example.com": host}, "services": {"ns/root": {"ports": ports}},
            "trafficSplits": [split("ns", "root", 1, &[])],
        });
        let rules = Rules::new(&Configuration::from_value(&configuration).unwrap(), None);
        rules.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let warnings = |host: Value| warnings_of_ports(host, &[80, 9090]);
    assert_eq!(warnings(json!({"service": "ns/root", "port": 80})), [""; 0]);
    assert_eq!(warnings_of_ports(json!("ns/root"), &[8080]), [""; 0]);
    assert_eq!(warnings_of_ports(json!("ns/root"), &[80, 443, 9090]), [""; 0]);
    for (ports, expected) in [
        (&[80, 9090], "(80, 9090), but no port 443, so HTTPS requests"),
        (&[443, 9090], "(443, 9090), but no port 80, so HTTP requests"),
        (&[8080, 9090], "(8080, 9090), but neither port 80 nor port 443, so requests"),
    ] {
        assert_eq!(
            warnings_of_ports(json!("ns/root"), ports),
            [format!(
                "configuration: hosts[\"shop.example.com\"]: ns/root has several ports {expected} to this host are split \
                 only on a listener with one of these ports; write {{service: ns/root, port: PORT}}"
            )]
        );
    }
    assert_eq!(
        warnings_of_ports(json!("ns/root"), &[]),
        [
            "trafficSplits[0] ns/root: spec.service: the Service root has no ports, so requests to it are never split; add a port \
             to the Service"
        ]
    );
    assert_eq!(
        warnings(json!({"service": "ns/root", "port": 81})),
        [
            "configuration: hosts[\"shop.example.com\"]: ns/root has no port 81, so requests to this host are not split; \
             use one of its ports: 80, 9090"
        ]
    );
}

/// The walk of `explain` spends the steps of one request, not of two.
#[test]
fn explanation_has_as_many_matching_steps_as_the_decision() {
    let configuration = json!({
        "trafficSplits": [split("ns", "root", 1, &["g".into()])],
        "httpRouteGroups": [group("ns", "g", 1, "[a-z0-9-]{380}")],
    });
    let rules = Rules::new(&Configuration::from_value(&configuration).unwrap(), None);
    let request = FakeRequest::to("root.ns").header("h0", "a".repeat(100));
    assert!(!rules.explain(&request).skipped[0].1[0].too_long);
}

/// The limit bounds the work for each backend.
#[test]
fn sticky_value_counts_up_to_eight_kibibytes() {
    let mut split = split("ns", "root", 16, &[]);
    split["metadata"]["annotations"] = json!({"traffic-split/sticky-header": "x-user"});
    let rules = Rules::new(&Configuration::from_value(&json!({"trafficSplits": [split]})).unwrap(), None);
    let pick = |value: String| match rules
        .decide(&FakeRequest::to("root.ns").header("x-user", value), &mut FixedRandom::always(0))
    {
        Decision::Backend(pick) => pick.backend.to_owned(),
        Decision::Root(why) => panic!("{why:?}"),
    };
    let at_limit = pick("u".repeat(8192));
    let differs = |prefix: usize| (0..20).any(|n| pick(format!("{}{n:02}", "u".repeat(prefix))) != at_limit);
    assert!(!differs(8192), "bytes after the limit do not count");
    assert!(differs(8190), "bytes before the limit count");
}
