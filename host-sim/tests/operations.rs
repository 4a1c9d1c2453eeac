//! A million host calls with random arguments, during reconfigurations, callouts, injected faults, open streams and open
//! connections. The simulator must not panic.

use fastrand::Rng;
use host_sim::{FailurePolicy, Module, Response, Simulator};
use std::fmt::Write;
use std::time::Duration;

const CALLS: usize = 1_000_000;
/// The number of calls per callback.
const BATCH: usize = 64;
/// Host functions, and the number of their 4-byte parameters.
const FUNCTIONS: &[(&str, usize)] = &[
    ("proxy_log", 3),
    ("proxy_get_log_level", 1),
    ("proxy_set_property", 4),
    ("proxy_get_property", 4),
    ("proxy_get_status", 3),
    ("proxy_set_tick_period_milliseconds", 1),
    ("proxy_get_current_time_nanoseconds", 1),
    ("proxy_get_header_map_value", 5),
    ("proxy_add_header_map_value", 5),
    ("proxy_replace_header_map_value", 5),
    ("proxy_remove_header_map_value", 3),
    ("proxy_get_header_map_pairs", 3),
    ("proxy_set_header_map_pairs", 3),
    ("proxy_get_header_map_size", 2),
    ("proxy_get_buffer_bytes", 5),
    ("proxy_get_buffer_status", 3),
    ("proxy_set_buffer_bytes", 5),
    ("proxy_continue_stream", 1),
    ("proxy_close_stream", 1),
    ("proxy_send_local_response", 8),
    ("proxy_set_effective_context", 1),
    ("proxy_done", 0),
    ("proxy_call_foreign_function", 6),
    ("proxy_get_shared_data", 5),
    ("proxy_set_shared_data", 5),
    ("proxy_register_shared_queue", 3),
    ("proxy_resolve_shared_queue", 5),
    ("proxy_enqueue_shared_queue", 3),
    ("proxy_dequeue_shared_queue", 3),
    ("proxy_define_metric", 4),
    ("proxy_get_metric", 2),
    ("proxy_http_call", 10),
    ("proxy_grpc_call", 12),
    ("proxy_grpc_stream", 9),
    ("proxy_grpc_cancel", 1),
    ("proxy_grpc_close", 1),
    ("proxy_grpc_send", 4),
];

/// Returns a guest that makes the calls of the property `calls` in every callback. A call is 16 numbers, first the function.
fn guest() -> Module {
    let mut imports = String::new();
    let (mut labels, mut cases) = (String::new(), String::new());
    for (place, (name, arguments)) in FUNCTIONS.iter().enumerate() {
        let parameters = "i32 ".repeat(*arguments);
        _ = writeln!(imports, r#"(import "env" "{name}" (func $f{place} (param {parameters}) (result i32)))"#);
        let loads = (0..*arguments).map(|n| format!("(i32.load offset={} (local.get $at))", 4 * n + 4));
        let call = format!("(drop (call $f{place} {}))", loads.collect::<String>());
        labels += &format!(" {place}");
        cases += &format!(") {call} (br $next)");
    }
    let blocks = "(block ".repeat(FUNCTIONS.len());
    let callback = |name: &str, parameters: usize| {
        let results = "(result i32)";
        let body = "(call $batch) (i32.load (i32.const 20))";
        format!(r#"(func (export "{name}") (param {}) {results} {body})"#, "i32 ".repeat(parameters))
    };
    let callbacks = [
        callback("proxy_on_request_headers", 3),
        callback("proxy_on_request_body", 3),
        callback("proxy_on_request_trailers", 2),
        callback("proxy_on_response_headers", 3),
        callback("proxy_on_response_body", 3),
        callback("proxy_on_response_trailers", 2),
        callback("proxy_on_new_connection", 1),
        callback("proxy_on_downstream_data", 3),
        callback("proxy_on_upstream_data", 3),
        callback("proxy_on_done", 1),
    ]
    .concat();
    let text = format!(
        r#"(module {imports}
        (memory (export "memory") 2)
        (data (i32.const 32) "calls")
        (global $free (mut i32) (i32.const 65536))
        ;; What is given is soon forgotten: the same 64 KiB again and again, and nothing larger.
        (func (export "malloc") (param $size i32) (result i32)
            (if (i32.gt_u (local.get $size) (i32.const 16384)) (then (return (i32.const 0))))
            (if (i32.gt_u (global.get $free) (i32.const 110000)) (then (global.set $free (i32.const 65536))))
            (global.get $free) (global.set $free (i32.add (global.get $free) (local.get $size))))
        (func (export "proxy_abi_version_0_2_1"))
        (func $batch (local $at i32) (local $end i32)
            (if (call $f3 (i32.const 32) (i32.const 5) (i32.const 24) (i32.const 28)) (then (return)))
            (local.set $at (i32.load (i32.const 24)))
            (local.set $end (i32.add (local.get $at) (i32.load (i32.const 28))))
            (loop $more
                (if (i32.ge_u (local.get $at) (local.get $end)) (then (return)))
                (block $next
                    {blocks} (br_table {labels} $next (i32.load (local.get $at))) {cases})
                (local.set $at (i32.add (local.get $at) (i32.const 64)))
                (br $more)))
        {callbacks}
        (func (export "proxy_on_tick") (param i32) (call $batch))
        (func (export "proxy_on_downstream_connection_close") (param i32 i32) (call $batch))
        (func (export "proxy_on_upstream_connection_close") (param i32 i32) (call $batch))
        (func (export "proxy_on_log") (param i32) (call $batch))
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (call $batch)))"#
    );
    Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module")
}

