//! Each host function that the filter imports fails with each status, at each point of a VM's life. No failure traps, and
//! each request goes to an allowed backend or to the root.

use crate::FILTER;
use fixtures::{TrafficSplit, route_group};
use host_sim::{Error, HeaderMatch, Mirror, Outcome, Route, RouteTable, Simulator, Status, VirtualHost};
use serde_json::json;

/// The imports that return a status.
const FAILING: [&str; 12] = [
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
    "wasi_snapshot_preview1.random_get",
];
/// The import that returns nothing, so it cannot fail.
const WITHOUT_STATUS: &str = "wasi_snapshot_preview1.proc_exit";

/// Success without a value; the statuses of the ABI; WASI's `notcapable`, which Envoy returns for a restricted function;
/// and numbers that name no status.
const STATUSES: [u32; 18] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 76, 255, 65_536, u32::MAX];

const ROOT: &[u8] = b"root";
const FORGED: &[u8] = b"forged";
const CLUSTER: &str = "x-traffic-split-cluster";
const MIRROR: &str = "x-traffic-split-mirror";
const SET_COOKIE: &str = "x-traffic-split-set-cookie";

/// A kind of request: the root Service that it calls, its headers, and whether the root has a split.
struct Kind {
    service: &'static str,
    headers: &'static [(&'static str, &'static str)],
    is_split: bool,
}

const KINDS: [Kind; 8] = [
    Kind { service: "weights", headers: &[], is_split: true },
    Kind { service: "override", headers: &[("x-version", "v2")], is_split: true },
    Kind { service: "sticky", headers: &[("x-user", "alice")], is_split: true },
    Kind { service: "cookie", headers: &[("cookie", "a=b; user=alice")], is_split: true },
    Kind { service: "cookie", headers: &[], is_split: true },
    Kind { service: "matches", headers: &[("x-tester", "yes")], is_split: true },
    Kind { service: "mirror", headers: &[], is_split: true },
    Kind { service: "other", headers: &[], is_split: false },
];

/// Returns a configuration with a split for each kind, for an Envoy that strips the filter's headers or does not.
fn configuration(stripped: bool) -> String {
    let split = |name: &str| TrafficSplit::new(name, name).namespace("shop");
    let both = |split: TrafficSplit| split.backends(&[("v1", 1), ("v2", 1)]).build();
    let testers = json!([{"pathRegex": "/.*", "headers": {"x-tester": "yes"}}]);
    json!({
        "cluster": "{service}",
        "backendHeader": "x-backend",
        "headersStripped": stripped,
        "httpRouteGroups": [route_group("shop", "testers", testers)],
        "trafficSplits": [
            both(split("weights")),
            both(split("override").annotation("override-header", "x-version")),
            both(split("sticky").annotation("sticky-header", "x-user")),
            both(split("cookie").annotation("sticky-cookie", "user")),
            both(split("matches").matches("testers")),
            split("mirror").annotation("mirror", "v2=100").backends(&[("v1", 1), ("v2", 0)]).build(),
        ],
    })
    .to_string()
}

/// Returns the routes of a sidecar: by the cluster header, else to the root. The forged cluster exists.
fn routes() -> RouteTable {
    let split = Route::to_cluster_header(CLUSTER)
        .header(HeaderMatch::present(CLUSTER))
        .mirror(Mirror::to_cluster_header(MIRROR))
        .add_response_header("set-cookie", &format!("%REQ({SET_COOKIE})%"));
    let host = VirtualHost::new("any", ["*"]).route(split).route(Route::to_cluster(ROOT));
    let clusters = [&b"v1"[..], b"v2", ROOT, FORGED];
    RouteTable::builder().virtual_host(host).clusters(clusters).build().expect("valid routes")
}

