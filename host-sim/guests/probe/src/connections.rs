//! The callbacks of a TCP connection.

use crate::host::*;
use crate::report::{Probe, at};
use crate::{CONTINUE, PAUSE, set_body, stream, wait};

const DOWNSTREAM: u32 = 2;
const UPSTREAM: u32 = 3;

#[unsafe(no_mangle)]
extern "C" fn proxy_on_new_connection(context: u32) -> u32 {
    let scenario = connection(context, "on_new_connection", "");
    let callback = format!("{scenario}/on_new_connection");
    let p = Probe { callback: &callback };
    match scenario.as_str() {
        "tcp-pause-connection" => return wait(p, context, &scenario),
        "tcp-close-connection" => p.status("proxy_close_stream", "Downstream", proxy_close_stream(DOWNSTREAM)),
        "tcp-continue" => {
            go_on(p);
            return PAUSE;
        }
        "tcp-trap-connection-closed" | "tcp-trap-connection-open" => core::arch::wasm32::unreachable(),
        _ => {}
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_downstream_data(context: u32, size: u32, end_of_stream: u32) -> u32 {
    let name = if end_of_stream == 0 { "on_downstream_data" } else { "on_downstream_data(end)" };
    let scenario = connection(context, name, &format!("size={size}"));
    let callback = format!("{scenario}/on_downstream_data");
    let p = Probe { callback: &callback };
    match scenario.as_str() {
        "tcp-pause-data" if size == 5 => return PAUSE,
        "tcp-hold-downstream" | "tcp-hold-downstream-first" => return PAUSE,
        "tcp-resume-data" if end_of_stream == 0 => return wait(p, context, &scenario),
        "tcp-set-data" if end_of_stream == 0 => set_body(p, DOWNSTREAM),
        "tcp-close-downstream" => p.status("proxy_close_stream", "Downstream", proxy_close_stream(DOWNSTREAM)),
        "tcp-continue" => {
            go_on(p);
            return PAUSE;
        }
        "tcp-trap-data-closed" | "tcp-trap-data-open" => core::arch::wasm32::unreachable(),
        _ => {}
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_upstream_data(context: u32, size: u32, end_of_stream: u32) -> u32 {
    let name = if end_of_stream == 0 { "on_upstream_data" } else { "on_upstream_data(end)" };
    let scenario = connection(context, name, &format!("size={size}"));
    let callback = format!("{scenario}/on_upstream_data");
    let p = Probe { callback: &callback };
    match scenario.as_str() {
        "tcp-pause-data" if size == 3 => return PAUSE,
        "tcp-hold-upstream" | "tcp-hold-upstream-first" => return PAUSE,
        "tcp-set-data" if end_of_stream == 0 => set_body(p, UPSTREAM),
        "tcp-close-upstream" => p.status("proxy_close_stream", "Upstream", proxy_close_stream(UPSTREAM)),
        "tcp-close-at-end" if end_of_stream == 1 => {
            p.status("proxy_close_stream", "Downstream", proxy_close_stream(DOWNSTREAM));
        }
        _ => {}
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_downstream_connection_close(context: u32, by: u32) {
    connection(context, "on_downstream_connection_close", &format!("by={by}"));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_upstream_connection_close(context: u32, by: u32) {
    connection(context, "on_upstream_connection_close", &format!("by={by}"));
}

/// Handles a callback of a connection. In a scenario, reports both buffers.
fn connection(context: u32, callback: &str, arguments: &str) -> String {
    let scenario = stream(context, callback, arguments);
    if scenario != "tcp-all" {
        buffers(Probe { callback: &format!("{scenario}/{callback}({arguments})") }, "");
    }
    scenario
}

fn buffers(p: Probe, whose: &str) {
    for (buffer, number) in [("DownstreamData", DOWNSTREAM), ("UpstreamData", UPSTREAM)] {
        p.bytes("proxy_get_buffer_bytes", format!("{buffer}{whose}"), |out, length| {
            proxy_get_buffer_bytes(number, 0, u32::MAX, out, length)
        });
    }
}

/// Continues in a callback that then pauses.
fn go_on(p: Probe) {
    p.status("proxy_continue_stream", "Downstream", proxy_continue_stream(DOWNSTREAM));
    p.status("proxy_continue_stream", "Upstream", proxy_continue_stream(UPSTREAM));
    buffers(p, ", after it went on");
}

/// Reports the properties of a connection that are the same in each run.
pub fn properties(p: Probe) {
    for path in ["source\0address", "source\0port", "destination\0address", "destination\0port", "connection\0id"] {
        let (start, size) = at(path.as_bytes());
        let form = |bytes: &[u8]| match bytes.starts_with(b"127.0.0.1:") {
            true => "127.0.0.1 and a port".to_owned(),
            false => format!("{} bytes", bytes.len()),
        };
        let call = |out, length| proxy_get_property(start, size, out, length);
        p.bytes_as("proxy_get_property", path.replace('\0', "."), call, form);
    }
}

/// Handles the response of a callout for which a connection waits.
pub fn resume(connection: u32, scenario: &str) {
    let callback = format!("{scenario}/on_http_call_response");
    let p = Probe { callback: &callback };
    buffers(p, " of the root");
    p.status("proxy_set_effective_context", "the connection", proxy_set_effective_context(connection));
    buffers(p, " of the connection");
    let (text, size) = at(b"and ");
    for (buffer, number) in [("DownstreamData", DOWNSTREAM), ("UpstreamData", UPSTREAM)] {
        let status = proxy_set_buffer_bytes(number, 0, 0, text, size);
        p.status("proxy_set_buffer_bytes", format!("{buffer} of the connection, 0, 0, \"and \""), status);
    }
    p.status("proxy_continue_stream", "Downstream", proxy_continue_stream(DOWNSTREAM));
    buffers(p, " of the connection that goes on");
}