/// Returns a random argument: a small number, an address, any number, or a number near the maximum.
fn argument(random: &mut Rng) -> u32 {
    match random.u8(..8) {
        0..=2 => random.u32(..10),
        3 | 4 => random.u32(..1024),
        5 => random.u32(..131_072),
        6 => random.u32(131_000..131_100),
        _ => random.u32(..) | (1 << 31),
    }
}

fn calls(random: &mut Rng) -> Vec<u8> {
    let mut calls = Vec::with_capacity(64 * BATCH);
    for _ in 0..BATCH {
        calls.extend(random.u32(..FUNCTIONS.len() as u32).to_le_bytes());
        (0..15).for_each(|_| calls.extend(argument(random).to_le_bytes()));
    }
    calls
}

fn bytes(random: &mut Rng) -> Vec<u8> {
    let size = random.usize(..20);
    (0..size).map(|_| random.u8(..)).collect()
}

#[test]
fn a_million_random_calls_do_not_panic() {
    let module = guest();
    let mut random = Rng::with_seed(3);
    let policies = [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload];
    let start = |random: &mut Rng| {
        let builder = Simulator::builder(&module).workers(2).vm_id("one").seed(random.u64(..));
        builder.failure_policy(policies[random.usize(..3)]).clusters(&["a"]).start().expect("a start")
    };
    let mut simulator = start(&mut random);
    let (mut made, mut open, mut connections) = (0, Vec::new(), Vec::new());
    while made < CALLS {
        // At least headers, log and done, unless the VM has failed.
        made += if simulator.has_failed() { 0 } else { 3 * BATCH };
        let request = simulator.request().post("http://shop/").worker(random.usize(..3));
        let request = request.body(bytes(&mut random)).header(bytes(&mut random), bytes(&mut random));
        let request = request.trailer(bytes(&mut random), bytes(&mut random));
        let request = request.property(&["calls"], calls(&mut random));
        match random.u8(..8) {
            0 => open.push(request.open()),
            1 => open.push(request.incomplete().open()),
            _ => _ = request.response(Response::status_only(200).body(bytes(&mut random)).trailer("a", "b")).send(),
        }
        if random.u8(..4) == 0 {
            let connection = simulator.connection().worker(random.usize(..3));
            connections.push(connection.property(&["calls"], calls(&mut random)).open());
        }
        if !connections.is_empty() {
            let place = random.usize(..connections.len());
            let connection = simulator.open_connection(connections[place]);
            match random.u8(..8) {
                0..=2 => _ = connection.downstream_data(bytes(&mut random), random.u8(..4) == 0),
                3..=5 => _ = connection.upstream_data(bytes(&mut random), random.u8(..4) == 0),
                6 => _ = connection.reset_upstream(),
                _ => {
                    _ = connection.finish();
                    connections.swap_remove(place);
                }
            }
        }
        // Each failed VM is replaced some time later.
        if simulator.has_failed() && random.u8(..4) == 0 {
            _ = simulator.reload();
        }
        match random.u8(..32) {
            0 => _ = simulator.reconfigure(bytes(&mut random)),
            1 => simulator.advance(Duration::from_millis(random.u64(..2000))),
            2 => simulator.inject_fault(
                FUNCTIONS[random.usize(..FUNCTIONS.len())].0,
                random.u32(..13),
                Some(random.u32(..99)),
            ),
            3 => simulator.clear_faults(),
            4 | 5 => {
                if let Some(call) = simulator.http_calls().first().map(|call| call.token) {
                    _ = simulator.respond_to_http_call(call, Response::status_only(200).body(bytes(&mut random)));
                }
            }
            6 => {
                if let Some(call) = simulator.grpc_calls().first().map(|call| call.token) {
                    simulator.grpc_message(call, bytes(&mut random));
                    simulator.grpc_close(call, random.u32(..20), "why");
                }
            }
            7..=12 => {
                if let Some(stream) = open.pop() {
                    let stream = simulator.stream(stream).body(bytes(&mut random), random.bool());
                    _ = stream.respond(Response::status_only(200)).finish();
                }
            }
            13 if random.u8(..16) == 0 => {
                simulator = start(&mut random);
                open.clear();
                connections.clear();
            }
            _ => {}
        }
    }
}
