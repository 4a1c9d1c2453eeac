//! The log of a trap: the simulator must print the same lines as a real Envoy. Only the addresses differ: the
//! simulator's are those of functions, Envoy's are those of instructions.

use e2e::bootstrap::{Bootstrap, ROOT_CLUSTER, Wasm};
use e2e::client::Client;
use e2e::envoy::Envoy;
use e2e::httpbin::{HttpbinFixture, ROOT};
use e2e::pod::Pod;
use e2e::report::probe;
use e2e::scratch::Scratch;
use e2e::{Result, wait_for};
use host_sim::{LogLevel, Module, Simulator};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The log of a trap: its lines without addresses, and the addresses.
#[derive(Debug, PartialEq)]
struct Failure {
    lines: Vec<String>,
    addresses: Vec<u64>,
}

impl Failure {
    /// Returns the first failure in a log.
    fn find(log: &str) -> Result<Option<Failure>> {
        let Some(start) = log.find("Function: ") else { return Ok(None) };
        let (mut lines, mut addresses) = (Vec::new(), Vec::new());
        for line in log[start..].lines().take_while(|line| !line.starts_with('[')) {
            match line.split_once(":  0x").and_then(|(place, rest)| Some((place, rest.split_once(" - ")?))) {
                Some((place, (address, name))) => {
                    lines.push(format!("{place}: {name}"));
                    addresses.push(u64::from_str_radix(address, 16).map_err(|error| format!("{line}: {error}"))?);
                }
                None => lines.push(line.to_owned()),
            }
        }
        Ok(Some(Failure { lines, addresses }))
    }
}

/// Returns Envoy's log of a first request that traps.
fn in_envoy(module: &Path, header: (&str, &str)) -> Result<Failure> {
    let (httpbin, scratch) = (HttpbinFixture::start()?, Scratch::new()?);
    let bootstrap = Bootstrap {
        namespace: "curl",
        listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        clusters: vec![(ROOT_CLUSTER.to_owned(), Pod::address(&httpbin.root))],
        hosts: Vec::new(),
        strips: false,
        wasm: Wasm::new(module, ""),
    };
    let envoy = Envoy::start(&bootstrap.text(), scratch.path())?;
    let answer = Client::new(envoy.listener_port("outbound-0")?).get(ROOT, "/json", &[(header.0, header.1.as_bytes())]);
    assert_eq!(answer?.status, 503);
    wait_for("Envoy to log the trap", || Failure::find(&envoy.log()))
}

/// Returns the simulator's log of the same request.
fn in_the_simulator(module: &Path, header: (&str, &str)) -> Result<Failure> {
    let module = Module::from_file(module).map_err(|error| error.to_string())?;
    let mut simulator = Simulator::builder(&module).start().map_err(|error| error.to_string())?;
    let outcome = simulator.request().get("http://shop/json").header(header.0, header.1).send();
    assert_eq!(outcome.status(), Some(503));
    let failure = outcome.logs.iter().find(|log| log.level == LogLevel::Error && log.message.starts_with("Function: "));
    let failure = failure.ok_or_else(|| format!("{:?}", outcome.logs))?;
    Ok(Failure::find(&failure.message)?.ok_or("a failure")?)
}

/// Checks that both logs are the same except for addresses, and returns Envoy's.
fn same_failure(module: &Path, header: (&str, &str)) -> Result<Failure> {
    let (envoy, simulator) = (in_envoy(module, header)?, in_the_simulator(module, header)?);
    assert_eq!(simulator.lines, envoy.lines);
    let are_before = simulator.addresses.iter().zip(&envoy.addresses).all(|(function, at)| function <= at);
    assert!(are_before && simulator.addresses.iter().all(|address| *address > 0), "{simulator:?} {envoy:?}");
    Ok(envoy)
}

/// Writes a guest that runs `body` at a request's headers and has these functions.
fn guest(scratch: &Scratch, body: &str, functions: &str) -> Result<PathBuf> {
    guest_that_allocates(scratch, "", body, functions)
}

/// Writes a guest whose allocator runs `allocating`.
fn guest_that_allocates(scratch: &Scratch, allocating: &str, body: &str, functions: &str) -> Result<PathBuf> {
    let text = format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) ":path")
            (table 8 funcref)
            (func (export "_initialize"))
            (func (export "proxy_abi_version_0_2_1"))
            (func $malloc (export "malloc") (param i32) (result i32) (call $allocating) (i32.const 1024))
            (func $get_path (result i32)
                (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 68)))
            {functions}
            (func $allocating {allocating})
            (func $on_request_headers (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                {body} (i32.const 0)))"#
    );
    let path = scratch.join("guest.wasm");
    std::fs::write(&path, wat::parse_str(text).map_err(|error| error.to_string())?)?;
    Ok(path)
}

