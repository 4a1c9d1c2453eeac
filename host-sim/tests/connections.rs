//! TCP connections: what a filter is told of one, what it may do to it, and what becomes of it at its end.

use host_sim::{ClosedBy, ConnectionOutcome, FailurePolicy, Module, Response, Simulator};
use std::time::Duration;

/// A guest with these callbacks, and the ones that only say that they came.
fn guest(callbacks: &str) -> Module {
    // The callbacks of a connection: the letter that each says, its parameters and results.
    let all = [
        ("new_connection", "i32", "i32", "0"),
        ("downstream_data", "i32 i32 i32", "i32", "0"),
        ("upstream_data", "i32 i32 i32", "i32", "0"),
        ("downstream_connection_close", "i32 i32", "", ""),
        ("upstream_connection_close", "i32 i32", "", ""),
        ("done", "i32", "i32", "1"),
        ("log", "i32", "", ""),
        ("delete", "i32", "", ""),
    ];
    let rest = all.iter().enumerate().filter(|(_, (name, ..))| !callbacks.contains(&format!("proxy_on_{name}\"")));
    let rest: String = rest
        .map(|(letter, (name, parameters, results, answer))| {
            let answer = if answer.is_empty() { String::new() } else { format!("(i32.const {answer})") };
            format!(
                r#"(func (export "proxy_on_{name}") (param {parameters}) (result {results})
                    (call $say (i32.const {letter})) {answer})"#
            )
        })
        .collect();
    let text = format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
        (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
        (import "env" "proxy_http_call" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
        (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (data (i32.const 0) "nduDUolx")
        (data (i32.const 64) "secret")
        (data (i32.const 96) "source\00address")
        ;; :method GET :path / :authority auth
        (data (i32.const 128) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\04\00\00\00:method\00GET\00:path\00/\00:authority\00auth\00")
        (global $free (mut i32) (i32.const 4096))
        (global $connection (mut i32) (i32.const 0))
        (func (export "malloc") (param $size i32) (result i32)
            (global.get $free) (global.set $free (i32.add (global.get $free) (local.get $size))))
        (func (export "proxy_abi_version_0_2_1"))
        ;; One letter of the first data, by its place.
        (func $say (param $place i32) (drop (call $log (i32.const 2) (local.get $place) (i32.const 1))))
        ;; What is in a buffer.
        (func $say_buffer (param $buffer i32)
            (drop (call $buffer (local.get $buffer) (i32.const 0) (i32.const -1) (i32.const 1024) (i32.const 1028)))
            (drop (call $log (i32.const 2) (i32.load (i32.const 1024)) (i32.load (i32.const 1028)))))
        ;; Asks `auth`, for a connection that waits.
        (func $ask (param $id i32)
            (global.set $connection (local.get $id))
            (drop (call $http (i32.const 142) (i32.const 0) (i32.const 128) (i32.const 64) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 1024))))
        {callbacks} {rest})"#
    );
    Module::from_bytes(wat::parse_str(text.replace("(result )", "")).expect("text")).expect("a module")
}

fn start(callbacks: &str) -> Simulator {
    Simulator::builder(&guest(callbacks)).start().expect("a start")
}

fn said(outcome: &ConnectionOutcome) -> String {
    outcome.logs.iter().map(|log| &log.message[..]).collect()
}

#[test]
fn what_client_and_upstream_send_goes_through_the_filter() {
    let mut simulator = start("");
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).downstream_data("hello", false);
    assert_eq!((connection.to_upstream(), connection.closed_by()), (&b"hello"[..], None));
    let outcome = connection.upstream_data("answer", false).downstream_data("", true).upstream_data("", true).finish();
    assert_eq!((&outcome.to_upstream[..], &outcome.to_downstream[..]), (&b"hello"[..], &b"answer"[..]));
    // The upstream's end is told as its last data, and then as its end.
    assert_eq!((said(&outcome).as_str(), outcome.closed_by, outcome.paused), ("nduduUDolx", ClosedBy::Upstream, false));
}

