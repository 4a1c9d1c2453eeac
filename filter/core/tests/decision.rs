//! Decisions: shares by weight, the values that are read from a request, and the fields of a pick. The table of cases
//! covers which host belongs to which root.

use fixtures::{FakeRequest, FixedRandom, TrafficSplit};
use serde_json::{Value, json};
use traffic_split::{Configuration, Decision, GivenPort, Pick, PortRule, Reason, RootReason, Rules};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn rules(configuration: Value) -> Rules {
    let configuration = Configuration::from_value(&configuration).unwrap_or_else(|problems| panic!("{problems:#?}"));
    Rules::new(&configuration, Some("curl"))
}

/// Returns a split of `root.ns` into `v0`, `v1` and so on, with these weights.
fn split(root: &str, weights: &[Value]) -> Value {
    let split = TrafficSplit::new(&format!("{root}-split"), root).version("v1alpha2");
    let backends = weights.iter().enumerate();
    backends.fold(split, |split, (n, weight)| split.backend(&format!("v{n}"), weight.clone())).build()
}

fn weights(weights: &[Value]) -> Rules {
    rules(json!({"trafficSplits": [split("root", weights)]}))
}

/// Returns the backend of `root.ns` that a random number selects.
fn pick(rules: &Rules, random: u64) -> &str {
    match rules.decide(&FakeRequest::to("root.ns"), &mut FixedRandom::always(random)) {
        Decision::Backend(Pick { backend, .. }) => backend,
        Decision::Root(why) => panic!("{why:?}"),
    }
}

#[test]
fn shares_follow_weights() {
    const N: u32 = 100_000;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("random bytes");
    let seed = u64::from_le_bytes(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    for (written, shares) in [
        (vec![json!(50), json!(50)], vec![0.5, 0.5]),
        (vec![json!(1), json!("1"), json!("1000m"), json!(1.0)], vec![0.25; 4]),
        (vec![json!(99), json!(1)], vec![0.99, 0.01]),
        (vec![json!("1n"), json!("3n")], vec![0.25, 0.75]),
        (vec![json!("1G"), json!(0), json!("1G")], vec![0.5, 0.0, 0.5]),
        (vec![json!("1n"), json!("1G")], vec![0.0, 1.0]),
    ] {
        let rules = weights(&written);
        let mut hits = vec![0_u32; shares.len()];
        for _ in 0..N {
            let backend: usize = pick(&rules, random.u64(..))[1..].parse().expect("a number");
            hits[backend] += 1;
        }
        for (hits, share) in hits.iter().zip(shares) {
            // Six standard deviations: a fair selection deviates further once in 500 million runs.
            let (expected, tolerance) = (f64::from(N) * share, 6.0 * (f64::from(N) * share * (1.0 - share)).sqrt());
            assert!((f64::from(*hits) - expected).abs() <= tolerance, "{written:?}: {hits} of {N}; seed {seed}");
        }
    }
}

#[test]
fn equal_weights_receive_equal_ranges_of_random_numbers() {
    let halves = weights(&[json!(1), json!(1)]);
    for (random, backend) in [(0, "v0"), ((1 << 63) - 1, "v0"), (1 << 63, "v1"), (u64::MAX, "v1")] {
        assert_eq!(pick(&halves, random), backend, "{random}");
    }
    let thirds = weights(&[json!(7), json!(7), json!(7)]);
    let third = u64::MAX / 3;
    for (random, backend) in [(0, "v0"), (third, "v0"), (third + 1, "v1"), (2 * third + 1, "v2"), (u64::MAX, "v2")] {
        assert_eq!(pick(&thirds, random), backend, "{random}");
    }
}

#[test]
fn weight_zero_receives_no_traffic_for_any_random_number() {
    for written in [
        vec![json!(0), json!(5), json!(0)],
        vec![json!(0), json!("1n"), json!(0), json!(0)],
        vec![json!("0"), json!(1_000_000_000), json!(0.0)],
    ] {
        let rules = weights(&written);
        for random in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            assert_eq!(pick(&rules, random), "v1", "{written:?}");
        }
    }
}

