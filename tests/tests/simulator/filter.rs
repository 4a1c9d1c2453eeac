//! The compiled filter in the simulator: its effects on requests, its imports and exports, its memory, and generated
//! input.

use crate::FILTER;
use e2e::guide::Guide;
use e2e::is_share;
use fixtures::TrafficSplit;
use host_sim::{Error, LogLevel, Outcome, Simulator, Value};
use serde_json::json;

const CLUSTER: &str = "x-traffic-split-cluster";
const V1: &[u8] = b"outbound|14001||httpbin-v1.httpbin.svc.cluster.local";

/// Returns a split of `httpbin.httpbin` with these weights.
fn split(v1: u32, v2: u32) -> serde_json::Value {
    let split = TrafficSplit::new("http-split", "httpbin").version("v1alpha2").namespace("httpbin");
    split.backends(&[("httpbin-v1", v1), ("httpbin-v2", v2)]).build()
}

/// Returns a configuration with one split.
fn weights(v1: u32, v2: u32) -> String {
    json!({"trafficSplits": [split(v1, v2)]}).to_string()
}

/// Returns a configuration with `count` splits for the roots `root-0`, `root-1` and so on.
fn many_splits(count: u32, split: impl Fn(u32) -> serde_json::Value) -> String {
    let splits = (0..count).map(|n| {
        let mut split = split(n);
        split["metadata"]["name"] = json!(format!("split-{n}"));
        split["spec"]["service"] = json!(format!("root-{n}"));
        split
    });
    json!({"trafficSplits": splits.collect::<Vec<_>>()}).to_string()
}

fn start(configuration: impl AsRef<[u8]>) -> Simulator {
    Simulator::builder(&FILTER).configuration(configuration).start().expect("a start")
}

/// Sends a request to the root.
fn ask(simulator: &mut Simulator) -> Outcome {
    simulator.request().get("http://httpbin.httpbin:14001/json").send()
}

fn counter(backend: &str) -> String {
    format!("traffic_split_requests.split=.=httpbin/http-split;.;backend=.={backend};.;reason=.=random;.;")
}

#[test]
fn filter_imports_only_the_functions_it_uses() {
    let expected = [
        "env.proxy_define_metric",
        "env.proxy_get_buffer_bytes",
        "env.proxy_get_header_map_value",
        "env.proxy_get_property",
        "env.proxy_increment_metric",
        "env.proxy_log",
        "env.proxy_remove_header_map_value",
        "env.proxy_replace_header_map_value",
        "wasi_snapshot_preview1.environ_get",
        "wasi_snapshot_preview1.environ_sizes_get",
        "wasi_snapshot_preview1.fd_write",
        "wasi_snapshot_preview1.proc_exit",
        "wasi_snapshot_preview1.random_get",
    ];
    assert_eq!(FILTER.imports(), expected);
}

/// Each exported callback adds to the cost of every request. With the marker of ABI 0.2.1, Envoy clears its route
/// cache after a header changes; a filter of a later ABI must request that itself.
#[test]
fn filter_exports_only_needed_callbacks_and_the_abi_0_2_1_marker() {
    let expected = [
        "_initialize",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_memory_allocate",
        "proxy_on_request_headers",
    ];
    assert_eq!(FILTER.exports(), expected);
}

/// Regular expressions take the largest part; the size accounting takes 30 kB, the sharing of rules 20 kB.
#[test]
fn filter_is_under_350_kilobytes() {
    let size = std::fs::metadata(Guide::built().expect("a build").wasm).expect("a file").len();
    assert!(size < 350_000, "{size} bytes");
}

#[test]
fn root_request_gets_its_cluster_and_a_new_route_lookup() {
    let outcome = ask(&mut start(weights(1, 0)));
    assert_eq!(outcome.request_header(CLUSTER), Some(V1));
    assert!(outcome.route_cache_cleared);
}

#[test]
fn request_to_another_host_is_unchanged() {
    let mut simulator = start(weights(1, 0));
    let outcome = simulator.request().get("http://other.httpbin:14001/json").header("x-user", "7").send();
    let names: Vec<_> = outcome.request_headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&b":authority"[..], b":path", b":method", b":scheme", b"x-user"]);
    assert!(!outcome.route_cache_cleared);
    assert_eq!(simulator.metrics().len(), 0);
}

