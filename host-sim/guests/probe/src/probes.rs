//! Calls without lasting effects, by family of host functions.

use crate::host::wasi;
use crate::host::*;
use crate::report::{Allocation, NOWHERE, Out, Probe, at, names, pairs, quoted, read, space, with_allocation};
use std::cell::Cell;

/// The header maps of the ABI, and an unknown one.
pub const MAPS: [(&str, u32); 10] = [
    ("HttpRequestHeaders", 0),
    ("HttpRequestTrailers", 1),
    ("HttpResponseHeaders", 2),
    ("HttpResponseTrailers", 3),
    ("GrpcReceiveInitialMetadata", 4),
    ("GrpcReceiveTrailingMetadata", 5),
    ("HttpCallResponseHeaders", 6),
    ("HttpCallResponseTrailers", 7),
    ("8", 8),
    ("4294967295", u32::MAX),
];

/// The buffers of the ABI, and an unknown one.
pub const BUFFERS: [(&str, u32); 11] = [
    ("HttpRequestBody", 0),
    ("HttpResponseBody", 1),
    ("DownstreamData", 2),
    ("UpstreamData", 3),
    ("HttpCallResponseBody", 4),
    ("GrpcReceiveBuffer", 5),
    ("VmConfiguration", 6),
    ("PluginConfiguration", 7),
    ("CallData", 8),
    ("9", 9),
    ("4294967295", u32::MAX),
];

/// A cluster that responds, one without a listener, and an unknown one.
pub const CLUSTER: &str = "backend";
pub const REFUSING: &str = "refusing";
const NO_CLUSTER: &str = "nowhere";

thread_local! {
    static LAST: Cell<u32> = const { Cell::new(0) };
    static SEED: Cell<u32> = const { Cell::new(0) };
}

/// The kind of context of a callback. Functions that change its flow are not called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Root(u32),
    Stream(u32, u32),
    Connection(u32, u32),
}

/// Sets the random suffix of names in this VM: metrics and shared data are shared with other VMs.
pub fn seed() {
    let seed = Out::new();
    wasi::random_get(seed.pointer(), 4);
    SEED.set(seed.word());
}

/// Returns an unused name.
fn unique() -> String {
    LAST.set(LAST.get().wrapping_add(1));
    format!("{:08x}-{}", SEED.get(), LAST.get())
}

/// Calls every host function.
pub fn everything(p: Probe, place: Place) {
    logging_and_time(p);
    properties(p);
    for (map, number) in MAPS {
        header_map(p, map, number);
    }
    header_map_memory(p);
    for (buffer, number) in BUFFERS {
        self::buffer(p, buffer, number);
    }
    buffer_memory(p);
    metrics(p);
    shared_data(p);
    queues(p);
    http_callouts(p);
    grpc_callouts(p);
    streams(p, place);
    contexts(p, place);
    foreign_functions(p);
    wasi(p);
    wasi_restricted(p);
}

fn logging_and_time(p: Probe) {
    let (text, size) = at(b"said by the probe");
    for (level, number) in [("Trace", 0), ("Debug", 1), ("Info", 2), ("Warn", 3), ("Error", 4), ("Critical", 5)] {
        p.status("proxy_log", level, proxy_log(number, text, size));
    }
    p.status("proxy_log", 6, proxy_log(6, text, size));
    p.status("proxy_log", u32::MAX, proxy_log(u32::MAX, text, size));
    p.status("proxy_log", "Info, NOWHERE", proxy_log(2, NOWHERE, 1));
    p.status("proxy_log", "Info, no bytes", proxy_log(2, text, 0));
    p.status("proxy_log", "Info, no bytes NOWHERE", proxy_log(2, NOWHERE, 0));
    p.status("proxy_log", "6, NOWHERE", proxy_log(6, NOWHERE, 1));
    let end = u32::try_from(core::arch::wasm32::memory_size(0) * 65_536).unwrap_or(u32::MAX);
    p.status("proxy_log", "Info, no bytes at the memory's end", proxy_log(2, end, 0));
    p.status("proxy_log", "Info, the memory's last byte", proxy_log(2, end - 1, 1));
    p.status("proxy_log", "Info, over the memory's end", proxy_log(2, end - 1, 2));
    p.word("proxy_get_log_level", "", |level| proxy_get_log_level(level));
    p.status("proxy_get_log_level", "NOWHERE", proxy_get_log_level(NOWHERE));
    let time = "proxy_get_current_time_nanoseconds";
    p.long_as(time, "", |out| proxy_get_current_time_nanoseconds(out), nonzero);
    p.status(time, "NOWHERE", proxy_get_current_time_nanoseconds(NOWHERE));
    // `on_tick` stops the tick again.
    for period in [0, 20] {
        let status = proxy_set_tick_period_milliseconds(period);
        p.status("proxy_set_tick_period_milliseconds", period, status);
    }
    let (code, message, size) = (Out::new(), Out::new(), Out::new());
    let status = proxy_get_status(code.pointer(), message.pointer(), size.pointer());
    let text = read(message.word(), if size.touched() { size.word() } else { 0 });
    p.say("proxy_get_status", "", format!("{status} {} {}", code.word(), quoted(&text)));
    p.status("proxy_get_status", "code NOWHERE", proxy_get_status(NOWHERE, message.pointer(), size.pointer()));
    p.status("proxy_get_status", "message NOWHERE", proxy_get_status(code.pointer(), NOWHERE, size.pointer()));
    p.status("proxy_get_status", "size NOWHERE", proxy_get_status(code.pointer(), message.pointer(), NOWHERE));
}

fn nonzero(number: u64) -> String {
    String::from(if number == 0 { "zero" } else { "nonzero" })
}