#[test]
fn maximum_number_of_maximum_weights_does_not_overflow() {
    let mut written = vec![json!("1G"); 255];
    written.push(json!("1n"));
    let rules = weights(&written);
    assert_eq!(pick(&rules, 0), "v0");
    assert_eq!(pick(&rules, 1 << 63), "v127");
    // A share of 4·10⁻²¹ is smaller than the share of one random number, 2⁻⁶⁴.
    assert_eq!(pick(&rules, u64::MAX), "v254");
}

#[test]
fn same_request_and_random_number_select_the_same_backend() {
    let (one, other) = (weights(&[json!(3), json!(4)]), weights(&[json!("3"), json!("4000m")]));
    for random in (0..64).map(|bit| 1 << bit) {
        assert_eq!(pick(&one, random), pick(&one, random));
        assert_eq!(pick(&one, random), pick(&other, random), "equal weights in different forms");
    }
}

#[test]
fn pick_names_split_backend_reason_cluster_and_counter() {
    let rules =
        rules(json!({"trafficSplits": [split("one", &[json!(1), json!(0)]), split("two", &[json!(0), json!(1)])]}));
    let Decision::Backend(pick) = rules.decide(&FakeRequest::to("two.ns:8080"), &mut FixedRandom::always(0)) else {
        panic!("no backend")
    };
    assert_eq!((pick.split, pick.backend, pick.reason), ("ns/two-split", "v1", Reason::Random));
    assert_eq!(pick.cluster, "outbound|8080||v1.ns.svc.cluster.local");
    assert_eq!(pick.counter(), "traffic_split_requests.split=.=ns/two-split;.;backend=.=v1;.;reason=.=random;.;");
}

#[test]
fn request_that_is_not_split_has_a_reason() {
    let configuration = json!({
        "excludedNamespaces": ["kube-system"],
        "trafficSplits": [split("root", &[json!(1)])],
        "services": {"ns/root": {"ports": [81, 82]}, "ns/v0": {"ports": [82]}},
    });
    let configuration = Configuration::from_value(&configuration).expect("a configuration");
    let rules = Rules::new(&configuration, Some("curl"));
    for (authority, why) in [
        ("other.ns", RootReason::NoSplit),
        ("", RootReason::NoSplit),
        ("root.ns", RootReason::NoPort),
        ("root.ns:83", RootReason::NoPort),
        ("root.ns:x", RootReason::NoPort),
        ("root.ns:81", RootReason::NoBackend),
    ] {
        assert_eq!(
            rules.decide(&FakeRequest::to(authority), &mut FixedRandom::always(0)),
            Decision::Root(why),
            "{authority}"
        );
    }
    let excluded = Rules::new(&configuration, Some("kube-system"));
    assert_eq!(
        excluded.decide(&FakeRequest::to("root.ns:82"), &mut FixedRandom::always(0)),
        Decision::Root(RootReason::Excluded)
    );
}

/// Each read may cost a hostcall.
#[test]
fn only_the_values_that_decide_are_read_from_a_request() {
    let reads = |rules: &Rules, authority| {
        let (request, mut random) = (FakeRequest::to(authority), FixedRandom::always(0));
        _ = rules.decide(&request, &mut random);
        (request.headers_read().len(), request.ports_read(), random.numbers_read())
    };
    assert_eq!(reads(&rules(json!({})), "root.ns"), (0, 0, 0), "no splits");
    let rules = weights(&[json!(1)]);
    assert_eq!(reads(&rules, "other.ns"), (1, 0, 0), "no split");
    assert_eq!(reads(&rules, "root.ns:80"), (1, 0, 1), "the port is in the authority");
    assert_eq!(reads(&rules, "root.ns"), (1, 1, 1));
    let rules = several_ports(&[80, 81]);
    assert_eq!(reads(&rules, "root.ns:81"), (1, 0, 1), "the port is in the authority");
    assert_eq!(reads(&rules, "root.ns"), (3, 1, 1), "the default port depends on x-forwarded-proto, else on :scheme");
}

