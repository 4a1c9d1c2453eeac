//! Calls every host function from every callback, and logs the results: one line per call, at level warning,
//! `probe CALLBACK FUNCTION(ARGUMENTS) -> STATUS` followed by the results that are the same in each run.
//!
//! A root context probes each of its callbacks at the first call. A stream probes if its request has the header
//! `x-probe: all`. Any other value names a scenario, which makes the calls that change the flow and reports its callbacks
//! in order. The plugin configuration `tcp SCENARIO` sets the scenario of TCP connections: the root context does not probe,
//! and the connection probes in the scenario `tcp-all`.

mod connections;
mod host;
mod probes;
mod report;

use crate::host::*;
use crate::probes::{
    CALLOUT, CLUSTER, Place, REFUSING, SLOW, everything, grpc_call, grpc_stream, http_call, seed, wasi,
};
use crate::report::{Probe, at, pairs};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;
const REQUEST_HEADERS: u32 = 0;
const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;

thread_local! {
    static VM: RefCell<Vm> = const { RefCell::new(Vm::new()) };
}

/// The state of the guest.
struct Vm {
    roots: BTreeMap<u32, Root>,
    streams: BTreeMap<u32, Stream>,
    /// The callbacks that were probed.
    probed: BTreeSet<String>,
    /// Whether the root contexts belong to TCP filters.
    tcp: bool,
    /// The callouts of paused streams, and failing callouts, by token.
    awaited: BTreeMap<u32, Awaited>,
}

#[derive(Clone, Default)]
struct Root {
    configuration: String,
    /// Whether `on_done` returned false.
    pending: bool,
}

#[derive(Clone)]
struct Stream {
    root: u32,
    is_connection: bool,
    scenario: String,
    callbacks: u32,
}

#[derive(Clone)]
enum Awaited {
    /// A stream and its scenario.
    Stream(u32, String),
    /// A callout, by its name in the report.
    Failure(&'static str),
}

impl Vm {
    const fn new() -> Vm {
        Vm {
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            probed: BTreeSet::new(),
            tcp: false,
            awaited: BTreeMap::new(),
        }
    }
}

/// Accesses the guest's state, never during a host call: the host then calls only the allocator.
fn vm<T>(look: impl FnOnce(&mut Vm) -> T) -> T {
    VM.with(|vm| look(&mut vm.borrow_mut()))
}

/// Returns whether this is the first call of a callback, which is then probed.
fn first(callback: &str) -> bool {
    vm(|vm| !vm.tcp && vm.probed.insert(callback.to_owned()))
}

/// Handles a callback of a root context: probes it at the first call.
fn root(context: u32, callback: &str) {
    if first(callback) {
        everything(Probe { callback }, Place::Root(context));
    }
}

/// Handles a callback of a stream or a connection: probes it in the scenario `all`, and reports it in any other scenario.
/// Returns the scenario.
fn stream(context: u32, callback: &str, arguments: &str) -> String {
    let known = vm(|vm| {
        let stream = vm.streams.get_mut(&context)?;
        stream.callbacks += 1;
        Some(stream.clone())
    });
    let Some(stream) = known else { return String::new() };
    match stream.scenario.as_str() {
        "" => {}
        "all" => {
            Probe { callback }.say("arguments", "", arguments);
            everything(Probe { callback }, Place::Stream(stream.root, context));
        }
        "tcp-all" => {
            Probe { callback }.say("arguments", "", arguments);
            everything(Probe { callback }, Place::Connection(stream.root, context));
            connections::properties(Probe { callback });
        }
        scenario => {
            let callback = format!("{scenario}/{:02}-{callback}", stream.callbacks);
            Probe { callback: &callback }.say("arguments", "", arguments);
        }
    }
    stream.scenario
}

fn is_connection(context: u32) -> bool {
    vm(|vm| vm.streams.get(&context).is_some_and(|stream| stream.is_connection))
}

unsafe extern "C" {
    // Runs constructors of the C library. The linker provides it.
    safe fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    report::allocate(size)
}

/// Only logging and WASI are allowed here: any other call ends the VM.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    __wasm_call_ctors();
    seed();
    let p = Probe { callback: "_initialize" };
    if let Ok(forbidden) = std::env::var("PROBE_FORBIDDEN") {
        forbidden_during_initialize(&forbidden);
        return p.say(&forbidden, "", "returned");
    }
    wasi(p);
    let (text, size) = at(b"said by the probe");
    p.status("proxy_log", "Info", proxy_log(2, text, size));
    p.status("proxy_log", 6, proxy_log(6, text, size));
    p.status("proxy_log", "Info, NOWHERE", proxy_log(2, report::NOWHERE, 1));
}