fn properties(p: Probe) {
    let get = "proxy_get_property";
    let known = [
        "plugin_name",
        "plugin_root_id",
        "plugin_vm_id",
        "node\0id",
        "node\0metadata\0NAMESPACE",
        "node\0metadata\0NAMESPACE\0deeper",
        "node\0metadata\0missing",
        "node\0missing",
        "xds\0node\0id",
        "xds\0node\0metadata\0NAMESPACE",
        "xds\0node\0metadata\0NAMESPACE\0deeper",
        "xds\0node\0metadata\0missing",
        "xds\0cluster_name",
        "xds\0route_name",
        "xds\0missing",
        "cluster_name",
        "route_name",
        "connection\0mtls",
        "connection\0missing",
        "request\0url_path",
        "request\0query",
        "request\0scheme",
        "request\0size",
        "request\0total_size",
        "request\0path",
        "request\0method",
        "request\0host",
        "request\0protocol",
        "request\0headers\0x-probe",
        "request\0headers\0missing",
        "request\0missing",
        "response\0code",
        "response\0code_details",
        "response\0size",
        "response\0headers\0x-pod",
        "response\0trailers\0x-trailer",
        "missing",
        "missing\0deeper",
        "",
        "\0",
    ];
    for path in known {
        let (start, size) = at(path.as_bytes());
        let label = path.split('\0').collect::<Vec<_>>().join(".");
        let label = if path == "\0" { "NUL".to_owned() } else { label };
        p.bytes(get, label, |out, length| proxy_get_property(start, size, out, length));
    }
    let (path, path_size) = at(b"plugin_name");
    let (value, size) = (Out::new(), Out::new());
    p.status(get, "path NOWHERE", proxy_get_property(NOWHERE, 1, value.pointer(), size.pointer()));
    let status = proxy_get_property(path, path_size, NOWHERE, size.pointer());
    p.status(get, "plugin_name, value NOWHERE", status);
    let status = proxy_get_property(path, path_size, value.pointer(), NOWHERE);
    p.status(get, "plugin_name, size NOWHERE", status);
    let (missing, missing_size) = at(b"missing");
    p.status(get, "missing, value NOWHERE", proxy_get_property(missing, missing_size, NOWHERE, NOWHERE));
    for (label, allocation) in [("allocation fails", Allocation::Fails), ("allocated NOWHERE", Allocation::Nowhere)] {
        p.bytes(get, format!("plugin_name, {label}"), |out, length| {
            with_allocation(allocation, || proxy_get_property(path, path_size, out, length))
        });
    }
    let set = "proxy_set_property";
    for (name, label) in
        [("probe", "probe"), ("probe\0deeper", "probe.deeper"), ("plugin_name", "plugin_name"), ("", "")]
    {
        let (path, path_size) = at(name.as_bytes());
        for text in ["1", "22", ""] {
            let (value, size) = at(text.as_bytes());
            p.status(set, format!("{label}, {text:?}"), proxy_set_property(path, path_size, value, size));
            let after = format!("{label}, after {text:?} was set");
            p.bytes(get, after, |out, length| proxy_get_property(path, path_size, out, length));
        }
    }
    p.status(set, "path NOWHERE", proxy_set_property(NOWHERE, 1, path, path_size));
    p.status(set, "value NOWHERE", proxy_set_property(path, path_size, NOWHERE, 1));
}

fn header_map(p: Probe, map: &str, number: u32) {
    let get = |label: &str, name: &str| {
        let (start, size) = at(name.as_bytes());
        p.bytes("proxy_get_header_map_value", format!("{map}, {label}"), |out, length| {
            proxy_get_header_map_value(number, start, size, out, length)
        });
    };
    for name in [":path", ":status", "x-probe", "X-PROBE", "x-pod", "x-trailer", "missing", ""] {
        get(&format!("{name:?}"), name);
    }
    p.word("proxy_get_header_map_size", map, |out| proxy_get_header_map_size(number, out));
    let all = p.bytes_as(
        "proxy_get_header_map_pairs",
        map,
        |out, length| proxy_get_header_map_pairs(number, out, length),
        |bytes| format!("{} bytes: {}", if bytes.is_empty() { "no" } else { "some" }, names(bytes)),
    );
    let (name, name_size) = at(b"X-Added");
    for value in ["1", "2"] {
        let (value_at, size) = at(value.as_bytes());
        let status = proxy_add_header_map_value(number, name, name_size, value_at, size);
        p.status("proxy_add_header_map_value", format!("{map}, \"X-Added\", {value:?}"), status);
        get(&format!("\"x-added\" after {value} was added"), "x-added");
    }
    let pairs_now = |label: &str| {
        p.bytes_as(
            "proxy_get_header_map_pairs",
            format!("{map}, {label}"),
            |out, length| proxy_get_header_map_pairs(number, out, length),
            names,
        );
    };
    pairs_now("after two were added");
    let (value, size) = at(b"3");
    let status = proxy_replace_header_map_value(number, name, name_size, value, size);
    p.status("proxy_replace_header_map_value", format!("{map}, \"X-Added\", \"3\""), status);
    get("\"x-added\" after it was replaced", "x-added");
    pairs_now("after two were replaced by one");
    let (new, new_size) = at(b"x-new");
    let status = proxy_replace_header_map_value(number, new, new_size, value, size);
    p.status("proxy_replace_header_map_value", format!("{map}, \"x-new\", \"3\""), status);
    get("\"x-new\" after it was replaced", "x-new");
    let status = proxy_add_header_map_value(number, name, 0, value, 0);
    p.status("proxy_add_header_map_value", format!("{map}, \"\", \"\""), status);
    get("\"\" after it was added", "");
    let remove = |label: &str, name: &str| {
        let (start, size) = at(name.as_bytes());
        let status = proxy_remove_header_map_value(number, start, size);
        p.status("proxy_remove_header_map_value", format!("{map}, {label}"), status);
    };
    remove("\"\"", "");
    remove("\"X-ADDED\"", "X-ADDED");
    remove("\"x-new\"", "x-new");
    remove("\"missing\"", "missing");
    get("\"x-added\" after it was removed", "x-added");
    // Setting the original pairs restores what was lost.
    let set = |label: &str, bytes: &[u8]| {
        let (start, size) = at(bytes);
        let status = proxy_set_header_map_pairs(number, start, size);
        p.status("proxy_set_header_map_pairs", format!("{map}, {label}"), status);
        pairs_now(&format!("after {label} were set"));
    };
    let one = pairs(&[("X-One", "1"), ("x-two", "2"), ("x-one", "3")]);
    set("three pairs", &one);
    get("\"x-one\" after three pairs were set", "x-one");
    set("pairs cut short", one.get(..one.len() - 2).unwrap_or_default());
    set("three pairs and a byte", &[&one[..], b"x"].concat());
    set("no bytes", b"");
    set("no pairs", &0_u32.to_le_bytes());
    set("3 bytes", b"abc");
    set("the same pairs", &all);
}

