//! HTTP streams, time, callouts, queues and failure policies.

use host_sim::{
    FailurePolicy, HeaderMatch, Headers, Mirror, Module, Response, Route, RouteTable, Shared, Simulator, VirtualHost,
};
use std::time::Duration;

/// Returns a guest with these callbacks. All other callbacks log a letter each.
fn guest(callbacks: &str) -> Module {
    let text = format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
        (import "env" "proxy_send_local_response" (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_http_call" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
        (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
        (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
        (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
        (memory (export "memory") 2)
        (data (i32.const 0) "chtbHBTldxkrq")
        (data (i32.const 64) "denied")
        (data (i32.const 96) "x-tocanary")
        ;; :method GET :path / :authority auth
        (data (i32.const 128) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\04\00\00\00:method\00GET\00:path\00/\00:authority\00auth\00")
        (global $free (mut i32) (i32.const 4096))
        (global $stream (mut i32) (i32.const 0))
        (func (export "malloc") (param $size i32) (result i32)
            (global.get $free) (global.set $free (i32.add (global.get $free) (local.get $size))))
        (func (export "proxy_abi_version_0_2_1"))
        ;; One letter of the first data, by its place.
        (func $say (param $place i32) (drop (call $log (i32.const 2) (local.get $place) (i32.const 1))))
        {callbacks})"#
    );
    Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module")
}

const ALL: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 1)) (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $say (i32.const 3)) (i32.const 0))
    (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (call $say (i32.const 2)) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 4)) (i32.const 0))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (call $say (i32.const 5)) (i32.const 0))
    (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (call $say (i32.const 6)) (i32.const 0))
    (func (export "proxy_on_log") (param i32) (call $say (i32.const 7)))
    (func (export "proxy_on_done") (param i32) (result i32) (call $say (i32.const 8)) (i32.const 1))
    (func (export "proxy_on_delete") (param i32) (call $say (i32.const 9)))"#;

fn start(module: &Module) -> Simulator {
    Simulator::builder(module).start().expect("a start")
}

fn said(logs: &[host_sim::Log]) -> String {
    logs.iter().map(|log| &log.message[..]).collect()
}

#[test]
fn the_filter_sees_all_parts_of_request_and_response_in_order() {
    let mut simulator = start(&guest(ALL));
    let response = Response::status_only(201).header("x-a", "1").body("answer").trailer("x-t", "2");
    let request = simulator.request().post("http://shop/cart").body("ask").trailer("x-q", "3");
    let outcome = request.response(response.clone()).send();
    assert_eq!(said(&outcome.logs), "hbtHBTldx");
    assert_eq!((outcome.request_body, outcome.request_trailers.get("x-q")), (b"ask".to_vec(), Some(&b"3"[..])));
    assert_eq!((outcome.response, outcome.paused), (response, false));
    let outcome = simulator.request().send();
    assert_eq!((said(&outcome.logs).as_str(), outcome.status()), ("hHldx", Some(200)), "no callback for missing parts");
}

#[test]
fn a_request_body_can_be_streamed() {
    let mut simulator = start(&guest(ALL));
    let stream = simulator.request().post("http://shop/").incomplete().open();
    let stream = simulator.stream(stream).body("a", false).body("b", false);
    // The upstream does not respond to an incomplete request.
    let outcome =
        stream.respond(Response::status_only(200)).body("c", true).respond(Response::status_only(204)).finish();
    assert_eq!(
        (said(&outcome.logs).as_str(), &outcome.request_body[..], outcome.status()),
        ("hbbbHldx", &b"abc"[..], Some(204))
    );
}

/// Pauses at the headers, makes a callout to `auth`, and continues after its response.
const WAITS: &str = r#"
    (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
        (global.set $stream (local.get $id))
        (drop (call $http (i32.const 142) (i32.const 0) (i32.const 128) (i32.const 64) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 1024)))
        (call $say (i32.const 1)) (i32.const 1))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $say (i32.const 3)) (i32.const 0))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (call $say (i32.const 10))
        (drop (call $effective (global.get $stream)))
        (drop (call $continue (i32.const 0))))"#;

