//! The lifecycle of a plugin, and the results of host functions.

use host_sim::{Error, LogLevel, Module, Simulator, Value};

/// Returns a guest with these imports and functions, and those that every guest has. `$message` logs 16 bytes at an address.
fn guest(parts: &str) -> Module {
    let text = format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_buffer_status" (func $buffer_status (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_pairs" (func $get_headers (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_size" (func $headers_size (param i32 i32) (result i32)))
            (import "env" "proxy_set_header_map_pairs" (func $set_headers (param i32 i32 i32) (result i32)))
            (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_replace_header_map_value" (func $replace_header (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
            (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
            (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
            (import "env" "proxy_get_metric" (func $get_metric (param i32 i32) (result i32)))
            (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
            (import "env" "proxy_send_local_response"
                (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_unstable" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "x-user")
            (data (i32.const 16) "xds\00node\00metadata\00NAMESPACE")
            (data (i32.const 48) "request\00query")
            (global $free (mut i32) (i32.const 4096))
            ;; Where the host is to write an address (512), a size (516) or a number (520).
            (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get $size))))
            (func $say (param $at i32) (param $size i32)
                (drop (call $log (i32.const 2) (local.get $at) (local.get $size))))
            (func $say_given (call $say (i32.load (i32.const 512)) (i32.load (i32.const 516))))
            (func (export "proxy_abi_version_0_2_1"))
            {parts})"#
    );
    Module::from_bytes(wat::parse_str(text).expect("the guest's text")).expect("the guest")
}

/// Returns a guest that makes these calls in `on_request_headers`, and logs a digit for each status (`:` is 10).
fn calls(calls: &[&str]) -> Module {
    let mut body = String::new();
    for (n, call) in calls.iter().enumerate() {
        let at = 256 + n;
        body += &format!("(i32.store8 (i32.const {at}) (i32.add (i32.const 48) {call}))\n");
    }
    guest(&format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            {body} (call $say (i32.const 256) (i32.const {})) (i32.const 0))"#,
        calls.len()
    ))
}

fn messages(logs: &[host_sim::Log]) -> Vec<&str> {
    logs.iter().map(|log| &log.message[..]).collect()
}

/// Returns what the guest of [`calls`] logs during a request.
fn statuses(module: &Module) -> String {
    let mut simulator = Simulator::builder(module).node_metadata("NAMESPACE", "curl").start().expect("a start");
    let outcome = simulator.request().get("http://shop/cart?a=1").header("x-user", "7").send();
    assert_eq!(outcome.trap, None);
    messages(&outcome.logs).concat()
}

/// Logs a letter for each callback, with the context id.
const DIARY: &str = r#"
    (func $note (param $letter i32) (param $context i32)
        (i32.store8 (i32.const 256) (local.get $letter))
        (i32.store8 (i32.const 257) (i32.add (i32.const 48) (local.get $context)))
        (call $say (i32.const 256) (i32.const 2)))
    (func (export "_initialize") (call $note (i32.const 105) (i32.const 0)))
    (func (export "proxy_on_context_create") (param $c i32) (param $p i32) (call $note (i32.const 99) (local.get $c)))
    (func (export "proxy_on_vm_start") (param $c i32) (param i32) (result i32)
        (call $note (i32.const 118) (local.get $c)) (i32.const 1))
    (func (export "proxy_on_configure") (param $c i32) (param i32) (result i32)
        (call $note (i32.const 102) (local.get $c))
        (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 99) (i32.const 512) (i32.const 516)))
        (call $say_given)
        ;; Refuses what begins with an n, traps at a t.
        (if (i32.eq (i32.load8_u (i32.load (i32.const 512))) (i32.const 116)) (then unreachable))
        (i32.ne (i32.load8_u (i32.load (i32.const 512))) (i32.const 110)))
    (func (export "proxy_on_request_headers") (param $c i32) (param i32 i32) (result i32)
        (call $note (i32.const 104) (local.get $c))
        (if (i32.eqz (call $get_header (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 512) (i32.const 516)))
            (then unreachable))
        (i32.const 0))
    (func (export "proxy_on_log") (param $c i32) (call $note (i32.const 108) (local.get $c)))
    (func (export "proxy_on_done") (param $c i32) (result i32) (call $note (i32.const 100) (local.get $c)) (i32.const 1))
    (func (export "proxy_on_delete") (param $c i32) (call $note (i32.const 120) (local.get $c)))"#;