fn header_map_memory(p: Probe) {
    let (value, size) = (Out::new(), Out::new());
    let (name, name_size) = at(b"x-probe");
    for (map, number) in [("HttpRequestHeaders", 0), ("HttpResponseHeaders", 2), ("8", 8)] {
        let (value, size) = (value.pointer(), size.pointer());
        let say = |function: &str, what: &str, status: u32| p.status(function, format!("{map}, {what}"), status);
        let get = "proxy_get_header_map_value";
        say(get, "name NOWHERE", proxy_get_header_map_value(number, NOWHERE, 1, value, size));
        say(get, "value NOWHERE", proxy_get_header_map_value(number, name, name_size, NOWHERE, size));
        say(get, "size NOWHERE", proxy_get_header_map_value(number, name, name_size, value, NOWHERE));
        let pairs = "proxy_get_header_map_pairs";
        say(pairs, "pairs NOWHERE", proxy_get_header_map_pairs(number, NOWHERE, size));
        say(pairs, "size NOWHERE", proxy_get_header_map_pairs(number, value, NOWHERE));
        say("proxy_get_header_map_size", "NOWHERE", proxy_get_header_map_size(number, NOWHERE));
        let add = "proxy_add_header_map_value";
        say(add, "name NOWHERE", proxy_add_header_map_value(number, NOWHERE, 1, name, 1));
        say(add, "value NOWHERE", proxy_add_header_map_value(number, name, 1, NOWHERE, 1));
        let replace = "proxy_replace_header_map_value";
        say(replace, "name NOWHERE", proxy_replace_header_map_value(number, NOWHERE, 1, name, 1));
        say(replace, "value NOWHERE", proxy_replace_header_map_value(number, name, 1, NOWHERE, 1));
        say("proxy_remove_header_map_value", "NOWHERE", proxy_remove_header_map_value(number, NOWHERE, 1));
        say("proxy_set_header_map_pairs", "NOWHERE", proxy_set_header_map_pairs(number, NOWHERE, 1));
        for (label, allocation) in [("allocation fails", Allocation::Fails), ("allocated NOWHERE", Allocation::Nowhere)]
        {
            let call = || proxy_get_header_map_value(number, name, name_size, value, size);
            say(get, label, with_allocation(allocation, call));
            let call = || proxy_get_header_map_pairs(number, value, size);
            say(pairs, label, with_allocation(allocation, call));
        }
    }
}

fn buffer(p: Probe, buffer: &str, number: u32) {
    for (start, length) in [(0, 4), (0, u32::MAX), (1, 4), (0, 0), (1000, 4), (1000, 0), (u32::MAX, u32::MAX)] {
        p.bytes("proxy_get_buffer_bytes", format!("{buffer}, {start}, {length}"), |out, size| {
            proxy_get_buffer_bytes(number, start, length, out, size)
        });
    }
    let (length, flags) = (Out::new(), Out::new());
    let status = proxy_get_buffer_status(number, length.pointer(), flags.pointer());
    let answer = match length.touched() {
        true => format!("{status} length={} flags={}", length.word(), flags.word()),
        false => status.to_string(),
    };
    p.say("proxy_get_buffer_status", buffer, answer);
    let (bytes, size) = at(b"");
    p.status(
        "proxy_set_buffer_bytes",
        format!("{buffer}, 0, 0, \"\""),
        proxy_set_buffer_bytes(number, 0, 0, bytes, size),
    );
    p.status(
        "proxy_set_buffer_bytes",
        format!("{buffer}, 1, 0, \"\""),
        proxy_set_buffer_bytes(number, 1, 0, bytes, size),
    );
    let status = proxy_set_buffer_bytes(number, 1000, 5, bytes, size);
    p.status("proxy_set_buffer_bytes", format!("{buffer}, 1000, 5, \"\""), status);
}

fn buffer_memory(p: Probe) {
    let (value, size) = (Out::new(), Out::new());
    let (value, size) = (value.pointer(), size.pointer());
    for (buffer, number) in
        [("HttpRequestBody", 0), ("HttpResponseBody", 1), ("VmConfiguration", 6), ("PluginConfiguration", 7), ("9", 9)]
    {
        let get = "proxy_get_buffer_bytes";
        let say = |function: &str, what: &str, status: u32| p.status(function, format!("{buffer}, {what}"), status);
        say(get, "bytes NOWHERE", proxy_get_buffer_bytes(number, 0, 4, NOWHERE, size));
        say(get, "size NOWHERE", proxy_get_buffer_bytes(number, 0, 4, value, NOWHERE));
        say(get, "no bytes NOWHERE", proxy_get_buffer_bytes(number, 0, 0, NOWHERE, size));
        let call = || proxy_get_buffer_bytes(number, 0, 4, value, size);
        say(get, "allocation fails", with_allocation(Allocation::Fails, call));
        say("proxy_get_buffer_status", "length NOWHERE", proxy_get_buffer_status(number, NOWHERE, size));
        say("proxy_get_buffer_status", "flags NOWHERE", proxy_get_buffer_status(number, value, NOWHERE));
        say("proxy_set_buffer_bytes", "bytes NOWHERE", proxy_set_buffer_bytes(number, 0, 0, NOWHERE, 1));
    }
}

