//! TCP connections: their callbacks, what filters can change, and how connections close.

use host_sim::{ClosedBy, ConnectionOutcome, FailurePolicy, Module, Response, Simulator};
use std::time::Duration;

/// Returns a guest with these callbacks. All other callbacks log a letter each.
fn guest(callbacks: &str) -> Module {
    // The callbacks of a connection, with their parameters and results.
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
fn data_of_both_directions_passes_the_filter() {
    let mut simulator = start("");
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).downstream_data("hello", false);
    assert_eq!((connection.to_upstream(), connection.closed_by()), (&b"hello"[..], None));
    let outcome = connection.upstream_data("answer", false).downstream_data("", true).upstream_data("", true).finish();
    assert_eq!((&outcome.to_upstream[..], &outcome.to_downstream[..]), (&b"hello"[..], &b"answer"[..]));
    // The end of the upstream is reported with its last data, then by its own callback.
    assert_eq!((said(&outcome).as_str(), outcome.closed_by, outcome.paused), ("nduduUDolx", ClosedBy::Upstream, false));
}

#[test]
fn the_client_closes_the_connection_if_it_ends_last() {
    let mut simulator = start("");
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).upstream_data("", true).downstream_data("bye", true);
    assert_eq!(connection.closed_by(), Some(ClosedBy::Client));
    let outcome = connection.downstream_data("more", false).upstream_data("more", false).finish();
    assert_eq!(said(&outcome), "nuUdDolx", "no callback after the close");
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"bye".to_vec(), Vec::new()));
}

#[test]
fn a_reset_of_either_side_closes_the_connection() {
    // Logs the peer type.
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

/// Stops until 8 bytes have arrived, and logs the buffer.
const EIGHT: &str = r#"(func (export "proxy_on_downstream_data") (param i32) (param $size i32) (param i32) (result i32)
    (call $say_buffer (i32.const 2)) (i32.lt_u (local.get $size) (i32.const 8)))"#;

#[test]
fn stopped_data_is_passed_again_with_new_data() {
    let mut simulator = start(EIGHT);
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).downstream_data("one", false).downstream_data("two", false);
    assert!(connection.is_paused() && connection.to_upstream().is_empty());
    let connection = connection.downstream_data("six", false);
    assert!(!connection.is_paused());
    assert_eq!(connection.to_upstream(), b"onetwosix");
    let outcome = connection.downstream_data("ten", false).finish();
    assert_eq!(said(&outcome), "noneonetwoonetwosixtenDolx");
    assert!(outcome.paused && outcome.to_upstream == b"onetwosix", "the other data is lost");
}

#[test]
fn a_filter_can_replace_data_of_both_directions() {
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

/// Makes a callout to `auth` for each new connection, and continues after its response.
const ASKS: &str = r#"
    (func (export "proxy_on_new_connection") (param $id i32) (result i32)
        (call $ask (local.get $id)) (call $say (i32.const 0)) (i32.const 1))
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (drop (call $effective (global.get $connection)))
        (drop (call $continue (i32.const 2))))"#;

#[test]
fn a_paused_connection_is_not_read_and_has_no_upstream() {
    let mut simulator = start(ASKS);
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).downstream_data("hel", false).downstream_data("lo", true);
    assert!(connection.upstream_data("early", false).is_paused());
    let token = simulator.http_calls()[0].token;
    assert!(simulator.respond_to_http_call(token, Response::status_only(200)));
    let outcome = simulator.open_connection(id).upstream_data("answer", true).finish();
    // All data that arrived during the pause is passed at once.
    assert_eq!(said(&outcome), "nduUDolx");
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"hello".to_vec(), b"answer".to_vec()));
}

#[test]
fn a_waiting_connection_is_paused() {
    let mut simulator = start(ASKS);
    let id = simulator.connection().open();
    let outcome = simulator.open_connection(id).downstream_data("hello", false).finish();
    assert_eq!((said(&outcome).as_str(), outcome.paused, outcome.to_upstream), ("nDolx", true, Vec::new()));
}

#[test]
fn paused_data_is_forwarded_as_the_filter_changed_it() {
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
fn closing_either_stream_closes_the_connection() {
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
        assert_eq!(outcome.to_upstream, b"", "the connection closes before data is forwarded");
    }
}