/// Calls the function of this name, which does not return.
fn forbidden_during_initialize(function: &str) {
    _ = match function {
        "proxy_get_log_level" => proxy_get_log_level(report::NOWHERE),
        "proxy_get_current_time_nanoseconds" => proxy_get_current_time_nanoseconds(report::NOWHERE),
        "proxy_get_property" => proxy_get_property(report::NOWHERE, 1, 0, 0),
        "proxy_get_buffer_bytes" => proxy_get_buffer_bytes(9, 0, 0, 0, 0),
        "proxy_define_metric" => proxy_define_metric(9, 0, 0, 0),
        "proxy_set_shared_data" => proxy_set_shared_data(report::NOWHERE, 1, 0, 0, 0),
        "fd_close" => host::wasi::fd_close(77),
        "fd_read" => host::wasi::fd_read(77, 0, 0, report::NOWHERE),
        "fd_seek" => host::wasi::fd_seek(77, 0, 0, report::NOWHERE),
        "path_open" => host::wasi::path_open(3, 0, 0, 0, 0, 0, 0, 0, report::NOWHERE),
        "sched_yield" => host::wasi::sched_yield(),
        _ => 0,
    };
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    if parent == 0 {
        let configuration = configuration();
        let tcp = configuration.starts_with("tcp");
        vm(|vm| (vm.tcp, _) = (tcp, vm.roots.insert(context, Root::default())));
        // Probe only the first configuration: later ones have other bytes.
        if configuration.starts_with("first") {
            root(context, "on_context_create(root)");
        }
        return;
    }
    let scenario = vm(|vm| {
        let root = vm.roots.get(&parent)?;
        root.configuration.strip_prefix("tcp ").map(str::to_owned)
    });
    let is_connection = scenario.is_some();
    let known = Stream { root: parent, is_connection, scenario: scenario.unwrap_or_default(), callbacks: 0 };
    vm(|vm| vm.streams.insert(context, known));
    if is_connection {
        stream(context, "on_context_create(connection)", "");
        return;
    }
    let callback = "on_context_create(stream)";
    if first(callback) {
        everything(Probe { callback }, Place::Stream(parent, context));
    }
}