fn metrics(p: Probe) {
    let name = unique();
    let (start, size) = at(name.as_bytes());
    let kind = |id: u32| format!("id % 4 = {}", id % 4);
    for (label, number) in [("Counter", 0), ("Gauge", 1), ("Histogram", 2)] {
        let define = |out| proxy_define_metric(number, start, size, out);
        let metric = p.word_as("proxy_define_metric", format!("{label}, NAME"), define, kind);
        let again = |id: u32| String::from(if id == metric { "the same id" } else { "another id" });
        let second = p.word_as("proxy_define_metric", format!("{label}, NAME again"), define, again);
        let get = |after: &str, metric: u32| {
            p.long("proxy_get_metric", format!("{label} after {after}"), |out| proxy_get_metric(metric, out));
        };
        get("its definition", metric);
        p.status("proxy_increment_metric", format!("{label}, 5"), proxy_increment_metric(metric, 5));
        get("5", metric);
        p.status("proxy_increment_metric", format!("{label}, 0"), proxy_increment_metric(metric, 0));
        p.status("proxy_increment_metric", format!("{label}, -2"), proxy_increment_metric(metric, -2));
        get("5 and -2", metric);
        p.status("proxy_record_metric", format!("{label}, 7"), proxy_record_metric(metric, 7));
        get("7 was recorded", metric);
        get("all that by its other id", second);
        p.status("proxy_record_metric", format!("{label}, 0"), proxy_record_metric(metric, 0));
        get("0 was recorded", metric);
        p.status("proxy_get_metric", format!("{label}, NOWHERE"), proxy_get_metric(metric, NOWHERE));
    }
    let other = unique();
    let (other, other_size) = at(other.as_bytes());
    let below =
        p.word_as("proxy_define_metric", "Gauge, OTHER", |out| proxy_define_metric(1, other, other_size, out), kind);
    p.status("proxy_increment_metric", "Gauge of 0, -1", proxy_increment_metric(below, -1));
    p.long("proxy_get_metric", "Gauge of 0 after -1", |out| proxy_get_metric(below, out));
    // All VMs share the value: restore it.
    proxy_record_metric(below, 0);
    for kind in [3, u32::MAX] {
        p.word("proxy_define_metric", format!("{kind}, NAME"), |out| proxy_define_metric(kind, start, size, out));
    }
    let id = Out::new();
    p.status("proxy_define_metric", "Counter, name NOWHERE", proxy_define_metric(0, NOWHERE, 1, id.pointer()));
    p.status("proxy_define_metric", "Counter, id NOWHERE", proxy_define_metric(0, start, size, NOWHERE));
    p.status("proxy_define_metric", "3, name NOWHERE", proxy_define_metric(3, NOWHERE, 1, id.pointer()));
    for (label, unknown) in [
        ("unknown Counter", 0x7fff_fff0),
        ("unknown Gauge", 0x7fff_fff1),
        ("unknown Histogram", 0x7fff_fff2),
        ("unknown 3", 0x7fff_fff3),
        ("0", 0),
    ] {
        p.status("proxy_increment_metric", format!("{label}, 1"), proxy_increment_metric(unknown, 1));
        p.status("proxy_increment_metric", format!("{label}, 0"), proxy_increment_metric(unknown, 0));
        p.status("proxy_record_metric", format!("{label}, 1"), proxy_record_metric(unknown, 1));
        p.long("proxy_get_metric", label, |out| proxy_get_metric(unknown, out));
        p.status("proxy_get_metric", format!("{label}, NOWHERE"), proxy_get_metric(unknown, NOWHERE));
    }
}

fn shared_data(p: Probe) {
    let key = unique();
    let (key, key_size) = at(key.as_bytes());
    let get = |label: &str| {
        let cas = Out::new();
        p.bytes("proxy_get_shared_data", label, |out, length| {
            proxy_get_shared_data(key, key_size, out, length, cas.pointer())
        });
        cas
    };
    let set = |label: &str, value: &str, cas: u32| {
        let (value, size) = at(value.as_bytes());
        p.status("proxy_set_shared_data", label, proxy_set_shared_data(key, key_size, value, size, cas));
    };
    let missing = get("KEY that isn't there");
    p.say(
        "proxy_get_shared_data",
        "KEY that isn't there: CAS",
        if missing.touched() { "written" } else { "untouched" },
    );
    set("KEY that isn't there, CAS 12345", "one", 12_345);
    let first = get("KEY after CAS 12345");
    p.say("proxy_get_shared_data", "KEY after CAS 12345: CAS", nonzero(u64::from(first.word())));
    set("KEY, the CAS that it has", "two", first.word());
    let second = get("KEY after the CAS that it had");
    let moved = if second.word() == first.word() { "the same" } else { "another" };
    p.say("proxy_get_shared_data", "KEY after the CAS that it had: CAS", moved);
    set("KEY, the CAS that it had before", "three", first.word());
    get("KEY after the CAS that it had before");
    set("KEY, CAS 0", "", 0);
    get("KEY after CAS 0");
    let (value, size, cas) = (Out::new(), Out::new(), Out::new());
    let (value, size, cas) = (value.pointer(), size.pointer(), cas.pointer());
    let (name, function) = (at(b"v"), "proxy_get_shared_data");
    // Non-empty, so that the host allocates memory.
    set("KEY, CAS 0 again", "four", 0);
    p.status(function, "key NOWHERE", proxy_get_shared_data(NOWHERE, 1, value, size, cas));
    p.status(function, "KEY, value NOWHERE", proxy_get_shared_data(key, key_size, NOWHERE, size, cas));
    p.status(function, "KEY, size NOWHERE", proxy_get_shared_data(key, key_size, value, NOWHERE, cas));
    p.status(function, "KEY, CAS NOWHERE", proxy_get_shared_data(key, key_size, value, size, NOWHERE));
    let call = || proxy_get_shared_data(key, key_size, value, size, cas);
    p.status(function, "KEY, allocation fails", with_allocation(Allocation::Fails, call));
    let function = "proxy_set_shared_data";
    p.status(function, "key NOWHERE", proxy_set_shared_data(NOWHERE, 1, name.0, name.1, 0));
    p.status(function, "KEY, value NOWHERE", proxy_set_shared_data(key, key_size, NOWHERE, 1, 0));
    p.status(function, "\"\"", proxy_set_shared_data(key, 0, name.0, name.1, 0));
    p.bytes("proxy_get_shared_data", "\"\"", |out, length| proxy_get_shared_data(key, 0, out, length, cas));
}