#[test]
fn client_cluster_header_is_overwritten_when_split_and_removed_otherwise() {
    let mut simulator = start(weights(1, 0));
    for name in [CLUSTER, "X-Traffic-Split-Cluster"] {
        let request = simulator.request().get("http://httpbin.httpbin:14001/json").header(name, "a").header(name, "b");
        assert_eq!(request.send().request_headers.get_all(CLUSTER).collect::<Vec<_>>(), [V1]);
        let request = simulator.request().get("http://other.httpbin:14001/json").header(name, "a").header(name, "b");
        let outcome = request.send();
        assert_eq!(outcome.request_header(CLUSTER), None);
        assert!(outcome.route_cache_cleared);
    }
}

#[test]
fn filter_does_not_remove_headers_that_envoy_removes() {
    let mut simulator = start(json!({"headersStripped": true, "trafficSplits": [split(1, 0)]}).to_string());
    let outcome = simulator.request().get("http://other.httpbin:14001/json").header(CLUSTER, "a").send();
    assert!(!outcome.route_cache_cleared);
    let outcome = simulator.request().get("http://httpbin.httpbin:14001/json").header(CLUSTER, "a").send();
    assert_eq!(outcome.request_headers.get_all(CLUSTER).collect::<Vec<_>>(), [V1]);
}

#[test]
fn configured_header_names_are_used() {
    let configuration = json!({"clusterHeader": "x-to", "backendHeader": "x-backend", "trafficSplits": [split(1, 0)]});
    let mut simulator = start(configuration.to_string());
    let request = simulator.request().get("http://httpbin.httpbin:14001/json").header("x-backend", "mine");
    let outcome = request.header(CLUSTER, "mine").send();
    assert_eq!(outcome.request_header("x-to"), Some(V1));
    assert_eq!(outcome.request_headers.get_all("x-backend").collect::<Vec<_>>(), [b"httpbin-v1"]);
    assert_eq!(outcome.request_header(CLUSTER), Some(&b"mine"[..]), "no header of ours");
}

#[test]
fn backend_header_is_written_only_when_configured() {
    let outcome = ask(&mut start(weights(1, 0)));
    assert_eq!(outcome.request_header("x-traffic-split-backend"), None);
}

#[test]
fn shares_follow_weights_for_every_seed() {
    for seed in 0..4 {
        let builder = Simulator::builder(&FILTER).seed(seed).configuration(weights(10, 90));
        let mut simulator = builder.start().expect("a start");
        let hits = (0..5000).filter(|_| ask(&mut simulator).request_header(CLUSTER) == Some(V1)).count() as u64;
        assert!(is_share(hits, 5000, 0.1, 4.0), "{hits} of 5000, seed {seed}");
    }
}

#[test]
fn workers_with_different_seeds_pick_in_different_orders() {
    let order = |seed| {
        let builder = Simulator::builder(&FILTER).seed(seed).configuration(weights(1, 1));
        let mut simulator = builder.start().expect("a start");
        (0..64).map(|_| ask(&mut simulator).request_header(CLUSTER) == Some(V1)).collect::<Vec<_>>()
    };
    assert_ne!(order(1), order(2));
}

#[test]
fn each_backend_counter_is_defined_once_per_vm() {
    let mut simulator = start(weights(1, 0));
    assert_eq!(simulator.metrics().len(), 0, "none before its first use");
    for round in 1..=20 {
        for (v1, v2) in [(1, 0), (0, 1)] {
            simulator.reconfigure(weights(v1, v2)).expect("a good configuration");
            _ = ask(&mut simulator);
        }
        for backend in ["httpbin-v1", "httpbin-v2"] {
            let metric = simulator.metric(&counter(backend)).expect(backend);
            assert_eq!((&metric.value, metric.definitions), (&Value::Counter(round), 1));
        }
    }
    assert_eq!(simulator.metrics().len(), 2);
}

#[test]
fn invalid_configuration_is_rejected_with_all_problems_and_the_old_one_serves() {
    let mut simulator = start(weights(1, 0));
    let mut wrong = split(1, 0);
    wrong["spec"]["backends"][1]["weight"] = json!(-5);
    let wrong = json!({"trafficSplits": [wrong], "colour": "blue"}).to_string();
    let Err(Error::Refused { logs, .. }) = simulator.reconfigure(wrong) else { panic!("it isn't refused") };
    let logs: Vec<_> = logs.iter().map(|log| (log.level, &log.message[..])).collect();
    assert_eq!(logs.len(), 2, "{logs:?}");
    let expected = (
        LogLevel::Error,
        "trafficSplits[0] httpbin/http-split: spec.backends[1].weight: -5 is negative; use 0 or more",
    );
    assert!(logs.contains(&expected), "{logs:?}");
    assert!(logs.iter().any(|(_, message)| message.contains("\"colour\" is unknown")), "{logs:?}");
    assert_eq!(ask(&mut simulator).request_header(CLUSTER), Some(V1));
    assert_eq!(simulator.root_contexts(), 1);
}