#[test]
fn waiting_body_parts_are_merged_and_nothing_follows_the_end() {
    let module = guest(
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (global.set $stream (local.get 0)) (drop (call $tick (i32.const 1))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $effective (global.get $stream))) (drop (call $continue (i32.const 0))))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (call $say (i32.const 3)) (drop (call $continue (i32.const 0))) (i32.const 0))
        (func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
            (call $say (i32.const 2)) (drop (call $continue (i32.const 0))) (i32.const 0))"#,
    );
    let mut simulator = start(&module);
    let id = simulator.request().incomplete().open();
    for _ in 0..10_000 {
        _ = simulator.stream(id).body("a", false);
    }
    for _ in 0..10_000 {
        _ = simulator.stream(id).trailers(Headers::default()).body("b", false);
    }
    simulator.advance(Duration::from_millis(1));
    let outcome = simulator.stream(id).body("c", true).finish();
    assert_eq!((said(&outcome.logs).as_str(), outcome.request_body), ("bt", vec![b'a'; 10_000]));
}

#[test]
fn a_finished_stream_no_longer_exists() {
    let mut simulator = start(&guest(ALL));
    let id = simulator.request().open();
    assert_eq!(said(&simulator.stream(id).finish().logs), "hldx");
    let again = simulator.stream(id).body("a", true).respond(Response::status_only(200)).finish();
    assert_eq!((said(simulator.logs()).as_str(), again.status(), again.paused), ("hldx", None, false));
}

#[test]
fn a_paused_request_continues_after_the_callout_response() {
    let mut simulator = start(&guest(WAITS));
    let stream = simulator.request().post("http://shop/").body("ask").open();
    assert!(simulator.stream(stream).is_paused());
    let calls = simulator.http_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].headers.get(":authority"), Some(&b"auth"[..]));
    assert_eq!(calls[0].timeout, Some(Duration::from_millis(250)));
    assert!(simulator.respond_to_http_call(calls[0].token, Response::status_only(200)));
    assert!(
        !simulator.respond_to_http_call(calls[0].token, Response::status_only(200)),
        "the token is no longer valid"
    );
    let outcome = simulator.stream(stream).respond(Response::status_only(200)).finish();
    // The filter sees the body only after it has continued the headers.
    assert_eq!((said(&outcome.logs).as_str(), outcome.paused, outcome.status()), ("hkb", false, Some(200)));
    assert_eq!(outcome.request_body, b"ask");
}

#[test]
fn a_callout_times_out_and_a_waiting_request_is_paused() {
    let mut simulator = start(&guest(WAITS));
    let stream = simulator.request().open();
    simulator.advance(Duration::from_millis(249));
    assert!(simulator.stream(stream).is_paused());
    simulator.advance(Duration::from_millis(1));
    assert!(!simulator.stream(stream).is_paused() && simulator.http_calls().is_empty());
    let outcome = simulator.request().send();
    assert!(outcome.paused && outcome.status().is_none());
}

#[test]
fn a_local_response_passes_the_filter_and_not_the_upstream() {
    let module = guest(
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $respond (i32.const 403) (i32.const 64) (i32.const 6) (i32.const 64) (i32.const 6) (i32.const 0)
                (i32.const 0) (i32.const -1)))
            (call $say (i32.const 1)) (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $say (i32.const 3)) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 4)) (i32.const 0))"#,
    );
    let outcome = start(&module).request().post("http://shop/").body("ask").send();
    assert_eq!(said(&outcome.logs), "hH", "the request body is dropped");
    assert_eq!((outcome.status(), &outcome.response.body[..]), (Some(403), &b"denied"[..]));
    assert_eq!(outcome.response_header("content-type"), Some(&b"text/plain"[..]));
    let grpc = start(&module).request().header("content-type", "application/grpc").send();
    assert_eq!((grpc.status(), grpc.response_header("grpc-status")), (Some(200), Some(&b"7"[..])));
}

#[test]
fn a_paused_body_is_buffered_and_can_be_replaced() {
    let module = guest(
        r#"
        (func (export "proxy_on_response_body") (param i32) (param $size i32) (param $end i32) (result i32)
            (call $say (i32.const 5))
            (if (result i32) (local.get $end)
                (then (drop (call $set_buffer (i32.const 1) (i32.const 0) (local.get $size) (i32.const 64) (i32.const 6)))
                      (i32.const 0))
                (else (i32.const 1))))"#,
    );
    let mut simulator = start(&module);
    let stream = simulator.request().open();
    let stream = simulator.stream(stream).respond_headers(Response::status_only(200).headers, false);
    let stream = stream.respond_body("abc", false);
    assert!(stream.is_paused());
    let outcome = stream.respond_body("def", true).finish();
    assert_eq!((said(&outcome.logs).as_str(), &outcome.response.body[..]), ("BB", &b"denied"[..]));
}