fn queues(p: Probe) {
    let queue = unique();
    let (name, name_size) = at(queue.as_bytes());
    let token_form = |token: u32| nonzero(u64::from(token));
    let (register, resolve) = ("proxy_register_shared_queue", "proxy_resolve_shared_queue");
    let resolved = |label: &str, vm: &str| {
        let (vm, vm_size) = at(vm.as_bytes());
        p.word_as(resolve, label, |out| proxy_resolve_shared_queue(vm, vm_size, name, name_size, out), token_form)
    };
    resolved("this VM's id, NAME that isn't there", "probe-vm");
    let token = p.word_as(register, "NAME", |out| proxy_register_shared_queue(name, name_size, out), token_form);
    let same = |other: u32| String::from(if other == token { "the same token" } else { "another token" });
    p.word_as(register, "NAME again", |out| proxy_register_shared_queue(name, name_size, out), same);
    for (label, vm) in [("this VM's id, NAME", "probe-vm"), ("\"\", NAME", ""), ("another VM's id, NAME", "other")] {
        resolved(label, vm);
    }
    let dequeue = |label: &str, token: u32| {
        p.bytes("proxy_dequeue_shared_queue", label, |out, length| proxy_dequeue_shared_queue(token, out, length));
    };
    let enqueue = |label: &str, token: u32, value: &str| {
        let (value, size) = at(value.as_bytes());
        p.status("proxy_enqueue_shared_queue", label, proxy_enqueue_shared_queue(token, value, size));
    };
    dequeue("QUEUE that is empty", token);
    dequeue("unknown", u32::MAX);
    dequeue("0", 0);
    enqueue("QUEUE, \"one\"", token, "one");
    enqueue("QUEUE, \"\"", token, "");
    enqueue("unknown, \"one\"", u32::MAX, "one");
    enqueue("0, \"one\"", 0, "one");
    dequeue("QUEUE, the first", token);
    dequeue("QUEUE, the second", token);
    dequeue("QUEUE, emptied", token);
    let out = Out::new();
    p.status("proxy_enqueue_shared_queue", "QUEUE, NOWHERE", proxy_enqueue_shared_queue(token, NOWHERE, 1));
    enqueue("QUEUE, \"three\"", token, "three");
    let status = proxy_dequeue_shared_queue(token, NOWHERE, out.pointer());
    p.status("proxy_dequeue_shared_queue", "QUEUE, value NOWHERE", status);
    dequeue("QUEUE after the value went NOWHERE", token);
    p.status(register, "name NOWHERE", proxy_register_shared_queue(NOWHERE, 1, out.pointer()));
    p.status(register, "token NOWHERE", proxy_register_shared_queue(name, name_size, NOWHERE));
    p.status(resolve, "VM NOWHERE", proxy_resolve_shared_queue(NOWHERE, 1, name, name_size, out.pointer()));
    p.status(resolve, "name NOWHERE", proxy_resolve_shared_queue(name, 0, NOWHERE, 1, out.pointer()));
    p.status(resolve, "token NOWHERE", proxy_resolve_shared_queue(name, 0, name, name_size, NOWHERE));
}

/// Makes an HTTP callout. Returns its token.
pub fn http_call(p: Probe, label: &str, cluster: &str, headers: &[(&str, &str)], timeout: u32) -> u32 {
    let (cluster, cluster_size) = at(cluster.as_bytes());
    let headers = pairs(headers);
    let (headers, headers_size) = at(&headers);
    let (body, body_size) = at(b"body");
    let trailers = pairs(&[("x-trailer", "1")]);
    let (trailers, trailers_size) = at(&trailers);
    p.word_as(
        "proxy_http_call",
        label,
        |token| {
            proxy_http_call(
                cluster,
                cluster_size,
                headers,
                headers_size,
                body,
                body_size,
                trailers,
                trailers_size,
                timeout,
                token,
            )
        },
        callout,
    )
}

/// The headers of a callout that receives a response.
pub const CALLOUT: [(&str, &str); 3] = [(":method", "POST"), (":path", "/callout"), (":authority", "probe.test")];

/// The headers of a callout that times out.
pub const SLOW: [(&str, &str); 3] = [(":method", "POST"), (":path", "/slow"), (":authority", "probe.test")];

fn callout(token: u32) -> String {
    match token {
        0 => "0".to_owned(),
        _ => format!("token % 4 = {}", token % 4),
    }
}

fn http_callouts(p: Probe) {
    let [method, path, authority] = CALLOUT;
    http_call(p, "known cluster", CLUSTER, &CALLOUT, 5000);
    http_call(p, "known cluster, no timeout", CLUSTER, &CALLOUT, 0);
    http_call(p, "unknown cluster", NO_CLUSTER, &CALLOUT, 5000);
    http_call(p, "no cluster", "", &CALLOUT, 5000);
    http_call(p, "no :method", CLUSTER, &[path, authority], 5000);
    http_call(p, "no :path", CLUSTER, &[method, authority], 5000);
    http_call(p, "no :authority", CLUSTER, &[method, path], 5000);
    http_call(p, "no headers", CLUSTER, &[], 5000);
    http_call(p, "timeout -1", CLUSTER, &CALLOUT, u32::MAX);
    http_call(p, "unknown cluster, timeout -1", NO_CLUSTER, &CALLOUT, u32::MAX);
    let (cluster, cluster_size) = at(CLUSTER.as_bytes());
    let headers = pairs(&CALLOUT);
    let (headers, headers_size) = at(&headers);
    let token = Out::new();
    let call = |arguments: [u32; 4], token: u32| {
        let [cluster, headers, body, trailers] = arguments;
        proxy_http_call(cluster, cluster_size, headers, headers_size, body, 1, trailers, 4, 5000, token)
    };
    let good = [cluster, headers, cluster, headers];
    for (index, what) in ["cluster", "headers", "body", "trailers"].into_iter().enumerate() {
        let mut bad = good;
        if let Some(argument) = bad.get_mut(index) {
            *argument = NOWHERE;
        }
        p.status("proxy_http_call", format!("{what} NOWHERE"), call(bad, token.pointer()));
    }
    p.status("proxy_http_call", "token NOWHERE", call(good, NOWHERE));
}