#[test]
fn empty_configuration_is_rejected_and_zero_splits_change_no_request() {
    for empty in ["", " ", "null", "[]"] {
        let started = Simulator::builder(&FILTER).configuration(empty).start();
        assert!(matches!(started, Err(Error::Refused { .. })), "{empty:?}");
    }
    let outcome = ask(&mut start("{}"));
    assert_eq!((outcome.request_header(CLUSTER), outcome.route_cache_cleared), (None, false));
}

#[test]
fn missing_weight_logs_a_warning() {
    let mut split = split(0, 1);
    split["spec"]["backends"][0].as_object_mut().expect("an object").remove("weight");
    let simulator = start(json!({"trafficSplits": [split]}).to_string());
    let logs: Vec<_> = simulator.logs().iter().map(|log| log.to_string()).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert!(logs[0].starts_with("[warning] trafficSplits[0] httpbin/http-split: spec.backends[0].weight"), "{logs:?}");
}

#[test]
fn client_namespace_comes_from_node_metadata_and_is_optional() {
    let ask = |builder: host_sim::Builder| {
        let mut simulator = builder.configuration(weights(1, 0)).start().expect("a start");
        simulator.request().get("http://httpbin:14001/").send().request_header(CLUSTER).is_some()
    };
    assert!(ask(Simulator::builder(&FILTER).node_metadata("NAMESPACE", "httpbin")));
    assert!(!ask(Simulator::builder(&FILTER).node_metadata("NAMESPACE", "curl")));
    assert!(!ask(Simulator::builder(&FILTER)));
    assert!(!ask(Simulator::builder(&FILTER).node_metadata("NAMESPACE", "")));
    assert!(!ask(Simulator::builder(&FILTER).property(&["xds", "node", "metadata", "NAMESPACE"], b"\xff")));
}

#[test]
fn invalid_destination_port_is_ignored() {
    let mut simulator = start(weights(1, 0));
    for port in [&b""[..], b"\x01", &70_000_u64.to_le_bytes(), &u64::MAX.to_le_bytes(), &[0; 8], &[0; 9]] {
        let request = simulator.request().get("http://httpbin.httpbin/").property(&["destination", "port"], port);
        let outcome = request.send();
        let cluster = outcome.request_header(CLUSTER).map(|cluster| String::from_utf8_lossy(cluster).into_owned());
        assert_eq!(cluster.as_deref(), Some("outbound|80||httpbin-v1.httpbin.svc.cluster.local"), "{port:?}");
    }
}

/// As many reloads as a control plane sends in a day: 500 splits with new weights each time, and requests in between.
#[test]
fn reloads_do_not_grow_memory() {
    let configuration = |round: u32| many_splits(500, |_| split(1 + round % 7, 1));
    let mut simulator = start(configuration(0));
    let mut grown = Vec::new();
    for round in 1..=30 {
        simulator.reconfigure(configuration(round)).expect("a good configuration");
        for n in (0..500).step_by(5) {
            let outcome = simulator.request().get(&format!("http://root-{n}.httpbin:14001/")).send();
            assert!(outcome.request_header(CLUSTER).is_some());
        }
        grown.push(simulator.memory_size());
    }
    assert_eq!(grown[9], grown[29], "{grown:?}");
}

/// A stream keeps the root context of its configuration while the weights change.
#[test]
fn streams_of_old_configurations_hold_the_memory_of_two() {
    for (splits, turns, every) in [(1_u32, 1000, 100), (200, 60, 20)] {
        let configuration = |turn: u32| many_splits(splits, |n| split(1, if n == 0 { turn } else { 1 }));
        let mut simulator = start(configuration(0));
        simulator.reconfigure(configuration(1)).expect("a good configuration");
        let two = simulator.memory_size();
        let mut streams = Vec::new();
        let mut curve = vec![two];
        for turn in 2..turns + 2 {
            streams.push(simulator.request().get("http://root-0.httpbin:14001/").open());
            simulator.reconfigure(configuration(turn)).expect("a good configuration");
            if turn % every == 0 {
                curve.push(simulator.memory_size());
            }
        }
        assert_eq!(simulator.root_contexts(), turns as usize + 1);
        println!("{splits} splits: {curve:?} bytes");
        let grown = simulator.memory_size() - two;
        assert!(grown <= two, "{grown} bytes more than {two}: {curve:?}");
        // The oldest configurations share rules with the newest ones.
        for stream in streams {
            assert!(simulator.stream(stream).finish().request_header(CLUSTER).is_some());
        }
        assert!(simulator.request().get("http://root-0.httpbin:14001/").send().request_header(CLUSTER).is_some());
    }
}