#[test]
fn callbacks_are_called_in_envoys_order() {
    let mut simulator = Simulator::builder(&guest(DIARY)).configuration("one").start().expect("a start");
    assert_eq!(messages(simulator.logs()), ["i0", "c1", "v1", "f1", "one"]);

    let outcome = simulator.request().send();
    assert_eq!(messages(&outcome.logs), ["c2", "h2", "l2", "d2", "x2"], "log, then done, then delete");

    simulator.reconfigure("second").expect("an accepted configuration");
    assert_eq!(
        messages(&simulator.logs()[10..]),
        ["c3", "v3", "f3", "second", "d1", "x1"],
        "the same VM, a new context"
    );
    assert_eq!(simulator.root_contexts(), 1);
    assert_eq!(messages(&simulator.request().send().logs)[0], "c4");
}

#[test]
fn a_refused_configuration_leaves_the_old_one_in_effect() {
    let module = guest(DIARY);
    let mut simulator = Simulator::builder(&module).configuration("one").start().expect("a start");
    let before = simulator.logs().len();

    let Err(Error::Refused { callback, logs }) = simulator.reconfigure("no") else {
        panic!("the configuration was accepted")
    };
    assert_eq!(callback, "proxy_on_configure");
    assert_eq!(messages(&logs), ["i0", "c1", "v1", "f1", "no", "d1", "x1"], "validated in another VM");
    assert_eq!(simulator.logs()[before..], logs);
    assert!(matches!(simulator.reconfigure("trap"), Err(Error::Trapped { callback: "proxy_on_configure", .. })));

    assert!(!simulator.has_failed());
    assert_eq!(
        messages(&simulator.request().send().logs),
        ["c2", "h2", "l2", "d2", "x2"],
        "the serving VM was not called"
    );
    assert!(matches!(Simulator::builder(&module).configuration("no").start(), Err(Error::Refused { .. })));
}

#[test]
fn requests_get_503_after_a_trap_until_a_reload() {
    let mut simulator = Simulator::builder(&guest(DIARY)).configuration("one").start().expect("a start");

    let outcome = simulator.request().header("x-user", "boom").send();
    assert!(outcome.trap.expect("a trap").starts_with("proxy_on_request_headers: "));
    assert_eq!(outcome.local_response.expect("a response").status, 503);
    assert!(simulator.has_failed());

    let outcome = simulator.request().send();
    assert_eq!((outcome.local_response.map(|response| response.status), outcome.logs), (Some(503), vec![]));
    assert!(matches!(simulator.reconfigure("two"), Err(Error::VmFailed { .. })));

    simulator.reload().expect("a reload");
    let outcome = simulator.request().send();
    assert_eq!((outcome.trap, outcome.local_response), (None, None));
    assert_eq!(messages(&outcome.logs)[0], "c2", "a new VM");
}

/// The smallest module that is loaded.
const MINIMAL: &str = r#"(module (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;