/// Makes a gRPC call. Returns its token.
pub fn grpc_call(p: Probe, label: &str, service: &str) -> u32 {
    let ((service, size), (name, name_size), (method, method_size)) =
        (at(service.as_bytes()), at(b"probe.Probe"), at(b"Call"));
    let metadata = pairs(&[("x-metadata", "1")]);
    let (metadata, metadata_size) = at(&metadata);
    let (message, message_size) = at(b"message");
    p.word_as(
        "proxy_grpc_call",
        label,
        |token| {
            proxy_grpc_call(
                service,
                size,
                name,
                name_size,
                method,
                method_size,
                metadata,
                metadata_size,
                message,
                message_size,
                5000,
                token,
            )
        },
        callout,
    )
}

/// Opens a gRPC stream. Returns its token.
pub fn grpc_stream(p: Probe, label: &str, service: &str) -> u32 {
    let ((service, size), (name, name_size), (method, method_size)) =
        (at(service.as_bytes()), at(b"probe.Probe"), at(b"Stream"));
    let metadata = pairs(&[("x-metadata", "1")]);
    let (metadata, metadata_size) = at(&metadata);
    p.word_as(
        "proxy_grpc_stream",
        label,
        |token| proxy_grpc_stream(service, size, name, name_size, method, method_size, metadata, metadata_size, token),
        callout,
    )
}

fn grpc_callouts(p: Probe) {
    // No empty service: it crashes Envoy.
    grpc_call(p, "unknown cluster", NO_CLUSTER);
    grpc_stream(p, "unknown cluster", NO_CLUSTER);
    let call = grpc_call(p, "known cluster", CLUSTER);
    let stream = grpc_stream(p, "known cluster", CLUSTER);
    let (message, size) = at(b"message");
    let send = |label: &str, token: u32| {
        p.status("proxy_grpc_send", label, proxy_grpc_send(token, message, size, 0));
    };
    let close = |label: &str, token: u32| p.status("proxy_grpc_close", label, proxy_grpc_close(token));
    let cancel = |label: &str, token: u32| p.status("proxy_grpc_cancel", label, proxy_grpc_cancel(token));
    for (label, unknown) in [
        ("unknown HTTP call", 0x7fff_fff0),
        ("unknown call", 0x7fff_fff1),
        ("unknown stream", 0x7fff_fff2),
        ("unknown 3", 0x7fff_fff3),
        ("0", 0),
    ] {
        send(label, unknown);
        close(label, unknown);
        cancel(label, unknown);
    }
    send("call", call);
    send("stream", stream);
    let status = proxy_grpc_send(stream, NOWHERE, 1, 0);
    p.status("proxy_grpc_send", "stream, NOWHERE", status);
    p.status("proxy_grpc_send", "0, NOWHERE", proxy_grpc_send(0, NOWHERE, 1, 0));
    cancel("call", call);
    cancel("call that was cancelled", call);
    cancel("stream", stream);
    send("stream that was cancelled", stream);
    close("stream that was cancelled", stream);
    let call = grpc_call(p, "known cluster", CLUSTER);
    close("call", call);
    close("call that was closed", call);
    let stream = grpc_stream(p, "known cluster", CLUSTER);
    close("stream", stream);
    close("stream that was closed", stream);
    cancel("stream that was closed", stream);
    let ((service, service_size), (name, name_size)) = (at(CLUSTER.as_bytes()), at(b"n"));
    let token = Out::new();
    let good = [service, name, name, name, name];
    for (index, what) in ["service", "name", "method", "metadata", "message"].into_iter().enumerate() {
        let mut bad = good;
        if let Some(argument) = bad.get_mut(index) {
            *argument = NOWHERE;
        }
        let [service, name, method, metadata, message] = bad;
        let (token, size) = (token.pointer(), name_size);
        let status = proxy_grpc_call(
            service,
            service_size,
            name,
            size,
            method,
            size,
            metadata,
            size,
            message,
            size,
            5000,
            token,
        );
        p.status("proxy_grpc_call", format!("{what} NOWHERE"), status);
        if what != "message" {
            let status = proxy_grpc_stream(service, service_size, name, size, method, size, metadata, size, token);
            p.status("proxy_grpc_stream", format!("{what} NOWHERE"), status);
        }
    }
}

fn streams(p: Probe, place: Place) {
    let types =
        [("Request", 0), ("Response", 1), ("Downstream", 2), ("Upstream", 3), ("4", 4), ("4294967295", u32::MAX)];
    for (label, number) in types {
        // Only scenarios continue or close a running stream.
        let runs = match place {
            Place::Root(_) => false,
            Place::Stream(..) => number < 2,
            Place::Connection(..) => number == 2 || number == 3,
        };
        if !runs {
            p.status("proxy_continue_stream", label, proxy_continue_stream(number));
            p.status("proxy_close_stream", label, proxy_close_stream(number));
        }
    }
    let (text, size) = at(b"text");
    let send = "proxy_send_local_response";
    let respond = |details: u32, body: u32, headers: u32| {
        proxy_send_local_response(418, details, size, body, size, headers, size, u32::MAX)
    };
    if !matches!(place, Place::Stream(..)) {
        p.status(send, "all there", respond(text, text, text));
    }
    p.status(send, "details NOWHERE", respond(NOWHERE, text, text));
    p.status(send, "body NOWHERE", respond(text, NOWHERE, text));
    p.status(send, "headers NOWHERE", respond(text, text, NOWHERE));
    p.status("proxy_done", "", proxy_done());
}