#[test]
fn the_upstream_close_callback_follows_the_deletion() {
    let mut simulator = start(
        r#"(func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32)
            (drop (call $close (i32.const 2))) (call $say (i32.const 2)) (i32.const 0))"#,
    );
    let id = simulator.connection().open();
    assert_eq!(said(&simulator.open_connection(id).upstream_data("answer", true).finish()), "nuDolxU");
}

/// Logs the property `source.address`.
const ADDRESS: &str = r#"(func (export "proxy_on_new_connection") (param i32) (result i32)
    (drop (call $property (i32.const 96) (i32.const 14) (i32.const 1024) (i32.const 1028)))
    (drop (call $log (i32.const 2) (i32.load (i32.const 1024)) (i32.load (i32.const 1028)))) (i32.const 0))"#;

#[test]
fn addresses_are_properties_of_the_connection() {
    let mut simulator = start(ADDRESS);
    let id = simulator.connection().source_address(([10, 0, 0, 7], 4711).into()).open();
    assert_eq!(said(&simulator.open_connection(id).finish()), "10.0.0.7:4711Dolx");
    let id = simulator.connection().property(&["source", "address"], "elsewhere").open();
    assert_eq!(said(&simulator.open_connection(id).finish()), "elsewhereDolx");
    // A property can be set later.
    let mut simulator =
        start(&ADDRESS.replace("new_connection\") (param i32)", "upstream_data\") (param i32 i32 i32)"));
    let id = simulator.connection().open();
    let connection = simulator.open_connection(id).property(&["source", "address"], "later");
    assert_eq!(said(&connection.upstream_data("answer", false).finish()), "nlaterDolx");
}

#[test]
fn a_connection_keeps_its_configuration_after_a_reconfiguration() {
    let mut simulator = start("");
    let id = simulator.connection().open();
    simulator.reconfigure("new").expect("a configuration");
    assert_eq!(simulator.root_contexts(), 2, "the old root context has a connection");
    let connection = simulator.open_connection(id).downstream_data("hello", true).upstream_data("answer", true);
    assert_eq!(connection.closed_by(), Some(ClosedBy::Upstream));
    // The root context ends with the connection, even before the test reads the outcome.
    assert_eq!(simulator.root_contexts(), 1);
    let outcome = simulator.open_connection(id).finish();
    assert_eq!(said(&outcome), "nduUDolxox");
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"hello".to_vec(), b"answer".to_vec()));
}

/// Traps in `on_downstream_data`.
const TRAPS: &str = r#"(func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) unreachable)"#;

#[test]
fn the_failure_policy_decides_about_connections_after_a_trap() {
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
        assert_eq!(outcome.closed_by, ClosedBy::Upstream, "the filter is bypassed");
        assert_eq!((&outcome.to_upstream[..], &outcome.to_downstream[..]), (&b"hello"[..], &b"answer"[..]));
        assert!(outcome.trap.is_some());
    }
    let outcome = open.open_connection(alive).upstream_data("answer", false).finish();
    assert_eq!(outcome.closed_by, ClosedBy::Failure, "the connection began before the trap");
}

#[test]
fn new_connections_get_a_new_vm_after_a_trap() {
    let mut simulator =
        Simulator::builder(&guest(TRAPS)).failure_policy(FailurePolicy::Reload).start().expect("a start");
    let (first, second) = (simulator.connection().open(), simulator.connection().open());
    let connection = simulator.open_connection(first).downstream_data("hello", false);
    assert_eq!(connection.closed_by(), Some(ClosedBy::Failure));
    simulator.advance(Duration::from_secs(1));
    let third = simulator.connection().open();
    assert_eq!(simulator.open_connection(third).upstream_data("answer", false).to_downstream(), b"answer");
    // Envoy closes them at the next call of the filter.
    let connection = simulator.open_connection(second);
    assert_eq!(connection.closed_by(), None);
    assert_eq!(connection.upstream_data("answer", false).closed_by(), Some(ClosedBy::Failure));
    assert!(simulator.open_connection(first).finish().trap.is_some());
    assert!(simulator.open_connection(second).finish().trap.is_some());
    assert!(simulator.open_connection(third).finish().trap.is_none());
}

#[test]
fn a_module_without_callbacks_forwards_everything() {
    let text = r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
    let module = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    let mut simulator = Simulator::builder(&module).start().expect("a start");
    let id = simulator.connection().open();
    let outcome = simulator.open_connection(id).downstream_data("hello", true).upstream_data("answer", true).finish();
    assert_eq!((outcome.to_upstream, outcome.to_downstream), (b"hello".to_vec(), b"answer".to_vec()));
}