#[test]
fn a_client_that_ends_last_closes_the_connection() {
    let mut simulator = start("");
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).upstream_data("", true).downstream_data("bye", true);
    assert_eq!(connection.closed_by(), Some(ClosedBy::Client));
    let outcome = connection.downstream_data("more", false).upstream_data("more", false).finish();
    assert_eq!(said(&outcome), "nuUdDolx", "what is closed is closed");
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"bye".to_vec(), Vec::new()));
}

#[test]
fn a_connection_ends_when_either_side_breaks_off() {
    // Says who it was.
    let by = r#"(func (export "proxy_on_downstream_connection_close") (param i32) (param $by i32)
        (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (local.get $by)))
        (drop (call $log (i32.const 2) (i32.const 1024) (i32.const 1))))"#;
    let mut simulator = start(by);
    let id = simulator.connection().open();
    let outcome = simulator.open_connection(id).finish();
    assert_eq!((said(&outcome).as_str(), outcome.closed_by), ("n2olx", ClosedBy::Client), "2 is remote");
    let id = simulator.connection().open();
    let outcome = simulator.open_connection(id).reset_upstream().finish();
    assert_eq!((said(&outcome).as_str(), outcome.closed_by), ("n1olx", ClosedBy::Upstream), "1 is local");
}

/// Stops until there are 8 bytes, and says what there is.
const EIGHT: &str = r#"(func (export "proxy_on_downstream_data") (param i32) (param $size i32) (param i32) (result i32)
    (call $say_buffer (i32.const 2)) (i32.lt_u (local.get $size) (i32.const 8)))"#;

#[test]
fn what_the_filter_stops_comes_again_with_what_follows() {
    let mut simulator = start(EIGHT);
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).downstream_data("one", false).downstream_data("two", false);
    assert!(connection.is_paused() && connection.to_upstream().is_empty());
    let connection = connection.downstream_data("six", false);
    assert!(!connection.is_paused());
    assert_eq!(connection.to_upstream(), b"onetwosix");
    let outcome = connection.downstream_data("ten", false).finish();
    assert_eq!(said(&outcome), "noneonetwoonetwosixtenDolx");
    assert!(outcome.paused && outcome.to_upstream == b"onetwosix", "the rest is lost");
}

#[test]
fn a_filter_may_replace_what_goes_by_in_both_directions() {
    let replace = |callback: &str, buffer: u32| {
        format!(
            r#"(func (export "proxy_on_{callback}_data") (param i32 i32 i32) (result i32)
            (drop (call $set_buffer (i32.const {buffer}) (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 6)))
            (call $say_buffer (i32.const {buffer})) (i32.const 0))"#
        )
    };
    let mut simulator = start(&(replace("downstream", 2) + &replace("upstream", 3)));
    let id = simulator.connection().open();
    let outcome = simulator.open_connection(id).downstream_data("1234567", false).upstream_data("12", false).finish();
    assert_eq!((&outcome.to_upstream[..], &outcome.to_downstream[..]), (&b"secret567"[..], &b"secret"[..]));
    assert_eq!(said(&outcome), "nsecret567secretDolx");
}

/// Asks `auth` about each new connection, and lets it go on when that has answered.
const ASKS: &str = r#"
    (func (export "proxy_on_new_connection") (param $id i32) (result i32)
        (call $ask (local.get $id)) (call $say (i32.const 0)) (i32.const 1))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (drop (call $effective (global.get $connection)))
        (drop (call $continue (i32.const 2))))"#;