/// Returns the rules of a split whose root has these ports.
fn several_ports(ports: &[u16]) -> Rules {
    rules(json!({"trafficSplits": [split("root", &[json!(1)])], "services": {"ns/root": {"ports": ports}}}))
}

#[test]
fn default_port_is_that_of_the_clients_scheme() {
    let both = several_ports(&[80, 81, 443]);
    let port =
        |rules: &Rules, headers: &[(&str, &str)]| rules.explain(&FakeRequest::to("root.ns").headers(headers)).port;
    for (headers, expected) in [
        (&[][..], 80),
        (&[(":scheme", "http")], 80),
        (&[(":scheme", "https")], 443),
        (&[("x-forwarded-proto", "https")], 443),
        (&[("x-forwarded-proto", "HTTPS")], 443),
        (&[("x-forwarded-proto", "http"), (":scheme", "https")], 80),
        (&[("x-forwarded-proto", "https"), (":scheme", "http")], 443),
        (&[("x-forwarded-proto", "https,http")], 80),
    ] {
        assert_eq!(port(&both, headers), Some(expected), "{headers:?}");
    }
    assert_eq!(port(&several_ports(&[81, 443]), &[]), None, "443 is no default of http");
    assert_eq!(port(&several_ports(&[80, 81]), &[(":scheme", "https")]), None, "80 is no default of https");
    let on_81 = FakeRequest::to("root.ns").header(":scheme", "https").destination_port(81);
    assert_eq!(both.explain(&on_81).port, Some(81), "the connection precedes the scheme");
    assert_eq!(several_ports(&[82]).explain(&on_81).port, Some(82), "the only port precedes the scheme");
}

#[test]
fn trace_names_the_rule_that_determines_the_port() {
    let configuration = json!({
        "trafficSplits": [split("root", &[json!(1)])], "services": {"ns/root": {"ports": [80, 81, 443]}},
        "hosts": {"shop.example.com": "ns/root", "81.example.com": {"service": "ns/root", "port": 81}},
    });
    let rules = rules(configuration);
    for (authority, scheme, destination, expected) in [
        ("root.ns:81", "http", 80, (GivenPort::Host(81), Some(PortRule::Host))),
        ("root.ns:82", "http", 80, (GivenPort::Host(82), Some(PortRule::Connection))),
        ("root.ns:82", "http", 82, (GivenPort::Host(82), Some(PortRule::HttpDefault))),
        ("root.ns", "https", 82, (GivenPort::None, Some(PortRule::HttpsDefault))),
        ("root.ns:x", "http", 80, (GivenPort::Invalid, None)),
        ("shop.example.com:81", "http", 82, (GivenPort::Configured(None), Some(PortRule::HttpDefault))),
        ("81.example.com:80", "http", 80, (GivenPort::Configured(Some(81)), Some(PortRule::Configured))),
    ] {
        let request = FakeRequest::to(authority).header(":scheme", scheme).destination_port(destination);
        let trace = rules.explain(&request);
        assert_eq!((trace.given_port, trace.port_rule), (Some(expected.0), expected.1), "{authority} {destination}");
    }
    let only = several_ports(&[8080]);
    assert_eq!(only.explain(&FakeRequest::to("root.ns:81")).port_rule, Some(PortRule::OnlyPort));
}