#[test]
fn ticks_run_when_they_are_due() {
    let module = guest(
        r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 100))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (call $say (i32.const 10)))"#,
    );
    let mut simulator = Simulator::builder(&module).workers(2).start().expect("a start");
    for (milliseconds, ticks) in [(99, 0), (1, 2), (250, 6), (49, 6), (1, 8)] {
        simulator.advance(Duration::from_millis(milliseconds));
        assert_eq!(simulator.logs().len(), ticks, "each worker has its own tick");
    }
}

#[test]
fn no_tick_runs_after_the_end_of_time() {
    let module = guest(
        r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const -1))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (call $say (i32.const 10)))"#,
    );
    let mut simulator = start(&module);
    simulator.advance(Duration::MAX);
    let ticks = simulator.logs().len();
    assert!(ticks > 1_000, "{ticks}");
    simulator.advance(Duration::MAX);
    assert_eq!(simulator.logs().len(), ticks);
}

#[test]
fn a_stream_keeps_its_configuration_after_a_reconfiguration() {
    let mut simulator = start(&guest(ALL));
    let stream = simulator.request().open();
    simulator.reconfigure("new").expect("a configuration");
    assert_eq!(simulator.root_contexts(), 2, "the old root context has a stream");
    let outcome = simulator.stream(stream).respond(Response::status_only(200)).finish();
    assert_eq!(said(&outcome.logs), "hHldxdx", "the root context ends after its stream");
    assert_eq!(simulator.root_contexts(), 1);
}

#[test]
fn queue_notifications_reach_the_registering_root_context_of_another_vm() {
    let owner = guest(
        r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $register (i32.const 64) (i32.const 6) (i32.const 1024))) (i32.const 1))
        (func (export "proxy_on_queue_ready") (param i32 i32) (call $say (i32.const 12)))"#,
    );
    let sender = guest(
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $enqueue (i32.const 1) (i32.const 64) (i32.const 6))) (i32.const 0))"#,
    );
    let shared = Shared::default();
    let mut owner = Simulator::builder(&owner).vm_id("one").shared(&shared).start().expect("a start");
    let mut sender = Simulator::builder(&sender).vm_id("one").shared(&shared).start().expect("a start");
    // The VM that validates the configuration registers the queue first, then the serving VM.
    _ = sender.request().send();
    assert_eq!(said(owner.logs()), "");
    owner.deliver();
    assert_eq!(said(owner.logs()), "q");
}

#[test]
fn a_filter_that_refills_its_own_queue_does_not_loop_for_ever() {
    let module = guest(
        r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $register (i32.const 64) (i32.const 6) (i32.const 1024))) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $enqueue (i32.const 1) (i32.const 64) (i32.const 6))) (i32.const 0))
        (func (export "proxy_on_queue_ready") (param i32 i32)
            (call $say (i32.const 12)) (drop (call $enqueue (i32.const 1) (i32.const 64) (i32.const 6))))"#,
    );
    let mut simulator = start(&module);
    let id = simulator.request().open();
    assert_eq!(simulator.logs().len(), 10_000);
    simulator.deliver();
    assert_eq!(simulator.logs().len(), 20_000);
    assert!(!simulator.stream(id).is_paused());
}

#[test]
fn workers_share_metrics() {
    let module = guest(
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $define (i32.const 0) (i32.const 64) (i32.const 6) (i32.const 1024)))
            (drop (call $increment (i32.load (i32.const 1024)) (i64.const 1))) (i32.const 0))"#,
    );
    let mut simulator = Simulator::builder(&module).workers(3).start().expect("a start");
    for request in 0..9 {
        _ = simulator.request().worker(request % 3).send();
    }
    assert_eq!(simulator.metric("denied").map(|metric| metric.value), Some(host_sim::Value::Counter(9)));
}

/// Traps in `on_request_headers`.
const TRAPS: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 4)) (i32.const 0))"#;

#[test]
fn the_failure_policy_decides_about_requests_after_a_trap() {
    let start = |policy| Simulator::builder(&guest(TRAPS)).failure_policy(policy).start().expect("a start");
    let mut closed = start(FailurePolicy::Closed);
    let mut open = start(FailurePolicy::Open);
    let mut reload = start(FailurePolicy::Reload);
    assert_eq!(open.request().send().status(), Some(503), "the request that trapped");
    for _ in 0..3 {
        assert_eq!(closed.request().send().status(), Some(503));
        closed.advance(Duration::from_secs(60));
        let outcome = open.request().post("http://shop/").body("ask").send();
        assert_eq!(
            (outcome.status(), &outcome.request_body[..]),
            (Some(200), &b"ask"[..]),
            "as if there were no filter"
        );
        assert!(outcome.trap.is_some());
    }
    assert_eq!(reload.request().send().status(), Some(503));
    assert!(reload.has_failed());
    reload.advance(Duration::from_secs(1));
    // The new VM traps again.
    assert!(reload.request().send().trap.is_some_and(|trap| trap.contains("unreachable")));
}