#[test]
fn generated_requests_never_stop_the_filter() {
    let mut simulator = start(json!({"backendHeader": "x-b", "trafficSplits": [split(1, 1)]}).to_string());
    let mut random = fastrand::Rng::with_seed(7);
    let bytes = |random: &mut fastrand::Rng| {
        let size = random.usize(..40);
        (0..size).map(|_| random.u8(..)).collect::<Vec<_>>()
    };
    for _ in 0..5000 {
        // Similar to the expected value, or random bytes.
        let mut authority = if random.bool() { b"httpbin.httpbin:14001".to_vec() } else { bytes(&mut random) };
        for _ in 0..random.usize(..3) {
            let at = random.usize(..=authority.len());
            authority.splice(at..at, bytes(&mut random));
        }
        let request = simulator.request().authority(&authority).header(CLUSTER, bytes(&mut random));
        let request = request.header("cookie", bytes(&mut random)).header(bytes(&mut random), bytes(&mut random));
        let outcome = request.property(&["destination", "port"], bytes(&mut random)).send();
        assert_eq!((outcome.trap, outcome.local_response), (None, None), "{}", authority.escape_ascii());
    }
    for value in [&b"\xff\xfe"[..], b"\0", b""] {
        let request = simulator.request().get("http://httpbin.httpbin:14001/").header("cookie", value);
        assert!(request.header("x-user", value).send().request_header(CLUSTER).is_some());
    }
}

#[test]
fn generated_configurations_never_stop_the_filter() {
    let good = json!({
        "clusterHeader": "x-to", "cluster": "{namespace}/{service}|{port}", "clusterDomain": "example.org",
        "namespace": "curl", "excludedNamespaces": ["a"], "backendHeader": "x-b", "headersStripped": true,
        "trafficSplits": [split(1, 2)], "httpRouteGroups": [], "hosts": {"shop.example.com": "httpbin/httpbin"},
        "services": {"httpbin/httpbin": {"ports": [14001]},
                     "httpbin/httpbin-v1": {"ports": {"14001": "8080"}, "cluster": "c"}}
    })
    .to_string()
    .into_bytes();
    let mut simulator = start(&good);
    let mut random = fastrand::Rng::with_seed(11);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..3000 {
        let mut configuration = good.clone();
        for _ in 0..random.usize(1..4) {
            let (at, until) = (random.usize(..configuration.len()), random.usize(..configuration.len()));
            match random.u8(..4) {
                0 => configuration[at] = random.u8(..),
                1 => configuration.truncate(at + 1),
                2 => _ = configuration.remove(at),
                // Copy a part to another place.
                _ => {
                    let piece = configuration[at.min(until)..at.max(until)].to_vec();
                    configuration.splice(at..at, piece);
                }
            }
        }
        match simulator.reconfigure(&configuration) {
            Ok(()) => taken += 1,
            Err(Error::Refused { logs, .. }) => {
                assert!(!logs.is_empty());
                refused += 1;
            }
            Err(other) => panic!("{}: {other}", configuration.escape_ascii()),
        }
    }
    // The generator creates both kinds.
    assert!(taken > 20 && refused > 1000, "{taken} taken, {refused} refused");
    simulator.reconfigure(&good).expect("a good configuration");
    assert!(!simulator.has_failed());
}

#[test]
fn configuration_log_is_bounded_however_many_problems() {
    let mut simulator = start(weights(1, 0));
    let wrong = json!({"trafficSplits": vec![json!({}); 5000]}).to_string();
    let Err(Error::Refused { logs, .. }) = simulator.reconfigure(wrong) else { panic!("a wrong configuration") };
    assert_eq!(logs.len(), 21, "twenty problems, and how many more");
    assert!(logs[20].message.ends_with("and 981 more; run `traffic-split check` to list all"), "{:?}", logs[20]);
}

#[test]
fn deep_or_large_configurations_are_rejected_without_a_trap() {
    let mut simulator = start(weights(1, 0));
    let deep = "[".repeat(100_000);
    let in_a_split = format!(r#"{{"trafficSplits": [{{"metadata": {deep}"#);
    let long_name = json!({"trafficSplits": [], "namespace": "n".repeat(1_000_000)}).to_string();
    for configuration in [deep, in_a_split, long_name] {
        assert!(matches!(simulator.reconfigure(configuration), Err(Error::Refused { .. })));
    }
    assert_eq!(ask(&mut simulator).request_header(CLUSTER), Some(V1));
}
