//! Options in annotations: override header, sticky header, sticky cookie and mirror.

use serde_json::{Value, json};
use std::borrow::Cow;
use traffic_split::{Configuration, DecidedBy, Decision, Pick, RandomSource, Reason, Request, RootReason, Rules};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A request to `root.ns:80` with these headers.
struct FakeRequest<'a>(&'a [(&'a str, &'a [u8])]);

impl Request for FakeRequest<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let authority = [(":authority", &b"root.ns:80"[..])];
        let mut all = authority.iter().chain(self.0);
        all.find(|(own, _)| *own == name).map(|(_, value)| Cow::Borrowed(*value))
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }
}

/// A random source that returns these numbers in order and this id, and counts the requests for ids.
struct QueuedRandom {
    numbers: Vec<u64>,
    id: Option<[u8; 16]>,
    id_calls: usize,
}

impl RandomSource for QueuedRandom {
    fn number(&mut self) -> u64 {
        self.numbers.remove(0)
    }

    fn id(&mut self) -> Option<[u8; 16]> {
        self.id_calls += 1;
        self.id
    }
}

fn numbers(numbers: &[u64]) -> QueuedRandom {
    QueuedRandom { numbers: numbers.into(), id: None, id_calls: 0 }
}

/// Returns rules with one split of `root.ns`. The annotations lack their prefix.
fn rules(annotations: Value, backends: &[(&str, u64)]) -> Rules {
    rules_with(annotations, backends, json!({}))
}

fn rules_with(annotations: Value, backends: &[(&str, u64)], services: Value) -> Rules {
    let annotations = annotations.as_object().expect("an object").iter();
    let annotations: Value = annotations.map(|(key, value)| (format!("traffic-split/{key}"), value.clone())).collect();
    let backends: Vec<_> =
        backends.iter().map(|(service, weight)| json!({"service": service, "weight": weight})).collect();
    let configuration = json!({"trafficSplits": [{
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"name": "s", "namespace": "ns", "annotations": annotations},
        "spec": {"service": "root", "backends": backends},
    }], "services": services});
    let configuration = Configuration::from_value(&configuration);
    Rules::new(&configuration.unwrap_or_else(|problems| panic!("{problems:#?}")), None)
}

fn pick<'r>(rules: &'r Rules, headers: &[(&str, &[u8])], mut random: QueuedRandom) -> Pick<'r> {
    match rules.decide(&FakeRequest(headers), &mut random) {
        Decision::Backend(pick) => {
            assert!(random.numbers.is_empty(), "unused random numbers");
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
        let pick = pick(&rules, &[("x-backend", backend.as_bytes())], numbers(&[]));
        assert_eq!((pick.backend, pick.reason), (backend, Reason::Override));
        assert_eq!(pick.cluster, format!("outbound|80||{backend}.ns.svc.cluster.local"));
    }
    for other in [&b"v3"[..], b"V2", b"v2 ", b"v2.ns", b"root", b"", b"\xff", b"v1,v2"] {
        let pick = pick(&rules, &[("x-backend", other)], numbers(&[0]));
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
        values.into_iter().find(|value| pick(&rules, &[user(value)], numbers(&[])).backend == backend).expect("one")
    };
    let (one, two) = (of("v1"), of("v2"));
    let cookie = [b"c=", two].concat();
    let pick = |headers: &[(&str, &[u8])]| {
        let pick = pick(&rules, headers, numbers(&[]));
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
            assert_eq!(pick(&rules, &[("x-user", &value), ("cookie", &cookie)], numbers(&[])).backend, "v2");
        }
    }
}

#[test]
fn request_without_the_sticky_header_is_selected_at_random() {
    let rules = rules(json!({"sticky-header": "x-user"}), V1_V2);
    for headers in [&[][..], &[("x-user", &b""[..])]] {
        let pick = pick(&rules, headers, numbers(&[u64::MAX]));
        assert_eq!((pick.backend, pick.reason, pick.set_cookie), ("v2", Reason::Random, None));
    }
}

#[test]
fn new_sticky_cookie_selects_the_same_backend_on_the_next_request() {
    let rules = rules(json!({"sticky-cookie": "canary", "sticky-cookie-attributes": "Path=/; Secure"}), V1_V2);
    let mut seen = Vec::new();
    for number in 0..32 {
        let id = [number; 16];
        let random = QueuedRandom { id: Some(id), ..numbers(&[]) };
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
            let next = pick(&rules, &[("cookie", cookie.as_bytes())], numbers(&[]));
            assert_eq!((next.backend, next.reason, next.set_cookie), (first.backend, Reason::Sticky, None));
        }
        seen.push(first.backend);
    }
    assert!(seen.contains(&"v1") && seen.contains(&"v2"));
    let id = QueuedRandom { id: Some([0xff; 16]), ..numbers(&[]) };
    let set_cookie = pick(&rules, &[], id).set_cookie;
    assert_eq!(set_cookie.as_deref(), Some("canary=_____________________w; Path=/; Secure"), "base64url, unpadded");
}