/// Starts the filter with a fault from its start, if one is given.
fn start(stripped: bool, fault: Option<(&str, u32, Option<u32>)>) -> Result<Simulator, Error> {
    let builder = Simulator::builder(&FILTER).routes(routes()).node_metadata("NAMESPACE", "curl");
    let builder = builder.configuration(configuration(stripped));
    fault.into_iter().fold(builder, |builder, (name, status, times)| builder.fault(name, status, times)).start()
}

impl Kind {
    /// Sends a request, in which the client may forge all headers of the filter.
    fn send(&self, simulator: &mut Simulator, forges: bool) -> Outcome {
        let mut request = simulator.request().get(&format!("http://{}.shop:80/", self.service)).destination_port(80);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if forges {
            for name in [CLUSTER, MIRROR, SET_COOKIE, "x-backend"] {
                request = request.header(name, FORGED).header(name, FORGED);
            }
        }
        request.send()
    }

    /// Asserts that a request went to an allowed backend or to the root.
    fn assert_safe(&self, outcome: &Outcome, fault: &str, about: &str) {
        assert_eq!((&outcome.trap, &outcome.local_response), (&None, &None), "{about}");
        let route = outcome.route.as_ref().unwrap_or_else(|| panic!("{about}: no route"));
        let (cluster, copies) = (route.cluster.as_deref(), route.mirrors.iter().map(|copy| &copy.cluster[..]));
        let allowed: &[&[u8]] = if self.is_split { &[b"v1", b"v2", ROOT] } else { &[ROOT] };
        // Where the host cannot remove the client's cluster, an empty one replaces it: Envoy selects no cluster and
        // answers 503.
        if fault == "proxy_remove_header_map_value" && !self.is_split && outcome.status() == Some(503) {
            assert_eq!((cluster, copies.count()), (None, 0), "{about}");
            return;
        }
        assert!(cluster.is_some_and(|name| allowed.contains(&name)), "{about}: {route:?}");
        assert!(copies.clone().all(|name| self.service == "mirror" && name == b"v2"), "{about}: {route:?}");
        let cookies = || outcome.response.headers.get_all("set-cookie");
        assert!(
            cookies().all(|cookie| self.service == "cookie" && cookie != FORGED),
            "{about}: {:?}",
            outcome.response.headers
        );
    }

    /// Asserts that a request without a fault is split as its kind says.
    fn assert_normal(&self, outcome: &Outcome, about: &str) {
        self.assert_safe(outcome, "", about);
        let cluster = outcome.route.as_ref().and_then(|route| route.cluster.as_deref()).unwrap_or_default();
        match self.service {
            "other" => assert_eq!(cluster, ROOT, "{about}"),
            "override" => assert_eq!(cluster, b"v2", "{about}"),
            "mirror" => {
                let copies = outcome.route.iter().map(|route| route.mirrors.len()).sum::<usize>();
                assert_eq!((cluster, copies), (&b"v1"[..], 1), "{about}");
            }
            _ => assert_ne!(cluster, ROOT, "{about}"),
        }
        let backend = outcome.request_header("x-backend").filter(|_| self.is_split);
        assert_eq!(backend, Some(cluster).filter(|_| self.is_split), "{about}");
        let sets_cookie = self.service == "cookie" && self.headers.is_empty();
        assert_eq!(outcome.response.headers.get_all("set-cookie").count(), usize::from(sets_cookie), "{about}");
    }
}

/// Runs a check for each fault, on two threads.
fn for_each_fault(check: impl Fn(&str, u32) + Sync) {
    std::thread::scope(|scope| {
        for half in 0..2 {
            let check = &check;
            scope.spawn(move || {
                let functions = FAILING.iter().map(|import| import.rsplit('.').next().unwrap_or(import));
                let faults = functions.flat_map(|function| STATUSES.map(|status| (function, status)));
                for (_, (function, status)) in faults.enumerate().filter(|(index, _)| index % 2 == half) {
                    check(function, status);
                }
            });
        }
    });
}