#[test]
fn backtrace_names_the_active_functions() -> Result<()> {
    let scratch = Scratch::new()?;
    // Functions that returned or made a tail call are not in the backtrace.
    let module = guest(
        &scratch,
        "(call $return) (call $first)",
        r#"(func $return (call $returned) (call $returned))
        (func $returned (drop (call $log (i32.const 9) (i32.const 0) (i32.const 0))))
        (elem (i32.const 3) $rust)
        (func $first (call $return) (call_indirect (i32.const 3)) (call $return))
        (func $rust (@name "_ZN4shop4cart3add17h0123456789abcdefE") (call $trait))
        (func $trait (@name "_ZN47_$LT$shop..Cart$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE") (call $v0))
        (func $v0 (@name "_RNvCs15kBYyAo9fc_4shop3add") (call $clone))
        (func $clone (@name "_ZN4shop3add17h0123456789abcdefE.llvm.1234") (call $cpp))
        (func $cpp (@name "_ZNSt6vectorIS_IiSaIiEESaIS1_EE9push_backERKi") (call $demangled))
        (func $demangled (@name "shop::add(int)") (call $tail))
        (func $tail (return_call $letter))
        (func $letter (@name "b") (call $pointer))
        (func $pointer (@name "Pi") (call $word))
        (func $word (@name "main") (call 19))
        (func (drop (call $log (i32.const 2) (i32.const 0) (i32.const 0))) (call_indirect (i32.const 4)))
        (elem (i32.const 4) $last)
        (func $last unreachable)"#,
    )?;
    let failure = same_failure(&module, ("x-none", ""))?;
    assert_eq!(failure.lines[0], "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable");
    assert_eq!(failure.lines[2], "  0: last");
    assert!(failure.lines[3].starts_with("  1: unknown(function index:"), "{failure:?}");
    assert_eq!(failure.lines.len(), 2 + 13, "{failure:?}");
    Ok(())
}

#[test]
fn backtrace_has_the_innermost_20_functions() -> Result<()> {
    let scratch = Scratch::new()?;
    let module = guest(
        &scratch,
        "(call $down (i32.const 40))",
        r#"(func $down (param i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (call $odd (i32.sub (local.get 0) (i32.const 1))))
        (func $odd (param i32) (call $down (local.get 0)))"#,
    )?;
    assert_eq!(same_failure(&module, ("x-none", ""))?.lines.len(), 2 + 20);
    Ok(())
}

#[test]
fn module_without_names_has_no_backtrace() -> Result<()> {
    let scratch = Scratch::new()?;
    let module = guest(&scratch, "unreachable", "")?;
    let named = std::fs::read(&module)?;
    // The names are the last section.
    let names = named.windows(5).rposition(|bytes| bytes == b"\x04name").ok_or("a section of names")?;
    let section = named[..names].iter().rposition(|byte| *byte == 0).ok_or("its beginning")?;
    std::fs::write(&module, &named[..section])?;
    assert_eq!(same_failure(&module, ("x-none", ""))?.lines.len(), 1);
    Ok(())
}

#[test]
fn trap_messages_are_those_of_v8() -> Result<()> {
    let scratch = Scratch::new()?;
    for (trap, called) in [
        ("(drop (i32.load (i32.const -1)))", "RuntimeError: memory access out of bounds"),
        ("(call_indirect (i32.const 99))", "RuntimeError: table index is out of bounds"),
        ("(call_indirect (i32.const 1))", "RuntimeError: function signature mismatch"),
        ("(call_indirect (param i32) (i32.const 1) (i32.const 0))", "RuntimeError: function signature mismatch"),
        ("(drop (i32.div_u (i32.const 1) (local.get 2)))", "RuntimeError: divide by zero"),
        (
            "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.sub (i64.extend_i32_u (local.get 2)) (i64.const 1))))",
            "RuntimeError: divide result unrepresentable",
        ),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "RuntimeError: float unrepresentable in integer range"),
    ] {
        let elem = "(elem (i32.const 0) $malloc)";
        // The request has no body, so the third parameter is 1.
        let module = guest(&scratch, &trap.replace("(local.get 2)", "(i32.sub (local.get 2) (i32.const 1))"), elem)?;
        let failure = same_failure(&module, ("x-none", ""))?;
        assert_eq!(failure.lines[0], format!("Function: proxy_on_request_headers failed: Uncaught {called}"));
    }
    Ok(())
}

#[test]
fn forbidden_call_in_malloc_traps_and_the_guest_continues() -> Result<()> {
    let scratch = Scratch::new()?;
    // Without memory from the allocator the guest traps a second time, with another message.
    let body = "(if (i32.ne (call $get_path) (i32.const 6)) (then unreachable))";
    let module = guest_that_allocates(&scratch, "(drop (call $get_path))", body, "")?;
    let mut simulator = in_the_simulator(&module, ("x-none", ""))?;
    // Only the simulator names the function.
    let restricted = "Function: malloc failed: Uncaught Error: restricted_callback";
    assert!(simulator.lines[0].starts_with(&format!("{restricted}: proxy_get_header_map_value ")), "{simulator:?}");
    simulator.lines[0] = restricted.to_owned();
    assert_eq!(simulator.lines, in_envoy(&module, ("x-none", ""))?.lines);
    Ok(())
}

#[test]
fn rust_panic_backtrace_runs_from_the_panic_to_the_callback() -> Result<()> {
    let failure = same_failure(&probe(env!("CARGO_TARGET_TMPDIR"))?, ("x-probe", "panic"))?;
    assert!(failure.lines.iter().any(|line| line.contains("panic_fmt")), "{failure:?}");
    assert!(failure.lines.last().is_some_and(|line| line.ends_with(": proxy_on_request_headers")), "{failure:?}");
    Ok(())
}