fn contexts(p: Probe, place: Place) {
    let set = "proxy_set_effective_context";
    p.status(set, "unknown", proxy_set_effective_context(0x7fff_ffff));
    p.status(set, "4294967295", proxy_set_effective_context(u32::MAX));
    let (own, root) = match place {
        Place::Root(root) => (root, root),
        Place::Stream(root, stream) | Place::Connection(root, stream) => (stream, root),
    };
    p.status(set, "root", proxy_set_effective_context(root));
    let (name, size) = at(b":path");
    p.bytes(&format!("{set}+proxy_get_header_map_value"), "root, HttpRequestHeaders, \":path\"", |out, length| {
        proxy_get_header_map_value(0, name, size, out, length)
    });
    let (path, path_size) = at(b"probe");
    let status = proxy_set_property(path, path_size, name, size);
    p.status(&format!("{set}+proxy_set_property"), "root, probe", status);
    p.status(set, "itself", proxy_set_effective_context(own));
    p.status(set, "0", proxy_set_effective_context(0));
}

fn foreign_functions(p: Probe) {
    let function = "proxy_call_foreign_function";
    let (name, size) = at(b"missing");
    let (out, length) = (Out::new(), Out::new());
    let (out, length) = (out.pointer(), length.pointer());
    p.status(function, "unknown", proxy_call_foreign_function(name, size, name, size, out, length));
    p.status(function, "\"\"", proxy_call_foreign_function(name, 0, name, 0, out, length));
    p.status(function, "unknown, result NOWHERE", proxy_call_foreign_function(name, size, name, size, NOWHERE, length));
    p.status(function, "name NOWHERE", proxy_call_foreign_function(NOWHERE, 1, name, size, out, length));
    p.status(function, "argument NOWHERE", proxy_call_foreign_function(name, size, NOWHERE, 1, out, length));
}

/// The WASI functions that end the VM during `_initialize`.
fn wasi_restricted(p: Probe) {
    let (vectors, _) = at(&[0; 8]);
    let (path, path_size) = at(b"/etc/passwd");
    for fd in [0, 1, 3] {
        p.word("fd_read", fd, |out| wasi::fd_read(fd, vectors, 1, out));
        p.long("fd_seek", fd, |out| wasi::fd_seek(fd, 0, 0, out));
    }
    p.status("fd_close", 1, wasi::fd_close(1));
    p.status("fd_close", 77, wasi::fd_close(77));
    p.word("path_open", "", |out| wasi::path_open(3, 0, path, path_size, 0, 0, 0, 0, out));
    p.status("sched_yield", "", wasi::sched_yield());
    p.status("wasi_unstable.sched_yield", "", sched_yield());
}

/// The WASI functions that are allowed during `_initialize`.
pub fn wasi(p: Probe) {
    for clock in [0, 1, 2, 3, 4, u32::MAX] {
        p.long_as("clock_time_get", clock, |out| wasi::clock_time_get(clock, 0, out), nonzero);
        p.long("clock_res_get", clock, |out| wasi::clock_res_get(clock, out));
    }
    p.status("clock_time_get", "0, NOWHERE", wasi::clock_time_get(0, 0, NOWHERE));
    p.status("clock_time_get", "4, NOWHERE", wasi::clock_time_get(4, 0, NOWHERE));
    p.status("clock_res_get", "0, NOWHERE", wasi::clock_res_get(0, NOWHERE));
    let bytes = space(65_537, 0);
    for size in [0, 16, 65_536, 65_537] {
        p.status("random_get", format!("{size} bytes"), wasi::random_get(bytes, size));
    }
    p.say("random_get", "16 bytes, what came", if read(bytes, 16) == [0; 16] { "zeros" } else { "bytes" });
    for (label, size) in [("0 bytes NOWHERE", 0), ("16 bytes NOWHERE", 16), ("65537 bytes NOWHERE", 65_537)] {
        p.status("random_get", label, wasi::random_get(NOWHERE, size));
    }
    let (count, size) = (Out::new(), Out::new());
    let status = wasi::environ_sizes_get(count.pointer(), size.pointer());
    p.say("environ_sizes_get", "", format!("{status} count={} size={}", count.word(), size.word()));
    p.status("environ_sizes_get", "count NOWHERE", wasi::environ_sizes_get(NOWHERE, size.pointer()));
    p.status("environ_sizes_get", "size NOWHERE", wasi::environ_sizes_get(count.pointer(), NOWHERE));
    let (variables, text) = (space(64, 0), space(256, 0));
    let status = wasi::environ_get(variables, text);
    let length = size.word().min(256);
    p.say("environ_get", "", format!("{status} {}", quoted(&read(text, length))));
    p.status("environ_get", "variables NOWHERE", wasi::environ_get(NOWHERE, text));
    p.status("environ_get", "bytes NOWHERE", wasi::environ_get(variables, NOWHERE));
    let (count, size) = (Out::new(), Out::new());
    let status = wasi::args_sizes_get(count.pointer(), size.pointer());
    p.say("args_sizes_get", "", format!("{status} count={} size={}", count.word(), size.word()));
    p.status("args_sizes_get", "count NOWHERE", wasi::args_sizes_get(NOWHERE, size.pointer()));
    p.status("args_sizes_get", "size NOWHERE", wasi::args_sizes_get(count.pointer(), NOWHERE));
    p.status("args_get", "NOWHERE", wasi::args_get(NOWHERE, NOWHERE));
    writing(p);
    files(p);
    p.word("poll_oneoff", "1 subscription", |out| wasi::poll_oneoff(variables, text, 1, out));
    p.status("poll_oneoff", "NOWHERE", wasi::poll_oneoff(variables, text, 1, NOWHERE));
}