/// Returns the plugin configuration while it is readable.
fn configuration() -> String {
    let (bytes, size) = (report::Out::new(), report::Out::new());
    let status = proxy_get_buffer_bytes(7, 0, u32::MAX, bytes.pointer(), size.pointer());
    let configuration = if status == 0 { report::read(bytes.word(), size.word()) } else { Vec::new() };
    String::from_utf8_lossy(&configuration).into_owned()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(context: u32, size: u32) -> u32 {
    Probe { callback: "on_vm_start" }.say("arguments", "", format!("size={size}"));
    root(context, "on_vm_start");
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, size: u32) -> u32 {
    let configuration = configuration();
    if configuration.starts_with("first") {
        Probe { callback: "on_configure" }.say("arguments", "", format!("size={size}"));
        root(context, "on_configure");
    }
    vm(|vm| vm.roots.insert(context, Root { configuration, pending: false }));
    proxy_set_tick_period_milliseconds(20);
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    if first("on_tick") {
        let p = Probe { callback: "on_tick" };
        everything(p, Place::Root(context));
        callouts(p);
    }
    let pending = vm(|vm| vm.roots.get(&context).is_some_and(|root| root.pending));
    if pending {
        let p = Probe { callback: "on_tick(pending)" };
        p.status("proxy_done", "", proxy_done());
        p.status("proxy_done", "again", proxy_done());
    }
    proxy_set_tick_period_milliseconds(0);
}

/// Makes the callouts whose responses are probed.
fn callouts(p: Probe) {
    http_call(p, "known cluster", CLUSTER, &CALLOUT, 5000);
    grpc_call(p, "known cluster", CLUSTER);
    let stream = grpc_stream(p, "known cluster", CLUSTER);
    let (message, size) = at(b"\0\0\0\0\x07message");
    p.status("proxy_grpc_send", "stream, the end", proxy_grpc_send(stream, message, size, 1));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(context: u32, token: u32) {
    if first("on_queue_ready") {
        let p = Probe { callback: "on_queue_ready" };
        p.say("arguments", "", if token == 0 { "token=0" } else { "token=nonzero" });
        everything(p, Place::Root(context));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(context: u32, token: u32, headers: u32, body: u32, trailers: u32) {
    let arguments = format!("headers={headers} body={body} trailers={trailers}");
    match vm(|vm| vm.awaited.remove(&token)) {
        Some(Awaited::Stream(stream, scenario)) if scenario.starts_with("tcp-") => {
            return connections::resume(stream, &scenario);
        }
        Some(Awaited::Stream(stream, scenario)) => return resume(context, stream, &scenario),
        Some(Awaited::Failure(failure)) => return failed(&format!("{failure}/on_http_call_response"), &arguments),
        None => {}
    }
    if first("on_http_call_response") {
        let p = Probe { callback: "on_http_call_response" };
        p.say("arguments", "", arguments);
        everything(p, Place::Root(context));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_receive_initial_metadata(context: u32, _token: u32, metadata: u32) {
    if first("on_grpc_receive_initial_metadata") {
        let p = Probe { callback: "on_grpc_receive_initial_metadata" };
        p.say("arguments", "", format!("metadata={metadata}"));
        everything(p, Place::Root(context));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_receive(context: u32, _token: u32, size: u32) {
    if first("on_grpc_receive") {
        let p = Probe { callback: "on_grpc_receive" };
        p.say("arguments", "", format!("size={size}"));
        everything(p, Place::Root(context));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_receive_trailing_metadata(context: u32, _token: u32, metadata: u32) {
    if first("on_grpc_receive_trailing_metadata") {
        let p = Probe { callback: "on_grpc_receive_trailing_metadata" };
        p.say("arguments", "", format!("metadata={metadata}"));
        everything(p, Place::Root(context));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_close(context: u32, token: u32, status: u32) {
    if let Some(Awaited::Failure(failure)) = vm(|vm| vm.awaited.remove(&token)) {
        return failed(&format!("{failure}/on_grpc_close"), &format!("status={status}"));
    }
    if first("on_grpc_close") {
        let p = Probe { callback: "on_grpc_close" };
        p.say("arguments", "", format!("status={status}"));
        everything(p, Place::Root(context));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, headers: u32, end_of_stream: u32) -> u32 {
    let (name, size) = at(b"x-probe");
    let (value, length) = (report::Out::new(), report::Out::new());
    let status = proxy_get_header_map_value(REQUEST_HEADERS, name, size, value.pointer(), length.pointer());
    let scenario = if status == 0 { report::read(value.word(), length.word()) } else { Vec::new() };
    let scenario = String::from_utf8_lossy(&scenario).into_owned();
    vm(|vm| vm.streams.get_mut(&context).map(|stream| stream.scenario = scenario));
    let arguments = format!("headers={headers} end_of_stream={end_of_stream}");
    let scenario = stream(context, "on_request_headers", &arguments);
    let callback = format!("{scenario}/on_request_headers");
    let p = Probe { callback: &callback };
    match scenario.as_str() {
        "local-response" => local_response(p),
        "close-request" => p.status("proxy_close_stream", "Request", proxy_close_stream(0)),
        "pause-request" => return wait(p, context, &scenario),
        // Separate from the others: the status of a failed call remains, without its message.
        "failing-callouts" => failing_callouts(p),
        "panic" => panic!("as it was asked to"),
        "proc-exit" => {
            host::wasi::proc_exit(3);
            p.say("proc_exit", 3, "returned");
        }
        _ => {}
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: u32, end_of_stream: u32) -> u32 {
    let arguments = format!("size={size} end_of_stream={end_of_stream}");
    let scenario = stream(context, "on_request_body", &arguments);
    let callback = format!("{scenario}/on_request_body");
    let p = Probe { callback: &callback };
    match scenario.as_str() {
        "set-body" => set_body(p, REQUEST_BODY),
        "add-trailers" => {
            let callback = format!("{callback}({arguments})").replace(' ', ",");
            add_trailers(Probe { callback: &callback }, "HttpRequestTrailers", 1);
        }
        "buffer-body" => return PAUSE,
        "pause-body" if end_of_stream == 0 => return PAUSE,
        "pause-body" => return wait(p, context, &scenario),
        _ => {}
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, trailers: u32) -> u32 {
    let scenario = stream(context, "on_request_trailers", &format!("trailers={trailers}"));
    if scenario == "buffer-body" {
        buffered(Probe { callback: "buffer-body/on_request_trailers" }, "HttpRequestBody", REQUEST_BODY);
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, headers: u32, end_of_stream: u32) -> u32 {
    let arguments = format!("headers={headers} end_of_stream={end_of_stream}");
    let scenario = stream(context, "on_response_headers", &arguments);
    let callback = format!("{scenario}/on_response_headers");
    let p = Probe { callback: &callback };
    match scenario.as_str() {
        "local-response-for-response" => local_response(p),
        "pause-response" => return wait(p, context, &scenario),
        // Otherwise the client waits for removed bytes, or misses added ones.
        "set-body" => {
            let (name, size) = at(b"content-length");
            p.status(
                "proxy_remove_header_map_value",
                "\"content-length\"",
                proxy_remove_header_map_value(2, name, size),
            );
        }
        "close-response" => p.status("proxy_close_stream", "Response", proxy_close_stream(1)),
        _ => {}
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: u32, end_of_stream: u32) -> u32 {
    let arguments = format!("size={size} end_of_stream={end_of_stream}");
    let scenario = stream(context, "on_response_body", &arguments);
    let callback = format!("{scenario}/on_response_body");
    let p = Probe { callback: &callback };
    match scenario.as_str() {
        "local-response-in-body" => local_response(p),
        "set-body" => set_body(p, RESPONSE_BODY),
        "buffer-body" => return PAUSE,
        _ => {}
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, trailers: u32) -> u32 {
    let scenario = stream(context, "on_response_trailers", &format!("trailers={trailers}"));
    if scenario == "buffer-body" {
        buffered(Probe { callback: "buffer-body/on_response_trailers" }, "HttpResponseBody", RESPONSE_BODY);
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    // A local response in `on_log` makes Envoy call `on_log` again, until the stack overflows.
    stream(context, if is_connection(context) { "on_log(connection)" } else { "on_log" }, "");
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    if is_connection(context) {
        stream(context, "on_done(connection)", "");
        return 1;
    }
    if vm(|vm| vm.streams.contains_key(&context)) {
        stream(context, "on_done(stream)", "");
        return 1;
    }
    root(context, "on_done(root)");
    // The root context of the first configuration calls `proxy_done` one tick later.
    let pending = vm(|vm| {
        let root = vm.roots.get_mut(&context)?;
        root.pending = root.configuration.contains("takes a tick");
        Some(root.pending)
    });
    if pending == Some(true) {
        proxy_set_tick_period_milliseconds(20);
        return 0;
    }
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    if is_connection(context) {
        // Keep the stream: another callback may follow.
        stream(context, "on_delete(connection)", "");
        return;
    }
    if vm(|vm| vm.streams.contains_key(&context)) {
        stream(context, "on_delete(stream)", "");
        vm(|vm| vm.streams.remove(&context));
        return;
    }
    root(context, "on_delete(root)");
    vm(|vm| vm.roots.remove(&context));
}

fn local_response(p: Probe) {
    let (details, details_size) = at(b"the probe's own details");
    let (body, body_size) = at(b"teapot");
    let headers = pairs(&[("X-Local", "1"), ("x-local", "2")]);
    let (headers, headers_size) = at(&headers);
    let send = |code: u32, grpc_status: u32| {
        proxy_send_local_response(code, details, details_size, body, body_size, headers, headers_size, grpc_status)
    };
    p.status("proxy_send_local_response", "418", send(418, u32::MAX));
}

fn set_body(p: Probe, number: u32) {
    let set = |label: &str, start: u32, length: u32, text: &str| {
        let (bytes, size) = at(text.as_bytes());
        let status = proxy_set_buffer_bytes(number, start, length, bytes, size);
        p.status("proxy_set_buffer_bytes", label, status);
        p.bytes("proxy_get_buffer_bytes", format!("after {label}"), |out, length| {
            proxy_get_buffer_bytes(number, 0, u32::MAX, out, length)
        });
    };
    set("1, 1, \"in between\"", 1, 1, "in between");
    set("0, 0, \"before \"", 0, 0, "before ");
    set("4294967295, 0, \" behind\"", u32::MAX, 0, " behind");
    set("0, 7, \"\"", 0, 7, "");
    set("0, 2, \"B\"", 0, 2, "B");
    set("0, 4294967295, \"whole\"", 0, u32::MAX, "whole");
    set("5, 0, \" and more\"", 5, 0, " and more");
    set("14, 9, \", and the last\"", 14, 9, ", and the last");
}

fn add_trailers(p: Probe, label: &str, number: u32) {
    let (name, size) = at(b"x-added");
    p.bytes("proxy_get_header_map_value", format!("{label}, \"x-added\" before"), |out, length| {
        proxy_get_header_map_value(number, name, size, out, length)
    });
    let (value, value_size) = at(b"1");
    let status = proxy_add_header_map_value(number, name, size, value, value_size);
    p.status("proxy_add_header_map_value", format!("{label}, \"x-added\""), status);
    p.bytes("proxy_get_header_map_value", format!("{label}, \"x-added\" after"), |out, length| {
        proxy_get_header_map_value(number, name, size, out, length)
    });
}

/// Reports a buffered body.
fn buffered(p: Probe, buffer: &str, number: u32) {
    p.bytes("proxy_get_buffer_bytes", format!("{buffer}, buffered"), |out, length| {
        proxy_get_buffer_bytes(number, 0, u32::MAX, out, length)
    });
}

/// Makes callouts that fail.
fn failing_callouts(p: Probe) {
    let failing = [
        (http_call(p, "cluster that refuses", REFUSING, &CALLOUT, 5000), "refused"),
        (http_call(p, "known cluster, 50 ms", CLUSTER, &SLOW, 50), "timed-out"),
        (grpc_call(p, "cluster that refuses", REFUSING), "refused"),
    ];
    for (token, failure) in failing {
        vm(|vm| vm.awaited.insert(token, Awaited::Failure(failure)));
    }
}

/// Pauses a stream until a callout receives its response.
fn wait(p: Probe, stream: u32, scenario: &str) -> u32 {
    let token = http_call(p, "known cluster", CLUSTER, &CALLOUT, 5000);
    vm(|vm| vm.awaited.insert(token, Awaited::Stream(stream, scenario.to_owned())));
    PAUSE
}

/// Handles the response of a callout for which a stream waits.
fn resume(root: u32, stream: u32, scenario: &str) {
    let callback = format!("{scenario}/on_http_call_response");
    let p = Probe { callback: &callback };
    let all = |whose: &str| {
        for (map, number, name) in [
            ("HttpRequestHeaders", 0, "x-probe"),
            ("HttpResponseHeaders", 2, ":status"),
            ("HttpCallResponseHeaders", 6, ":status"),
        ] {
            let (start, size) = at(name.as_bytes());
            p.bytes("proxy_get_header_map_value", format!("{map} of {whose}, {name:?}"), |out, length| {
                proxy_get_header_map_value(number, start, size, out, length)
            });
        }
        for (buffer, number) in [("HttpRequestBody", 0), ("HttpCallResponseBody", 4)] {
            p.bytes("proxy_get_buffer_bytes", format!("{buffer} of {whose}"), |out, length| {
                proxy_get_buffer_bytes(number, 0, u32::MAX, out, length)
            });
        }
    };
    all("the root");
    p.status("proxy_set_effective_context", "the stream", proxy_set_effective_context(stream));
    all("the stream");
    let (name, name_size) = at(b"x-added");
    let (value, size) = at(b"1");
    for (map, number) in [("HttpRequestHeaders", 0), ("HttpResponseHeaders", 2)] {
        let status = proxy_add_header_map_value(number, name, name_size, value, size);
        p.status("proxy_add_header_map_value", format!("{map} of the stream, \"x-added\""), status);
    }
    let (text, size) = at(b"and ");
    let status = proxy_set_buffer_bytes(REQUEST_BODY, 0, 0, text, size);
    p.status("proxy_set_buffer_bytes", "HttpRequestBody of the stream, 0, 0, \"and \"", status);
    let (label, number) = if scenario == "pause-response" { ("Response", 1) } else { ("Request", 0) };
    p.status("proxy_continue_stream", format!("{label} of the stream"), proxy_continue_stream(number));
    all("the stream that goes on");
    p.status("proxy_set_effective_context", "the root", proxy_set_effective_context(root));
    all("the root again");
}

/// Handles a failed callout.
fn failed(callback: &str, arguments: &str) {
    let p = Probe { callback };
    p.say("arguments", "", arguments);
    let (code, message, size) = (report::Out::new(), report::Out::new(), report::Out::new());
    let status = proxy_get_status(code.pointer(), message.pointer(), size.pointer());
    let text = if size.touched() { report::read(message.word(), size.word()) } else { Vec::new() };
    // The rest of the message has addresses and ports, which differ in each run.
    let text = text.split(|byte| *byte == b'{').next().unwrap_or_default();
    p.say("proxy_get_status", "", format!("{status} {} {}", code.word(), report::quoted(text)));
    let (name, length) = at(b":status");
    p.bytes("proxy_get_header_map_value", "HttpCallResponseHeaders, \":status\"", |out, size| {
        proxy_get_header_map_value(6, name, length, out, size)
    });
    p.bytes("proxy_get_buffer_bytes", "HttpCallResponseBody", |out, size| {
        proxy_get_buffer_bytes(4, 0, u32::MAX, out, size)
    });
}