#[test]
fn a_file_that_is_not_a_filter_is_an_error() {
    let invalid = |bytes: &[u8]| Module::from_bytes(bytes).expect_err("an error").to_string();
    assert_eq!(invalid(b""), invalid(b"{}"));
    assert!(invalid(b"").contains("the file is not WebAssembly"));
    assert!(
        invalid(&wat::parse_str("(module)").expect("text"))
            .contains("the ABI marker is missing; export a function proxy_abi_version_0_2_1")
    );
    let old = wat::parse_str(r#"(module (func (export "proxy_abi_version_0_3_0")))"#).expect("text");
    assert!(invalid(&old).contains("the ABI marker proxy_abi_version_0_3_0 is not supported; use ABI"));
    let without = wat::parse_str(r#"(module (func (export "proxy_abi_version_0_2_1")))"#).expect("text");
    assert!(
        invalid(&without).contains("the export malloc or proxy_on_memory_allocate is missing"),
        "as Envoy refuses it"
    );
    assert!(invalid(b"\0asm\x0d\0\x01\0").contains("the version of the binary format is not 1; build a core module"));
    // Envoy refuses any other version, although wasmi compiles the rewritten module.
    let mut other_version = wat::parse_str(MINIMAL).expect("text");
    other_version[5] = 0x10;
    assert!(invalid(&other_version).contains("the version of the binary format is not 1"));
    let missing = Module::from_file("/nowhere/filter.wasm").expect_err("an error").to_string();
    assert!(missing.starts_with("/nowhere/filter.wasm: "), "{missing}");
}

#[test]
fn malformed_names_are_ignored_as_in_v8() {
    let module = wat::parse_str(MINIMAL).expect("text");
    // A custom section `name` whose only subsection is longer than the section.
    let named = [&module[..], b"\0\x07\x04name\x01\x7f"].concat();
    Module::from_bytes(named).expect("a module");
}

#[test]
fn the_error_names_unknown_imports() {
    let text = r#"(module (import "env" "proxy_fly" (func)) (import "wasi_unstable" "fd_write" (func))
        (func (export "malloc") (param i32) (result i32) (i32.const 0)) (func (export "proxy_abi_version_0_2_1")))"#;
    let module = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    assert_eq!(module.imports(), ["env.proxy_fly", "wasi_unstable.fd_write"]);
    match Simulator::builder(&module).start() {
        Err(Error::UnknownImports { imports }) => assert_eq!(imports, ["env.proxy_fly"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_error_names_a_callback_with_another_signature() {
    let text = r#"(module (func (export "proxy_abi_version_0_2_1")) (func (export "proxy_on_request_headers"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
    let module = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    let why = Simulator::builder(&module).start().expect_err("an error").to_string();
    assert!(why.contains("proxy_on_request_headers"), "{why}");
}

#[test]
fn only_logging_and_wasi_are_allowed_during_initialize() {
    let start = |call: &str| {
        let module = guest(&format!(
            r#"(func (export "_initialize")
                (i32.store8 (i32.const 256) (i32.add (i32.const 48) {call})) (call $say (i32.const 256) (i32.const 1)))"#
        ));
        Simulator::builder(&module).start()
    };
    let simulator = start("(call $random (i32.const 520) (i32.const 8))").expect("a start");
    assert_eq!(messages(simulator.logs()), ["0"]);
    for (name, call) in [
        ("proxy_get_current_time_nanoseconds", "(call $now (i32.const 520))"),
        ("proxy_define_metric", "(call $define (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 520))"),
    ] {
        let why = start(call).expect_err("an error").to_string();
        let says =
            format!("trapped in _initialize: Uncaught Error: restricted_callback: {name} is not allowed during ");
        assert!(why.contains(&says), "{why}");
    }
}

#[test]
fn header_map_functions_return_what_envoy_returns() {
    let module = calls(&[
        "(call $get_header (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 512) (i32.const 516))",
        "(call $get_header (i32.const 0) (i32.const 1) (i32.const 5) (i32.const 512) (i32.const 516))", // No such header.
        "(call $get_header (i32.const 2) (i32.const 0) (i32.const 6) (i32.const 512) (i32.const 516))", // No such map now.
        "(call $get_header (i32.const 8) (i32.const 0) (i32.const 6) (i32.const 512) (i32.const 516))", // No such map ever.
        "(call $get_header (i32.const 0) (i32.const -1) (i32.const 6) (i32.const 512) (i32.const 516))", // Out of memory.
        "(call $get_header (i32.const 0) (i32.const 0) (i32.const 6) (i32.const -1) (i32.const 516))",
        "(call $get_headers (i32.const 0) (i32.const 512) (i32.const 516))",
        "(call $get_headers (i32.const 2) (i32.const 512) (i32.const 516))",
        "(i32.load (i32.const 516))", // And the size of that is 0.
        "(call $headers_size (i32.const 2) (i32.const 520))",
        "(call $headers_size (i32.const 0) (i32.const 520))",
        "(call $add_header (i32.const 2) (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 1))",
        "(call $remove_header (i32.const 3) (i32.const 0) (i32.const 6))",
        "(call $set_headers (i32.const 1) (i32.const 0) (i32.const 0))",
    ]);
    assert_eq!(statuses(&module), "01226600020222");
}

#[test]
fn changing_request_headers_clears_the_route_cache() {
    let send = |call: &str| {
        let module = calls(&[call]);
        let mut simulator = Simulator::builder(&module).start().expect("a start");
        simulator.request().header("X-User", "7").header("x-user", "8").send()
    };
    let read = send("(call $get_header (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 512) (i32.const 516))");
    assert!(!read.route_cache_cleared);

    let added = send("(call $add_header (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 2) (i32.const 4))");
    assert!(added.route_cache_cleared);
    assert_eq!(added.request_headers.get_all("x-user").collect::<Vec<_>>(), [b"7", b"8", &b"user"[..]]);

    let replaced = send("(call $replace_header (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 2) (i32.const 0))");
    assert!(replaced.route_cache_cleared);
    assert_eq!(replaced.request_headers.get_all("x-user").collect::<Vec<_>>(), [b""], "an empty value is a value");

    let removed = send("(call $remove_header (i32.const 0) (i32.const 0) (i32.const 6))");
    assert_eq!((removed.route_cache_cleared, removed.request_header("x-user")), (true, None));
    assert!(send("(call $remove_header (i32.const 0) (i32.const 2) (i32.const 3))").route_cache_cleared);

    let emptied = send("(call $set_headers (i32.const 0) (i32.const 0) (i32.const 0))");
    assert!(emptied.route_cache_cleared && emptied.request_headers.is_empty());
}

#[test]
fn buffer_functions_return_what_envoy_returns() {
    let module = calls(&[
        "(call $get_buffer (i32.const 6) (i32.const 0) (i32.const 9) (i32.const 512) (i32.const 516))",
        "(i32.load (i32.const 516))", // The size of the VM's configuration is 2.
        "(call $get_buffer (i32.const 6) (i32.const 3) (i32.const 9) (i32.const 512) (i32.const 516))",
        "(i32.load (i32.const 516))", // Past the end there is nothing.
        "(call $get_buffer (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 512) (i32.const 516))", // Not now.
        "(call $get_buffer (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 512) (i32.const 516))",
        "(call $get_buffer (i32.const 9) (i32.const 0) (i32.const 9) (i32.const 512) (i32.const 516))", // Never.
        "(call $buffer_status (i32.const 6) (i32.const 520) (i32.const 524))",
        "(i32.load (i32.const 520))",
        "(call $set_buffer (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))", // Read-only.
    ]);
    let mut simulator = Simulator::builder(&module).vm_configuration("vm").start().expect("a start");
    assert_eq!(messages(&simulator.request().send().logs), ["0200102022"]);
}

#[test]
fn a_body_can_be_read_and_written() {
    let body = |call: &str| {
        let module = guest(&format!(
            r#"(func (export "proxy_on_request_body") (param i32) (param $size i32) (param i32) (result i32)
                (i32.store8 (i32.const 256) (i32.add (i32.const 48) (local.get $size)))
                (i32.store8 (i32.const 257) (i32.add (i32.const 48) {call}))
                (call $say (i32.const 256) (i32.const 2)) (i32.const 0))"#
        ));
        let mut simulator = Simulator::builder(&module).start().expect("a start");
        let outcome = simulator.request().post("http://shop/").body("abc").send();
        let said = messages(&outcome.logs).concat();
        (said, String::from_utf8(outcome.request_body).expect("text"))
    };
    let set = |start: i32, size: i32| {
        body(&format!(
            "(call $set_buffer (i32.const 0) (i32.const {start}) (i32.const {size}) (i32.const 2) (i32.const 4))"
        ))
    };
    assert_eq!(set(0, 0), ("30".to_owned(), "userabc".to_owned()));
    assert_eq!(set(0, 3), ("30".to_owned(), "user".to_owned()));
    assert_eq!(set(0, -1), ("30".to_owned(), "user".to_owned()));
    assert_eq!(set(3, 0), ("30".to_owned(), "abcuser".to_owned()));
    assert_eq!(set(0, 2), ("30".to_owned(), "userc".to_owned()));
    assert_eq!(set(4, 1), ("30".to_owned(), "abcuser".to_owned()));
    assert_eq!(set(1, 2), ("32".to_owned(), "abc".to_owned()));
}

#[test]
fn metric_functions_return_what_envoy_returns() {
    let module = calls(&[
        "(call $define (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 520))",
        "(i32.div_u (i32.load (i32.const 520)) (i32.const 4))", // The first counter's id is 4.
        "(call $increment (i32.const 4) (i64.const 2))",
        "(call $increment (i32.const 4) (i64.const 0))",
        "(call $increment (i32.const 4) (i64.const -1))",
        "(call $define (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 520))", // Again: the same, by another id.
        "(call $increment (i32.load (i32.const 520)) (i64.const 3))",
        "(call $get_metric (i32.const 4) (i32.const 520))",
        "(i32.load (i32.const 520))",
        "(call $define (i32.const 1) (i32.const 1) (i32.const 2) (i32.const 520))",
        "(call $record (i32.const 5) (i64.const 7))",
        "(call $increment (i32.const 5) (i64.const -2))",
        "(call $define (i32.const 2) (i32.const 2) (i32.const 4) (i32.const 520))",
        "(call $record (i32.const 6) (i64.const 1))",
        "(call $increment (i32.const 6) (i64.const 1))",
        "(call $get_metric (i32.const 6) (i32.const 520))",
        "(call $increment (i32.const 99) (i64.const 1))", // The lowest bits of no type.
        "(call $define (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 520))",
    ]);
    let mut simulator = Simulator::builder(&module).start().expect("a start");
    assert_eq!(messages(&simulator.request().send().logs), ["010220005000002222"]);
    let metrics = simulator.metrics();
    let values: Vec<_> = metrics.iter().map(|(name, metric)| (&name[..], metric.value.clone())).collect();
    let expected = [("x", Value::Counter(5)), ("-u", Value::Gauge(5)), ("user", Value::Histogram(vec![1]))];
    assert_eq!(values, expected);
    assert_eq!(simulator.metric("x").map(|metric| metric.definitions), Some(2));
}

#[test]
fn metrics_outlive_a_vm() {
    let module = calls(&[
        "(call $define (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 520))",
        "(call $increment (i32.const 4) (i64.const 1))",
    ]);
    let mut simulator = Simulator::builder(&module).start().expect("a start");
    _ = simulator.request().send();
    simulator.reload().expect("a reload");
    _ = simulator.request().send();
    assert_eq!(simulator.metric("x-user").map(|metric| metric.value.clone()), Some(Value::Counter(2)));
}

#[test]
fn request_properties_precede_those_of_the_simulator() {
    let module = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $get_property (i32.const 16) (i32.const 27) (i32.const 512) (i32.const 516)))
            (call $say_given)
            (drop (call $get_property (i32.const 48) (i32.const 13) (i32.const 512) (i32.const 516)))
            (call $say_given)
            (i32.store8 (i32.const 256)
                (i32.add (i32.const 48) (call $get_property (i32.const 48) (i32.const 9) (i32.const 512) (i32.const 516))))
            (call $say (i32.const 256) (i32.const 1))
            (i32.const 0))"#,
    );
    let mut simulator = Simulator::builder(&module).node_metadata("NAMESPACE", "curl").start().expect("a start");
    assert_eq!(messages(&simulator.request().get("http://shop/cart?a=1").send().logs), ["curl", "a=1", "1"]);
    let outcome = simulator.request().property(&["request", "query"], "mine").send();
    assert_eq!(messages(&outcome.logs)[1], "mine", "the property of the request takes precedence");
}