/// The root is looked up in a map by host. The benchmark measures how long that takes.
#[test]
fn each_of_ten_thousand_roots_has_its_own_split() {
    let mut splits: Vec<_> = (0..10_000).map(|n| split(&format!("root-{n}"), &[json!(1)])).collect();
    splits.push(split("root", &[json!(0), json!(1)]));
    let rules = rules(json!({ "trafficSplits": splits }));
    let request = FakeRequest::to("root.ns");
    assert!(matches!(
        rules.decide(&request, &mut FixedRandom::always(0)),
        Decision::Backend(Pick { split: "ns/root-split", backend: "v1", .. })
    ));
    assert_eq!(request.headers_read().len(), 1);
    let Decision::Backend(pick) = rules.decide(&FakeRequest::to("root-9999.ns"), &mut FixedRandom::always(0)) else {
        panic!("no backend")
    };
    assert_eq!(pick.split, "ns/root-9999-split");
}

/// The configurations of two listeners alternate in one VM, and splits are added, changed and removed.
#[test]
fn rules_that_share_memory_decide_like_rules_without_sharing() {
    let of = |turn: usize, listener: &str| {
        let splits: Vec<_> = (0..40)
            .filter(|n| !(n + turn).is_multiple_of(7))
            .map(|n| split(&format!("{listener}-{n}"), &[json!(1 + (n * turn) % 3), json!((n + turn) % 2)]))
            .collect();
        let ports = if turn.is_multiple_of(3) { json!([80]) } else { json!([80, 81]) };
        Configuration::from_value(&json!({
            "trafficSplits": splits,
            "clusterDomain": if turn.is_multiple_of(5) { "other.local" } else { "cluster.local" },
            "services": {format!("ns/{listener}-1"): {"ports": ports}},
            "hosts": {format!("{listener}.example"): format!("ns/{listener}-2")},
        }))
        .expect("a configuration")
    };
    let mut all: Vec<(Rules, Rules)> = Vec::new();
    for turn in 0..24 {
        let configuration = of(turn / 2, ["a", "b"][turn % 2]);
        let namespace = Some(if turn.is_multiple_of(11) { "ns" } else { "curl" });
        let shared = Rules::sharing(&configuration, namespace, all.iter().rev().map(|(shared, _)| shared));
        all.push((shared, Rules::new(&configuration, namespace)));
        for (shared, own) in &all {
            for root in 0..40 {
                for host in [format!("a-{root}.ns:80"), format!("b-{root}.ns.svc.other.local:81"), format!("a-{root}")]
                {
                    let host = &*host.leak();
                    let [one, other] = [shared, own]
                        .map(|rules| rules.decide(&FakeRequest::to(host), &mut FixedRandom::always(1 << 62)));
                    assert_eq!(one, other, "turn {turn}: {host}");
                }
            }
            let [one, other] =
                [shared, own].map(|rules| rules.decide(&FakeRequest::to("b.example"), &mut FixedRandom::always(7)));
            assert_eq!(one, other, "turn {turn}");
        }
    }
}

#[test]
fn counter_id_survives_changes_of_weights_and_of_other_splits() {
    let of = |weight: u32, others: u32| {
        let others = (0..others).map(|n| split(&format!("other-{n}"), &[json!(1)]));
        let splits: Vec<_> = [split("root", &[json!(weight)])].into_iter().chain(others).collect();
        Configuration::from_value(&json!({ "trafficSplits": splits })).expect("a configuration")
    };
    let old = Rules::new(&of(1, 3), None);
    let Decision::Backend(pick) = old.decide(&FakeRequest::to("root.ns"), &mut FixedRandom::always(0)) else {
        panic!("no backend")
    };
    assert_eq!(pick.counter_id(), None);
    pick.set_counter_id(7);
    let new = Rules::sharing(&of(2, 5), None, [&old]);
    let Decision::Backend(pick) = new.decide(&FakeRequest::to("root.ns"), &mut FixedRandom::always(0)) else {
        panic!("no backend")
    };
    assert_eq!((pick.counter_id(), pick.reason), (Some(7), Reason::Random));
    let Decision::Backend(pick) = new.decide(&FakeRequest::to("other-1.ns"), &mut FixedRandom::always(0)) else {
        panic!("no backend")
    };
    assert_eq!(pick.counter_id(), None, "a backend of the same name in another split has its own counter");
}
