//! Options in annotations: override header, sticky header, sticky cookie and mirror.

use fixtures::{FakeRequest, FixedRandom, TrafficSplit};
use serde_json::{Value, json};
use traffic_split::{Configuration, DecidedBy, Decision, Pick, Reason, RootReason, Rules};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Returns a request to `root.ns:80` with these headers.
fn request(headers: &[(&str, &[u8])]) -> FakeRequest {
    FakeRequest::to("root.ns:80").headers(headers)
}

/// Returns rules with one split of `root.ns`. The annotations lack their prefix.
fn rules(annotations: Value, backends: &[(&str, u64)]) -> Rules {
    rules_with(annotations, backends, json!({}))
}

fn rules_with(annotations: Value, backends: &[(&str, u64)], services: Value) -> Rules {
    let mut split = TrafficSplit::new("s", "root").backends(backends);
    for (name, value) in annotations.as_object().expect("an object") {
        split = split.annotation(name, value.clone());
    }
    let configuration = json!({"trafficSplits": [split.build()], "services": services});
    let configuration = Configuration::from_value(&configuration);
    Rules::new(&configuration.unwrap_or_else(|problems| panic!("{problems:#?}")), None)
}

fn pick<'r>(rules: &'r Rules, headers: &[(&str, &[u8])], mut random: FixedRandom) -> Pick<'r> {
    match rules.decide(&request(headers), &mut random) {
        Decision::Backend(pick) => {
            assert!(random.is_used_up(), "unused random numbers");
            pick
        }
        Decision::Root(why) => panic!("{why:?}"),
    }
}

const V1_V2: &[(&str, u64)] = &[("v1", 1), ("v2", 1)];

#[test]
fn override_selects_backend_of_any_weight_and_ignores_other_values() {
    let rules = rules(json!({"override-header": "X-Backend"}), &[("v1", 1), ("v2", 0)]);
    for backend in ["v1", "v2"] {
        let pick = pick(&rules, &[("x-backend", backend.as_bytes())], FixedRandom::queue(&[]));
        assert_eq!((pick.backend, pick.reason), (backend, Reason::Override));
        assert_eq!(pick.cluster, format!("outbound|80||{backend}.ns.svc.cluster.local"));
    }
    for other in [&b"v3"[..], b"V2", b"v2 ", b"v2.ns", b"root", b"", b"\xff", b"v1,v2"] {
        let pick = pick(&rules, &[("x-backend", other)], FixedRandom::queue(&[0]));
        assert_eq!((pick.backend, pick.reason), ("v1", Reason::Random), "{}", other.escape_ascii());
    }
}