#[test]
fn wasi_functions_return_what_envoy_returns() {
    let module = calls(&[
        "(call $fd_write (i32.const 3) (i32.const 560) (i32.const 1) (i32.const 520))",
        "(call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 520))",
        "(i32.div_u (call $random (i32.const -8) (i32.const 16)) (i32.const 7))", // 21
        "(i32.div_u (call $clock (i32.const 2) (i64.const 0) (i32.const 520)) (i32.const 29))", // 58
        "(call $clock (i32.const 1) (i64.const 0) (i32.const 520))",
        "(call $args_sizes (i32.const 520) (i32.const 524))",
        "(i32.load (i32.const 520))",
        "(call $environ_sizes (i32.const 520) (i32.const 524))",
        "(i32.load (i32.const 520))",
        "(i32.load (i32.const 524))",
        "(call $environ (i32.const 528) (i32.const 600))",
        "(i32.sub (i32.load8_u (i32.load (i32.const 528))) (i32.const 65))", // It begins with an A.
    ]);
    let mut simulator = Simulator::builder(&module).environment_variable("A", "b").start().expect("a start");
    assert_eq!(messages(&simulator.request().send().logs), ["8E3200001400"]);
}

#[test]
fn standard_output_and_error_are_logged() {
    let module = guest(
        r#"(data (i32.const 560) "\00\00\00\00\06\00\00\00\02\00\00\00\04\00\00\00")
        (func (export "_initialize")
            (drop (call $fd_write (i32.const 1) (i32.const 560) (i32.const 2) (i32.const 520)))
            (drop (call $fd_write (i32.const 2) (i32.const 560) (i32.const 1) (i32.const 520))))"#,
    );
    let simulator = Simulator::builder(&module).start().expect("a start");
    let logs: Vec<_> = simulator.logs().iter().map(|log| (log.level, &log.message[..])).collect();
    assert_eq!(logs, [(LogLevel::Info, "x-useruser"), (LogLevel::Error, "x-user")]);
}