/// Reports whether clients forge headers: where Envoy does not strip them, and the host answers truthfully. A filter cannot
/// remove a header if the host denies that it exists, or claims a write that never happened.
fn forges(stripped: bool, function: &str, status: u32) -> bool {
    let is_false = match function {
        "proxy_get_header_map_value" => status == Status::NotFound as u32,
        "proxy_remove_header_map_value" | "proxy_replace_header_map_value" => status == Status::Ok as u32,
        _ => false,
    };
    !stripped && !is_false
}

#[test]
fn tested_faults_cover_every_import() {
    let mut tested: Vec<_> = FAILING.into_iter().chain([WITHOUT_STATUS]).collect();
    tested.sort_unstable();
    assert_eq!(FILTER.imports(), tested);
}

#[test]
fn fault_during_any_call_of_a_request_leaves_it_safe_and_the_next_request_normal() {
    for_each_fault(|function, status| {
        for stripped in [true, false] {
            let forges = forges(stripped, function, status);
            let mut simulator = start(stripped, None).expect("a start");
            for kind in &KINDS {
                // First all calls fail, then only the first, the second, and so on.
                for failing_call in [None].into_iter().chain((0..).map(Some)) {
                    let about =
                        format!("{function} returns {status}, call {failing_call:?}, {}, {stripped}", kind.service);
                    let before = simulator.injected_faults();
                    simulator.inject_fault_after(failing_call.unwrap_or(0), function, status, failing_call.map(|_| 1));
                    kind.assert_safe(&kind.send(&mut simulator, forges), function, &about);
                    let happened = simulator.injected_faults() > before;
                    simulator.clear_faults();
                    kind.assert_normal(&kind.send(&mut simulator, forges), &about);
                    if !happened && failing_call.is_some() {
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn fault_from_the_start_of_a_vm_leaves_every_request_safe() {
    for_each_fault(|function, status| {
        for (stripped, times) in [(true, None), (false, None), (true, Some(1)), (false, Some(1))] {
            let forges = forges(stripped, function, status);
            let about = format!("{function} returns {status}, {times:?} times, {stripped}");
            let mut simulator = match start(stripped, Some((function, status, times))) {
                Ok(simulator) => simulator,
                // The filter needs its configuration and random bytes.
                Err(Error::Refused { .. }) if ["proxy_get_buffer_bytes", "random_get"].contains(&function) => continue,
                Err(error) => panic!("{about}: {error}"),
            };
            for kind in KINDS.iter().chain(&KINDS) {
                kind.assert_safe(&kind.send(&mut simulator, forges), function, &about);
            }
            match simulator.reconfigure(configuration(stripped)) {
                Ok(()) => {}
                Err(error) => panic!("{about}: {error}"),
            }
            for kind in &KINDS {
                kind.assert_safe(&kind.send(&mut simulator, forges), function, &about);
            }
            simulator.clear_faults();
            for kind in &KINDS {
                kind.assert_normal(&kind.send(&mut simulator, forges), &about);
            }
            assert!(!simulator.has_failed(), "{about}");
        }
    });
}

#[test]
fn fault_while_a_worker_configures_keeps_the_last_configuration() {
    for_each_fault(|function, status| {
        let mut simulator = start(true, None).expect("a start");
        for times in [None, Some(1)] {
            let about = format!("{function} returns {status}, {times:?} times");
            // The VM that validates has no fault; the worker's VM has.
            simulator.inject_fault(function, status, times);
            match simulator.reconfigure(configuration(true)) {
                Ok(()) => assert_ne!(function, "proxy_get_buffer_bytes", "{about}"),
                Err(Error::Refused { .. }) if function == "proxy_get_buffer_bytes" => {}
                Err(error) => panic!("{about}: {error}"),
            }
            simulator.clear_faults();
            for kind in &KINDS {
                kind.assert_normal(&kind.send(&mut simulator, false), &about);
            }
        }
    });
}