fn writing(p: Probe) {
    let (text, size) = at(b"written by the probe\n");
    let vector = [text.to_le_bytes(), size.to_le_bytes()].concat();
    let vectors = [&vector[..], &[0; 8], &vector[..]].concat();
    let nowhere = [NOWHERE.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    let ((vectors, _), (nowhere, _)) = (at(&vectors), at(&nowhere));
    for fd in [0, 1, 2, 3, u32::MAX] {
        p.word("fd_write", format!("{fd}, one vector"), |out| wasi::fd_write(fd, vectors, 1, out));
        p.word("fd_pwrite", format!("{fd}, one vector"), |out| wasi::fd_pwrite(fd, vectors, 1, 7, out));
    }
    p.word("fd_write", "1, three vectors", |out| wasi::fd_write(1, vectors, 3, out));
    p.word("fd_write", "1, no vectors", |out| wasi::fd_write(1, vectors, 0, out));
    p.word("fd_write", "1, no vectors NOWHERE", |out| wasi::fd_write(1, NOWHERE, 0, out));
    p.word("fd_write", "1, vectors NOWHERE", |out| wasi::fd_write(1, NOWHERE, 1, out));
    p.word("fd_write", "1, text NOWHERE", |out| wasi::fd_write(1, nowhere, 1, out));
    p.status("fd_write", "1, written NOWHERE", wasi::fd_write(1, vectors, 1, NOWHERE));
    p.status("fd_write", "3, written NOWHERE", wasi::fd_write(3, vectors, 1, NOWHERE));
    p.status("fd_pwrite", "1, written NOWHERE", wasi::fd_pwrite(1, vectors, 1, 0, NOWHERE));
}

fn files(p: Probe) {
    let (buffer, size) = (space(64, 0x55), 64);
    let (path, path_size) = at(b"/etc/passwd");
    let written = |status: u32| {
        let now = read(buffer, 24);
        match now == [0x55; 24] {
            true => status.to_string(),
            false => format!("{status} {}", quoted(&now)),
        }
    };
    for fd in [0, 1, 2, 3] {
        p.status("fd_advise", fd, wasi::fd_advise(fd, 0, 0, 0));
        p.status("fd_allocate", fd, wasi::fd_allocate(fd, 0, 1));
        p.status("fd_datasync", fd, wasi::fd_datasync(fd));
        p.status("fd_fdstat_set_flags", fd, wasi::fd_fdstat_set_flags(fd, 0));
        p.status("fd_fdstat_set_rights", fd, wasi::fd_fdstat_set_rights(fd, 0, 0));
        p.say("fd_filestat_get", fd, written(wasi::fd_filestat_get(fd, buffer)));
        p.status("fd_filestat_set_size", fd, wasi::fd_filestat_set_size(fd, 1));
        p.status("fd_filestat_set_times", fd, wasi::fd_filestat_set_times(fd, 0, 0, 0));
        p.word("fd_pread", fd, |out| wasi::fd_pread(fd, buffer, 1, 0, out));
        p.word("fd_readdir", fd, |out| wasi::fd_readdir(fd, buffer, size, 0, out));
        p.status("fd_sync", fd, wasi::fd_sync(fd));
        p.long("fd_tell", fd, |out| wasi::fd_tell(fd, out));
        p.status("fd_prestat_get", fd, wasi::fd_prestat_get(fd, buffer));
        p.status("fd_prestat_dir_name", fd, wasi::fd_prestat_dir_name(fd, buffer, size));
        p.status("fd_renumber", format!("{fd}, 1"), wasi::fd_renumber(fd, 1));
        p.status("fd_renumber", format!("1, {fd}"), wasi::fd_renumber(1, fd));
        p.say("sock_shutdown", fd, wasi::sock_shutdown(fd, 0));
    }
    for fd in [0, 3, 1, 2] {
        p.say("fd_fdstat_get", fd, written(wasi::fd_fdstat_get(fd, buffer)));
    }
    p.status("fd_fdstat_get", "1, NOWHERE", wasi::fd_fdstat_get(1, NOWHERE));
    p.status("fd_readdir", "3, NOWHERE", wasi::fd_readdir(3, buffer, size, 0, NOWHERE));
    p.status("fd_tell", "1, NOWHERE", wasi::fd_tell(1, NOWHERE));
    p.status("path_create_directory", "", wasi::path_create_directory(3, path, path_size));
    p.status("path_filestat_get", "", wasi::path_filestat_get(3, 0, path, path_size, buffer));
    p.status("path_filestat_set_times", "", wasi::path_filestat_set_times(3, 0, path, path_size, 0, 0, 0));
    // Envoy's functions have one parameter less than WASI's.
    p.status("path_link", "", wasi::path_link(3, 0, path, path_size, 3, path));
    p.status("path_symlink", "", wasi::path_symlink(path, path_size, 3, path));
    p.word("path_readlink", "", |out| wasi::path_readlink(3, path, path_size, buffer, size, out));
    p.status("path_readlink", "NOWHERE", wasi::path_readlink(3, path, path_size, buffer, size, NOWHERE));
    p.status("path_remove_directory", "", wasi::path_remove_directory(3, path, path_size));
    p.status("path_rename", "", wasi::path_rename(3, path, path_size, 3, path, path_size));
    p.status("path_unlink_file", "", wasi::path_unlink_file(3, path, path_size));
    p.long("sock_accept", "", |out| wasi::sock_accept(3, 0, out));
    p.status("sock_accept", "NOWHERE", wasi::sock_accept(3, 0, NOWHERE));
    let flags = Out::new();
    p.word("sock_recv", "", |out| wasi::sock_recv(3, buffer, 1, 0, out, flags.pointer()));
    p.say("sock_recv", "flags", if flags.touched() { "written" } else { "untouched" });
    p.status("sock_recv", "NOWHERE", wasi::sock_recv(3, buffer, 1, 0, NOWHERE, NOWHERE));
    p.word("sock_send", "", |out| wasi::sock_send(3, buffer, 1, 0, out));
    p.status("sock_send", "NOWHERE", wasi::sock_send(3, buffer, 1, 0, NOWHERE));
}