#[test]
fn the_same_seed_gives_the_same_random_bytes() {
    let module = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $random (i32.const 256) (i32.const 32)))
            (drop (call $replace_header (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 256) (i32.const 32)))
            (i32.const 0))"#,
    );
    let bytes = |seed| {
        let mut simulator = Simulator::builder(&module).seed(seed).start().expect("a start");
        let mut random = || simulator.request().send().request_header("x-user").map(<[u8]>::to_vec);
        (random(), random())
    };
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
    assert_ne!(bytes(7).0, bytes(7).1);
}

#[test]
fn a_filter_can_send_a_local_response() {
    let module = calls(&[
        "(call $respond (i32.const 403) (i32.const 0) (i32.const 6) (i32.const 2) (i32.const 4) (i32.const 0) (i32.const 0)
            (i32.const -1))",
    ]);
    let mut simulator = Simulator::builder(&module).start().expect("a start");
    let response = simulator.request().body("unseen").send().local_response.expect("a response");
    assert_eq!((response.status, &response.details[..], &response.body[..]), (403, &b"x-user"[..], &b"user"[..]));
    assert_eq!(response.grpc_status, None);
}

#[test]
fn proc_exit_returns_and_the_instruction_after_it_traps() {
    let send = |behind: &str| {
        let module = guest(&format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $exit (i32.const 3)) {behind} (i32.const 0))"#
        ));
        Simulator::builder(&module).start().expect("a start").request().send()
    };
    assert_eq!(send("").status(), Some(200));
    assert_eq!(send("(unreachable)").status(), Some(503));
    let module = guest(r#"(func (export "_initialize") (call $exit (i32.const 3)))"#);
    let why = Simulator::builder(&module).start().expect_err("an error").to_string();
    assert!(why.contains("restricted_callback: proc_exit is not allowed during _initialize"), "{why}");
}

#[test]
fn simulators_of_one_module_run_on_any_thread() {
    let module = calls(&["(call $remove_header (i32.const 0) (i32.const 0) (i32.const 6))"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(statuses(&module), "0"));
        }
    });
}

#[test]
fn the_exported_memory_may_have_any_name() {
    let text = r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "mem") 1) (data (i32.const 0) "here")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $log (i32.const 2) (i32.const 0) (i32.const 4))))"#;
    let module = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    let mut simulator = Simulator::builder(&module).start().expect("a start");
    assert_eq!(messages(&simulator.request().send().logs), ["here"]);
    assert_eq!(simulator.memory_size(), 1 << 16);
}
