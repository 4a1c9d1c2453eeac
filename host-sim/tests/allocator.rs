//! Host calls during an allocation for the host: which ones are allowed, and that others trap. The end-to-end tests show
//! the same in Envoy.

use host_sim::{Module, Outcome, Simulator};

/// Sends a request through a guest that reads the path and logs the status as a digit. Its allocator runs this code.
/// Returns the outcome, and whether the VM ended.
fn send(allocating: &str) -> (Outcome, bool) {
    let text = format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))
            (import "env" "emscripten_notify_memory_growth" (func $growth (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
            (import "wasi_unstable" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) ":path")
            (func (export "proxy_abi_version_0_2_1"))
            (func $allocate (export "proxy_on_memory_allocate") (param i32) (result i32) {allocating} (i32.const 1024))
            (func $get_path (result i32)
                (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 68)))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (i32.store8 (i32.const 16) (i32.add (i32.const 48) (call $get_path)))
                (drop (call $log (i32.const 2) (i32.const 16) (i32.const 1)))
                (call $growth (i32.const 0))
                (i32.eqz (call $equal (i32.const 7) (i32.const 7)))))"#
    );
    let module = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    let mut simulator = Simulator::builder(&module).start().expect("a start");
    (simulator.request().send(), simulator.has_failed())
}

#[test]
fn logging_and_time_are_allowed_during_an_allocation() {
    for call in [
        "(drop (call $log (i32.const 2) (i32.const 0) (i32.const 0)))",
        "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 512)))",
        "(drop (call $time (i32.const 0) (i64.const 0) (i32.const 512)))",
        "(drop (call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512)))",
    ] {
        let (outcome, has_failed) = send(call);
        assert_eq!((outcome.status(), has_failed, outcome.paused), (Some(200), false, false), "{call}");
        assert_eq!(outcome.logs.last().map(|log| &log.message[..]), Some("0"), "{call}");
    }
}

#[test]
fn other_calls_during_an_allocation_trap_and_end_the_vm() {
    for (call, what) in [
        (
            "(drop (call $get_path))",
            "restricted_callback: proxy_get_header_map_value is not allowed during an allocation",
        ),
        ("(drop (call $random (i32.const 512) (i32.const 1)))", "restricted_callback: random_get "),
        ("(drop (call $equal (i32.const 0) (i32.const 0)))", "restricted_callback: pthread_equal "),
        ("(call $growth (i32.const 0))", "restricted_callback: emscripten_notify_memory_growth "),
        ("unreachable", "Uncaught RuntimeError: unreachable"),
    ] {
        let (outcome, has_failed) = send(call);
        assert_eq!((outcome.status(), has_failed), (Some(503), true), "{call}");
        let [trap, after] = &outcome.logs[..] else { panic!("{:?}", outcome.logs) };
        assert!(trap.message.starts_with("Function: proxy_on_memory_allocate failed: Uncaught "), "{trap}");
        assert!(trap.message.contains(what), "{trap}");
        assert!(trap.message.contains(" - allocate\n") && trap.message.contains(" - get_path\n"), "{trap}");
        assert_eq!(after.message, "6", "the callback continues with status 6");
        assert!(outcome.trap.is_some_and(|trap| trap.starts_with("proxy_on_memory_allocate: ")));
    }
}