#[test]
fn a_connection_that_waits_is_not_read_from_and_has_no_upstream() {
    let mut simulator = start(ASKS);
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).downstream_data("hel", false).downstream_data("lo", true);
    assert!(connection.upstream_data("early", false).is_paused());
    let token = simulator.http_calls()[0].token;
    assert!(simulator.answer_http_call(token, Response::status_only(200)));
    let outcome = simulator.open_connection(id).upstream_data("answer", true).finish();
    // All that came meanwhile is one piece.
    assert_eq!(said(&outcome), "nduUDolx");
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"hello".to_vec(), b"answer".to_vec()));
}

#[test]
fn a_connection_that_waits_for_ever_says_so() {
    let mut simulator = start(ASKS);
    let id = simulator.connection().open();
    let outcome = simulator.open_connection(id).downstream_data("hello", false).finish();
    assert_eq!((said(&outcome).as_str(), outcome.paused, outcome.to_upstream), ("nDolx", true, Vec::new()));
}

#[test]
fn data_that_waits_for_a_callout_goes_on_as_the_filter_left_it() {
    let mut simulator = start(
        r#"
        (func (export "proxy_on_downstream_data") (param $id i32) (param i32 i32) (result i32)
            (call $ask (local.get $id)) (i32.const 1))
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
            (drop (call $effective (global.get $connection)))
            (drop (call $set_buffer (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 6)))
            (drop (call $continue (i32.const 2))))"#,
    );
    let id = simulator.connection().open();
    assert!(simulator.open_connection(id).downstream_data("hello", false).is_paused());
    simulator.advance(Duration::from_millis(250));
    let connection = simulator.open_connection(id);
    assert!(!connection.is_paused());
    assert_eq!(connection.finish().to_upstream, b"secrethello");
}

#[test]
fn a_filter_closes_the_connection_whichever_side_it_names() {
    for side in [2, 3] {
        let mut simulator = start(&format!(
            r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
                (drop (call $close (i32.const {side}))) (call $say (i32.const 1)) (i32.const 0))"#
        ));
        let id = simulator.connection().open();
        let connection = simulator.open_connection(id).downstream_data("hello", false);
        assert_eq!(connection.closed_by(), Some(ClosedBy::Filter));
        let outcome = connection.finish();
        assert_eq!(said(&outcome), "ndDolx");
        assert_eq!(outcome.to_upstream, b"", "it is closed before its data goes on");
    }
}

#[test]
fn a_connection_that_is_closed_at_the_upstreams_end_is_told_of_that_when_it_is_deleted() {
    let mut simulator = start(
        r#"(func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
            (drop (call $close (i32.const 2))) (call $say (i32.const 2)) (i32.const 0))"#,
    );
    let id = simulator.connection().open();
    assert_eq!(said(&simulator.open_connection(id).upstream_data("answer", true).finish()), "nuDolxU");
}

/// Says the property `source.address`.
const ADDRESS: &str = r#"(func (export "proxy_on_new_connection") (param i32) (result i32)
    (drop (call $property (i32.const 96) (i32.const 14) (i32.const 1024) (i32.const 1028)))
    (drop (call $log (i32.const 2) (i32.load (i32.const 1024)) (i32.load (i32.const 1028)))) (i32.const 0))"#;

#[test]
fn a_filter_sees_the_addresses_that_the_test_gives() {
    let mut simulator = start(ADDRESS);
    let id = simulator.connection().source_address(([10, 0, 0, 7], 4711).into()).open();
    assert_eq!(said(&simulator.open_connection(id).finish()), "10.0.0.7:4711Dolx");
    let id = simulator.connection().property(&["source", "address"], "elsewhere").open();
    assert_eq!(said(&simulator.open_connection(id).finish()), "elsewhereDolx");
    // Some are there only later.
    let mut simulator =
        start(&ADDRESS.replace("new_connection\") (param i32)", "upstream_data\") (param i32 i32 i32)"));
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).property(&["source", "address"], "later");
    assert_eq!(said(&connection.upstream_data("answer", false).finish()), "nlaterDolx");
}