#[test]
fn without_random_bytes_no_cookie_is_set_and_selection_is_random() {
    let rules = rules(json!({"sticky-cookie": "canary"}), V1_V2);
    let pick = pick(&rules, &[], numbers(&[0]));
    assert_eq!((pick.backend, pick.reason, pick.set_cookie), ("v1", Reason::Random, None));
}

#[test]
fn request_without_a_weighted_backend_needs_no_random_id() {
    let services = json!({"ns/root": {"ports": [80]}, "ns/v1": {"ports": [81]}});
    let rules = rules_with(json!({"sticky-cookie": "canary"}), &[("v1", 1), ("v2", 0)], services);
    let mut random = numbers(&[]);
    assert_eq!(rules.decide(&FakeRequest(&[]), &mut random), Decision::Root(RootReason::NoBackend));
    assert_eq!(random.id_calls, 0);
}

#[test]
fn backend_without_the_port_receives_neither_overrides_nor_copies() {
    let services = json!({"ns/root": {"ports": [80]}, "ns/v2": {"ports": [81]}});
    let rules = rules_with(json!({"override-header": "x-b", "mirror": "v2=100"}), V1_V2, services);
    let pick = pick(&rules, &[("x-b", b"v2")], numbers(&[u64::MAX]));
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
        let served = pick(&rules, &[], numbers(&[0, random]));
        assert_eq!(served.backend, "v1");
        let cluster = copied.then_some("outbound|80||v2.ns.svc.cluster.local");
        assert_eq!(served.mirror.as_deref(), cluster, "{mirror} {random}");
        // A request that v2 serves is never copied to v2, so no second number is read.
        let served = pick(&rules, &[], numbers(&[u64::MAX]));
        assert_eq!((served.backend, served.mirror), ("v2", None));
    }
}

/// A request with a body.
struct WithBody<'a>(FakeRequest<'a>);

impl Request for WithBody<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.header(name)
    }

    fn destination_port(&self) -> Option<u16> {
        None
    }

    fn has_body(&self) -> bool {
        true
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
        let decision = rules.decide(&WithBody(FakeRequest(headers)), &mut numbers(&[0, 0]));
        let Decision::Backend(pick) = decision else { panic!("no backend") };
        assert_eq!(pick.mirror.is_some(), copied, "{headers:?}");
    }
}

#[test]
fn explanation_agrees_with_the_decision() {
    let all = json!({"override-header": "x-b", "sticky-header": "x-user", "sticky-cookie": "c", "mirror": "v3=10"});
    let rules = rules(all, &[("v1", 3), ("v2", 1), ("v3", 0)]);
    let explain = |headers: &[(&str, &[u8])]| {
        let trace = rules.explain(&FakeRequest(headers));
        assert_eq!((trace.split, trace.matched, trace.port), (Some("ns/s"), None, Some(80)));
        let shares: Vec<_> = trace.shares.iter().map(|share| (share.backend, share.share)).collect();
        assert_eq!(shares, [("v1", 0.75), ("v2", 0.25), ("v3", 0.0)]);
        assert_eq!(trace.mirror.map(|(backend, percent)| (backend, percent.to_string())), Some(("v3", "10".into())));
        (trace.certain.map(|certain| (certain.backend, certain.reason, certain.decided_by)), trace.new_cookie)
    };
    let header = |name, value: &str| DecidedBy::Header(name, value.into());
    assert_eq!(explain(&[("x-b", b"v3")]), (Some(("v3", Reason::Override, header("x-b", "v3"))), None));
    let backend = pick(&rules, &[("x-user", b"alice")], numbers(&[0])).backend;
    assert_eq!(explain(&[("x-user", b"alice")]), (Some((backend, Reason::Sticky, header("x-user", "alice"))), None));
    let cookie = DecidedBy::Cookie("c", b"alice".into());
    assert_eq!(explain(&[("cookie", b"a=b; c=\"alice\"")]), (Some((backend, Reason::Sticky, cookie)), None));
    assert_eq!(explain(&[]), (None, Some("c")));
}