#[test]
fn override_precedes_sticky_header_which_precedes_sticky_cookie() {
    let all = json!({"override-header": "x-backend", "sticky-header": "x-user", "sticky-cookie": "c"});
    let rules = rules(all, V1_V2);
    let user = |value: &'static [u8]| ("x-user", value);
    // A sticky value that selects the backend.
    let of = |backend| {
        let values: [&'static [u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
        values
            .into_iter()
            .find(|value| pick(&rules, &[user(value)], FixedRandom::queue(&[])).backend == backend)
            .expect("one")
    };
    let (one, two) = (of("v1"), of("v2"));
    let cookie = [b"c=", two].concat();
    let pick = |headers: &[(&str, &[u8])]| {
        let pick = pick(&rules, headers, FixedRandom::queue(&[]));
        (pick.backend.to_owned(), pick.reason, pick.set_cookie)
    };
    let backend: (&str, &[u8]) = ("x-backend", b"v2");
    assert_eq!(pick(&[backend, user(one), ("cookie", b"c=x")]), ("v2".into(), Reason::Override, None));
    assert_eq!(pick(&[user(one), ("cookie", &cookie)]), ("v1".into(), Reason::Sticky, None));
    assert_eq!(pick(&[("cookie", &cookie)]), ("v2".into(), Reason::Sticky, None));
    assert_eq!(
        pick(&[user(b""), ("cookie", &cookie)]),
        ("v2".into(), Reason::Sticky, None),
        "an empty value counts as absent"
    );
}

#[test]
fn weight_zero_receives_no_traffic_even_when_sticky() {
    for annotation in [json!({"sticky-header": "x-user"}), json!({"sticky-cookie": "x-user"})] {
        let rules = rules(annotation, &[("v1", 0), ("v2", 1), ("v3", 0)]);
        for user in 0..500 {
            let (value, cookie) = (format!("{user}").into_bytes(), format!("x-user={user}").into_bytes());
            assert_eq!(pick(&rules, &[("x-user", &value), ("cookie", &cookie)], FixedRandom::queue(&[])).backend, "v2");
        }
    }
}

#[test]
fn request_without_the_sticky_header_is_selected_at_random() {
    let rules = rules(json!({"sticky-header": "x-user"}), V1_V2);
    for headers in [&[][..], &[("x-user", &b""[..])]] {
        let pick = pick(&rules, headers, FixedRandom::queue(&[u64::MAX]));
        assert_eq!((pick.backend, pick.reason, pick.set_cookie), ("v2", Reason::Random, None));
    }
}

#[test]
fn new_sticky_cookie_selects_the_same_backend_on_the_next_request() {
    let rules = rules(json!({"sticky-cookie": "canary", "sticky-cookie-attributes": "Path=/; Secure"}), V1_V2);
    let mut seen = Vec::new();
    for number in 0..32 {
        let id = [number; 16];
        let random = FixedRandom::queue(&[]).id(id);
        let first = pick(&rules, &[("cookie", b"other=1")], random);
        assert_eq!(first.reason, Reason::Sticky);
        let set_cookie = first.set_cookie.expect("a cookie");
        let (pair, attributes) = set_cookie.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/; Secure");
        let value = pair.strip_prefix("canary=").expect("its name");
        assert!(
            value.len() == 22 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "{value}"
        );
        for cookie in [pair.to_owned(), format!("a=b; canary=\"{value}\"; c"), format!("\u{fffd}; {pair}")] {
            let next = pick(&rules, &[("cookie", cookie.as_bytes())], FixedRandom::queue(&[]));
            assert_eq!((next.backend, next.reason, next.set_cookie), (first.backend, Reason::Sticky, None));
        }
        seen.push(first.backend);
    }
    assert!(seen.contains(&"v1") && seen.contains(&"v2"));
    let id = FixedRandom::queue(&[]).id([0xff; 16]);
    let set_cookie = pick(&rules, &[], id).set_cookie;
    assert_eq!(set_cookie.as_deref(), Some("canary=_____________________w; Path=/; Secure"), "base64url, unpadded");
}

#[test]
fn without_random_bytes_no_cookie_is_set_and_selection_is_random() {
    let rules = rules(json!({"sticky-cookie": "canary"}), V1_V2);
    let pick = pick(&rules, &[], FixedRandom::queue(&[0]));
    assert_eq!((pick.backend, pick.reason, pick.set_cookie), ("v1", Reason::Random, None));
}

#[test]
fn request_without_a_weighted_backend_needs_no_random_id() {
    let services = json!({"ns/root": {"ports": [80]}, "ns/v1": {"ports": [81]}});
    let rules = rules_with(json!({"sticky-cookie": "canary"}), &[("v1", 1), ("v2", 0)], services);
    let mut random = FixedRandom::queue(&[]);
    assert_eq!(rules.decide(&request(&[]), &mut random), Decision::Root(RootReason::NoBackend));
    assert_eq!(random.ids_read(), 0);
}

#[test]
fn backend_without_the_port_receives_neither_overrides_nor_copies() {
    let services = json!({"ns/root": {"ports": [80]}, "ns/v2": {"ports": [81]}});
    let rules = rules_with(json!({"override-header": "x-b", "mirror": "v2=100"}), V1_V2, services);
    let pick = pick(&rules, &[("x-b", b"v2")], FixedRandom::queue(&[u64::MAX]));
    assert_eq!((pick.backend, pick.reason, pick.mirror), ("v1", Reason::Random, None));
}

#[test]
fn mirror_receives_its_percentage_of_requests_it_does_not_serve() {
    let rules = |mirror: &str| rules(json!({"mirror": mirror}), V1_V2);
    let tenth = u64::MAX / 10;
    for (mirror, random, copied) in [
        ("v2=10", 0, true),
        ("v2=10", tenth, true),
        ("v2=10", tenth + 1, false),
        ("v2=100", u64::MAX, true),
        ("v2=0", 0, false),
        ("v2=0.000000001", 0, true),
        ("v2=0.000000001", tenth, false),
    ] {
        let rules = rules(mirror);
        // The first number selects v1.
        let served = pick(&rules, &[], FixedRandom::queue(&[0, random]));
        assert_eq!(served.backend, "v1");
        let cluster = copied.then_some("outbound|80||v2.ns.svc.cluster.local");
        assert_eq!(served.mirror.as_deref(), cluster, "{mirror} {random}");
        // A request that v2 serves is never copied to v2, so no second number is read.
        let served = pick(&rules, &[], FixedRandom::queue(&[u64::MAX]));
        assert_eq!((served.backend, served.mirror), ("v2", None));
    }
}

/// Envoy forwards a body no faster than the slower of both upstreams reads it.
#[test]
fn request_whose_body_a_slow_mirror_could_delay_is_not_copied() {
    let rules = rules(json!({"mirror": "v2=100"}), &[("v1", 1), ("v2", 0)]);
    for (headers, copied) in [
        (&[("content-length", &b"1048576"[..])][..], true),
        (&[("content-length", b"1048577")], false),
        (&[("content-length", b"99999999999999999999")], false),
        (&[("content-length", b"x")], false),
        (&[], false),
        (&[("content-type", b"application/grpc+proto")], true),
        (&[("content-type", b"application/json")], false),
    ] {
        let decision = rules.decide(&request(headers).body(), &mut FixedRandom::queue(&[0, 0]));
        let Decision::Backend(pick) = decision else { panic!("no backend") };
        assert_eq!(pick.mirror.is_some(), copied, "{headers:?}");
    }
}

#[test]
fn explanation_agrees_with_the_decision() {
    let all = json!({"override-header": "x-b", "sticky-header": "x-user", "sticky-cookie": "c", "mirror": "v3=10"});
    let rules = rules(all, &[("v1", 3), ("v2", 1), ("v3", 0)]);
    let explain = |headers: &[(&str, &[u8])]| {
        let trace = rules.explain(&request(headers));
        assert_eq!((trace.split, trace.matched, trace.port), (Some("ns/s"), None, Some(80)));
        let shares: Vec<_> = trace.shares.iter().map(|share| (share.backend, share.share)).collect();
        assert_eq!(shares, [("v1", 0.75), ("v2", 0.25), ("v3", 0.0)]);
        assert_eq!(trace.mirror.map(|(backend, percent)| (backend, percent.to_string())), Some(("v3", "10".into())));
        (trace.certain.map(|certain| (certain.backend, certain.reason, certain.decided_by)), trace.new_cookie)
    };
    let header = |name, value: &str| DecidedBy::Header(name, value.into());
    assert_eq!(explain(&[("x-b", b"v3")]), (Some(("v3", Reason::Override, header("x-b", "v3"))), None));
    let backend = pick(&rules, &[("x-user", b"alice")], FixedRandom::queue(&[0])).backend;
    assert_eq!(explain(&[("x-user", b"alice")]), (Some((backend, Reason::Sticky, header("x-user", "alice"))), None));
    let cookie = DecidedBy::Cookie("c", b"alice".into());
    assert_eq!(explain(&[("cookie", b"a=b; c=\"alice\"")]), (Some((backend, Reason::Sticky, cookie)), None));
    assert_eq!(explain(&[]), (None, Some("c")));
}