#[test]
fn streams_open_during_a_trap_fail_under_any_policy() {
    let module = guest(r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) unreachable)"#);
    for policy in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload] {
        let mut simulator = Simulator::builder(&module).failure_policy(policy).start().expect("a start");
        let alive = simulator.request().open();
        assert_eq!(simulator.request().send().status(), Some(503));
        let outcome = simulator.stream(alive).respond(Response::status_only(200)).finish();
        assert_eq!(outcome.status(), Some(503), "{policy:?}");
    }
}

#[test]
fn fuel_and_memory_limits_are_enforced() {
    let module = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop (br 0)) (i32.const 0))"#,
    );
    let outcome = Simulator::builder(&module).fuel(1_000_000).start().expect("a start").request().send();
    assert!(outcome.trap.as_deref().is_some_and(|trap| trap.contains("fuel")), "{:?}", outcome.trap);
    let module = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then (call $say (i32.const 1)))) (i32.const 0))"#,
    );
    let grow = |limit| Simulator::builder(&module).memory_limit(limit).start().expect("a start").request().send();
    assert_eq!(said(&grow(1 << 20).logs), "h", "growth beyond the limit fails");
    assert_eq!(said(&grow(1 << 24).logs), "");
}

#[test]
fn tables_have_the_maximum_size_of_v8() {
    let module = guest(
        r#"(table $table 0 funcref)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (table.grow $table (ref.null func) (i32.const 10000001)) (i32.const -1))
                (then (call $say (i32.const 1))))
            (i32.const 0))"#,
    );
    assert_eq!(said(&start(&module).request().send().logs), "h", "growth beyond the limit fails");
}

#[test]
fn message_headers_are_built_one_by_one() {
    let response = Response::status_only(200).header("X-A", "1").header("x-a", "2");
    assert_eq!(response.headers.get_all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!((response.status(), Headers::default().is_empty()), (Some(200), true));
}

/// Returns routes of which the first sends requests with the header `x-to` to the cluster that it names.
fn by_cluster_header() -> RouteTable {
    let picked = Route::to_cluster_header("x-to")
        .named("picked")
        .header(HeaderMatch::present("x-to"))
        .remove_request_header("x-to")
        .mirror(Mirror::to_cluster_header("x-mirror"))
        .add_response_header("x-served-by", "%REQ(x-who)%");
    let host = VirtualHost::new("any", ["*"]).route(picked).route(Route::to_cluster("root").named("rest"));
    RouteTable::builder().virtual_host(host).clusters(["root", "canary"]).build().expect("routes")
}

#[test]
fn the_outcome_has_the_route_and_the_forwarded_request() {
    // Writes `x-to: canary`.
    let module = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $set (i32.const 0) (i32.const 96) (i32.const 4) (i32.const 100) (i32.const 6))) (i32.const 0))"#,
    );
    let mut simulator = Simulator::builder(&module).routes(by_cluster_header()).start().expect("a start");
    let request = simulator.request().get("http://shop/").header("x-who", "v2").header("x-mirror", "root");
    let outcome = request.send();
    let route = outcome.route.as_ref().expect("a route");
    assert_eq!((route.route.as_str(), route.cluster.as_deref()), ("picked", Some(&b"canary"[..])));
    assert_eq!(route.mirrors.iter().map(|mirror| &mirror.cluster[..]).collect::<Vec<_>>(), [b"root"]);
    assert_eq!((outcome.request_header("x-to"), outcome.response_header("x-served-by")), (None, Some(&b"v2"[..])));

    // Without header changes by the filter, the received headers select the route.
    let mut simulator = Simulator::builder(&guest("")).routes(by_cluster_header()).start().expect("a start");
    let went = |outcome: host_sim::Outcome| outcome.route.map(|route| route.route);
    assert_eq!(went(simulator.request().send()), Some("rest".into()));
    assert_eq!(went(simulator.request().header("x-to", "canary").send()), Some("picked".into()));
    assert_eq!(simulator.request().header("x-to", "nowhere").send().status(), Some(503), "unknown cluster");
}