#[test]
fn a_connection_outlives_the_configuration_that_it_began_with() {
    let mut simulator = start("");
    let id = simulator.connection().open();
    simulator.reconfigure("new").expect("a configuration");
    assert_eq!(simulator.root_contexts(), 2, "the old one has a connection");
    let connection = simulator.open_connection(id).downstream_data("hello", true).upstream_data("answer", true);
    assert_eq!(connection.closed_by(), Some(ClosedBy::Upstream));
    // Its root context ends with it, whenever the test asks what came of it.
    assert_eq!(simulator.root_contexts(), 1);
    let outcome = simulator.open_connection(id).finish();
    assert_eq!(said(&outcome), "nduUDolxox");
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"hello".to_vec(), b"answer".to_vec()));
}

/// Traps at data from the client.
const TRAPS: &str = r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) unreachable)"#;

#[test]
fn after_a_trap_the_failure_policy_says_what_becomes_of_connections() {
    let start = |policy| Simulator::builder(&guest(TRAPS)).failure_policy(policy).start().expect("a start");
    let mut closed = start(FailurePolicy::Closed);
    let mut open = start(FailurePolicy::Open);
    let (trapped, alive) = (open.connection().open(), open.connection().open());
    assert_eq!(open.open_connection(trapped).downstream_data("hello", false).closed_by(), Some(ClosedBy::Failure));
    for _ in 0..3 {
        let id = closed.connection().open();
        let outcome =
            closed.open_connection(id).downstream_data("hello", false).upstream_data("answer", false).finish();
        assert_eq!(
            (outcome.closed_by, outcome.to_upstream, outcome.to_downstream),
            (ClosedBy::Failure, vec![], vec![])
        );
        assert!(outcome.trap.is_some_and(|trap| trap.contains("unreachable")));
        closed.advance(Duration::from_secs(60));

        let id = open.connection().open();
        let outcome = open.open_connection(id).downstream_data("hello", true).upstream_data("answer", true).finish();
        assert_eq!(outcome.closed_by, ClosedBy::Upstream, "as if there were no filter");
        assert_eq!((&outcome.to_upstream[..], &outcome.to_downstream[..]), (&b"hello"[..], &b"answer"[..]));
        assert!(outcome.trap.is_some());
    }
    let outcome = open.open_connection(alive).upstream_data("answer", false).finish();
    assert_eq!(outcome.closed_by, ClosedBy::Failure, "it began with the filter");
}

#[test]
fn connections_of_a_vm_that_died_end_with_it_while_new_ones_get_a_new_vm() {
    let mut simulator =
        Simulator::builder(&guest(TRAPS)).failure_policy(FailurePolicy::Reload).start().expect("a start");
    let (first, second) = (simulator.connection().open(), simulator.connection().open());
    let connection = simulator.open_connection(first).downstream_data("hello", false);
    assert_eq!(connection.closed_by(), Some(ClosedBy::Failure));
    simulator.advance(Duration::from_secs(1));
    let third = simulator.connection().open();
    assert_eq!(simulator.open_connection(third).upstream_data("answer", false).to_downstream(), b"answer");
    // Envoy finds out when it asks the filter the next time.
    let connection = simulator.open_connection(second);
    assert_eq!(connection.closed_by(), None);
    assert_eq!(connection.upstream_data("answer", false).closed_by(), Some(ClosedBy::Failure));
    assert!(simulator.open_connection(first).finish().trap.is_some());
    assert!(simulator.open_connection(second).finish().trap.is_some());
    assert!(simulator.open_connection(third).finish().trap.is_none());
}

#[test]
fn a_module_without_callbacks_lets_everything_by() {
    let text = r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
    let module = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    let mut simulator = Simulator::builder(&module).start().expect("a start");
    let id = simulator.connection().open();
    let outcome = simulator.open_connection(id).downstream_data("hello", true).upstream_data("answer", true).finish();
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"hello".to_vec(), b"answer".to_vec()));
}
