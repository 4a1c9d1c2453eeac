//! The command `host-sim`, as a user calls it.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::Directory;

/// A filter that logs, then writes `x-user: hello`, then traps if the configuration is longer than two bytes.
const FILTER: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "x-userhello")
    (global $size (mut i32) (i32.const 0))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (global.set $size (local.get 1))
        (drop (call $log (i32.const 3) (i32.const 6) (i32.const 5)))
        (local.get 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $replace (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 6) (i32.const 5)))
        (if (i32.gt_u (global.get $size) (i32.const 2)) (then unreachable))
        (i32.const 0)))"#;

/// Returns a directory with [`FILTER`] as `filter.wasm`, and `config.json`.
fn directory(configuration: &str) -> Directory {
    directory_of(configuration, FILTER)
}

/// Returns a directory with `filter.wasm` and `config.json`.
fn directory_of(configuration: &str, filter: &str) -> Directory {
    Directory::new().with_module("filter.wasm", filter).with("config.json", configuration)
}

#[test]
fn run_prints_the_outcome_of_the_request() {
    let directory = directory("{}");
    let request = ["filter.wasm", "--config", "config.json", "--request", "GET http://shop/cart", "-H", "X-User: 7"];
    let (code, stdout, stderr) = directory.run("run", &request);
    assert_eq!((code, &stderr[..]), (Some(0), ""));
    assert_eq!(
        stdout,
        "[warning] hello\nrequest 1: forwarded, route cache cleared\n  :authority: shop\n  :path: /cart\n  \
         :method: GET\n  :scheme: http\n  x-user: hello\n  response: 200\n"
    );
}

#[test]
fn run_joins_and_removes_headers_as_envoy_does() {
    let directory = directory("{}");
    let mut arguments = vec!["filter.wasm", "--config", "config.json", "--json", "--request", "GET http://shop/cart"];
    for header in ["accept: a", "Accept: b", "connection: close", "cookie: a=1", "cookie: b=2"] {
        arguments.extend(["-H", header]);
    }
    let headers = |arguments: &[&str]| {
        let (_, stdout, _) = directory.run("run", arguments);
        let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        report["requests"][0]["requestHeaders"].as_array().expect("headers")[4..].to_vec()
    };
    let json = |headers: &[[&str; 2]]| headers.iter().map(|header| serde_json::json!(header)).collect::<Vec<_>>();
    let http1 = [["accept", "a,b"], ["cookie", "a=1"], ["cookie", "b=2"], ["x-user", "hello"]];
    assert_eq!(headers(&arguments), json(&http1));
    arguments.push("--http2");
    assert_eq!(headers(&arguments), json(&[["accept", "a,b"], ["cookie", "a=1; b=2"], ["x-user", "hello"]]));
}

#[test]
fn run_prints_json() {
    let directory = directory("{}");
    let request = ["filter.wasm", "--config", "config.json", "--request", "GET http://shop/cart", "-n", "2", "--json"];
    let (code, stdout, _) = directory.run("run", &request);
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(code, Some(0));
    assert_eq!(report["logs"][0]["message"], "hello");
    assert_eq!(report["requests"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["requests"][1]["requestHeaders"][4], serde_json::json!(["x-user", "hello"]));
    assert_eq!(report["requests"][1]["responseHeaders"], serde_json::json!([[":status", "200"]]));
}

#[test]
fn each_outcome_is_printed_before_the_next_request() {
    let directory = directory("{}");
    for more in [&[][..], &["--json"]] {
        let request = ["run", "filter.wasm", "--config", "config.json", "--request", "GET http://shop/"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-sim"));
        command
            .current_dir(directory.path())
            .args(request)
            .args(["-n", "4294967295"])
            .args(more)
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the command");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        assert!(lines.by_ref().take(1000).all(|line| line.is_ok()));
        // A closed pipe ends the run.
        drop(lines);
        assert_eq!(child.wait().expect("an end").code(), Some(0));
    }
}

#[test]
fn the_host_header_sets_the_authority() {
    let directory = directory("{}");
    let request =
        ["filter.wasm", "--config", "config.json", "--request", "GET http://10.0.0.1/", "-H", "Host: shop:80"];
    let (_, stdout, _) = directory.run("run", &request);
    assert!(stdout.contains("\n  :authority: shop:80\n"), "{stdout}");
    assert!(!stdout.contains("host: "), "{stdout}");
}

#[test]
fn an_invalid_request_is_a_usage_error() {
    let directory = directory("{}");
    let refuses = |option: &str, value: &str, what: &str| {
        let mut arguments = vec!["filter.wasm", "--config", "config.json", option, value];
        if option != "--request" {
            arguments.extend(["--request", "GET http://shop/"]);
        }
        let (code, stdout, stderr) = directory.run("run", &arguments);
        assert_eq!((code, &stdout[..]), (Some(2), ""), "{value}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(what), "{value}: {stderr}");
    };
    refuses("--request", "GET", "a method and a URL");
    refuses("--request", "GET ", "a method and a URL");
    refuses("--request", "G@T http://shop/", "G@T is not a method");
    refuses("--request", "GET http://shop/a b", "the URL contains ' '");
    refuses("--request", "GET http://shop/\ta", "the URL contains '\\t'");
    refuses("--request", "GET http://shop/#top", "the URL has a fragment");
    refuses("--request", "GET ftp://shop/", "unknown URL scheme ftp");
    refuses("--request", "GET http:///cart", "no host");
    refuses("--request", "GET http://:80/", "no host");
    refuses("--request", "GET http://me@shop/", "the URL has user information");
    refuses("--request", "GET http://shop:http/", "port");
    refuses("--request", "GET http://shop:65536/", "port");
    refuses("--request", "GET http://shop:/", "port");
    refuses("-H", "no colon", "a name and a `:`");
    refuses("-H", ":path: /", "a name and a `:`");
    refuses("-H", "x user: 7", "\"x user\" is not a header name");
    refuses("-H", "x-user: 7\r\nx-admin: 1", "the value contains '\\r'");
    refuses("-n", "0", "0");
    refuses("--destination-port", "65536", "65536");
}

#[test]
fn run_prints_the_selected_route_and_cluster() {
    let directory = directory("{}");
    let routes = r#"
name: local
virtual_hosts:
- name: shop
  domains: [shop]
  routes:
  - name: greeted
    match: {prefix: /, headers: [{name: x-user, string_match: {exact: hello}}]}
    route:
      weighted_clusters: {clusters: [{name: v1, weight: 0}, {name: v2, weight: 1}]}
      timeout: 0s
      max_stream_duration: {grpc_timeout_header_max: 0s}
      request_mirror_policies:
      - cluster: copies
        disable_shadow_host_suffix_append: true
        trace_sampled: false
        request_headers_mutations:
        - remove: x-backend
        - append: {header: {key: x-mirror, value: copy}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
    request_headers_to_remove: [x-user]
    response_headers_to_add: [{header: {key: x-path, value: "%REQ(:path)%"}, append_action: ADD_IF_ABSENT}]
- {name: others, domains: ["*"], routes: [{match: {path: /}, direct_response: {status: 418}}]}"#;
    std::fs::write(directory.path().join("routes.yaml"), routes).expect("a file");
    let run = |request: &str, more: &[&str]| {
        let arguments = ["filter.wasm", "--config", "config.json", "--routes", "routes.yaml", "--request", request];
        let (code, stdout, stderr) = directory.run("run", &[&arguments, more].concat());
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    };
    assert_eq!(
        run("GET http://shop/cart", &[]),
        "[warning] hello\nrequest 1: forwarded, route cache cleared\n  routed to cluster v2, mirrored to copies \
         (virtual host shop, route greeted)\n  :authority: shop\n  :path: /cart\n  :method: GET\n  :scheme: http\n  \
         response: 200\n    x-path: /cart\n"
    );
    let report: serde_json::Value = serde_json::from_str(&run("GET http://shop/cart", &["--json"])).expect("JSON");
    assert_eq!(
        report["requests"][0]["route"],
        serde_json::json!({"virtualHost": "shop", "name": "greeted", "cluster": "v2", "mirrors": ["copies"]})
    );
    let elsewhere = run("GET http://elsewhere/", &[]);
    assert!(elsewhere.contains("  routed to no cluster (virtual host others, unnamed route)\n"), "{elsewhere}");
    assert!(elsewhere.contains("  response: 418\n"), "{elsewhere}");
    // No route matches.
    let nowhere = run("GET http://elsewhere/cart", &[]);
    assert!(!nowhere.contains("routed") && nowhere.contains("  response: 404\n"), "{nowhere}");
}

#[test]
fn invalid_and_unsupported_routes_are_errors() {
    let directory = directory("{}");
    let refuses = |host: &str, what: &str| {
        std::fs::write(directory.path().join("routes.json"), format!(r#"{{"virtual_hosts": [{host}]}}"#))
            .expect("a file");
        let (code, stdout, stderr) = directory.run(
            "run",
            &["filter.wasm", "--config", "config.json", "--routes", "routes.json", "--request", "GET shop"],
        );
        assert_eq!((code, &stdout[..]), (Some(1), ""), "{host}");
        assert!(stderr.starts_with("error: routes.json: ") && stderr.contains(what), "{stderr}");
    };
    let route = |route: &str| format!(r#"{{"name": "shop", "domains": ["*"], "routes": [{route}]}}"#);
    refuses(r#"{"name": "shop", "domains": []}"#, "virtual host shop: domains are missing");
    refuses(r#"{"name": "shop", "domains": ["*"], "cors": {}}"#, "unknown field `cors`");
    refuses(
        &route(r#"{"match": {"prefix": "/"}}"#),
        "virtual host shop, route 1: set exactly one of route and direct_response",
    );
    refuses(&route(r#"{"match": {"safe_regex": {}}, "route": {"cluster": "v1"}}"#), "unknown field `safe_regex`");
    refuses(
        &route(r#"{"match": {}, "route": {"cluster": "v1"}}"#),
        "route 1: match: set exactly one of prefix, path and path_separated_prefix",
    );
    refuses(
        &route(r#"{"match": {"prefix": "/"}, "route": {}}"#),
        "route 1: route: set exactly one of cluster, cluster_header and weighted_clusters",
    );
    refuses(&route(r#"{"match": {"prefix": "/"}, "route": {"cluster": ""}}"#), "the cluster name is empty");
    refuses("{", "line 1");
}

#[test]
fn the_authority_comes_from_the_url() {
    let directory = directory("{}");
    for (url, authority) in [
        ("shop", "shop"),
        ("shop?page=2", "shop"),
        ("https://shop:8443/", "shop:8443"),
        ("http://[::1]/", "[::1]"),
        ("http://[::1]:80/", "[::1]:80"),
    ] {
        let request = format!("GET {url}");
        let (code, stdout, stderr) =
            directory.run("run", &["filter.wasm", "--config", "config.json", "--request", &request]);
        assert_eq!(code, Some(0), "{url}: {stderr}");
        assert!(stdout.contains(&format!("\n  :authority: {authority}\n")), "{url}: {stdout}");
    }
}

#[test]
fn errors_name_the_file_and_the_problem() {
    let directory = directory("{}");
    let request = ["--request", "GET http://shop/"];
    let fails = |arguments: &[&str], what: &str| {
        let (code, stdout, stderr) = directory.run("run", &[arguments, &request].concat());
        assert_eq!((code, &stdout[..]), (Some(1), ""), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(what), "{stderr}");
    };
    fails(&["missing.wasm"], "missing.wasm: No such file");
    fails(&["config.json"], "config.json: invalid Proxy-Wasm module: the file is not WebAssembly");
    fails(&["filter.wasm", "--config", "missing.json"], "missing.json: No such file");
    fails(&["filter.wasm"], "proxy_on_configure refused the configuration\n  [warning] hello");
}

#[test]
fn a_trap_fails_the_run() {
    let directory = directory("{...}");
    let (code, stdout, _) =
        directory.run("run", &["filter.wasm", "--config", "config.json", "--request", "GET http://shop/"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("request 1: trap in proxy_on_request_headers: "), "{stdout}");
}

/// Escape sequences and other characters that control a terminal, as they are in a string of WebAssembly's text format, and
/// as the command shows them.
const HOSTILE: &str = r"\1b]0;pwned\07\0d\7f\c2\9b2J\e2\80\ae\e2\81\a6\e2\80\a8\09end";
const SHOWN: &str = r"\x1b]0;pwned\x07\r\x7f\u{9b}2J\u{202e}\u{2066}\u{2028}\tend";

/// A filter that writes the hostile text, and a forged line after it, to the log, a header, a metric's name and a local
/// response, then traps in a function that has a hostile name. A configuration of one byte is refused. With two bytes it
/// does not trap, and with three it writes a response header in place of the local response.
fn hostile_filter() -> String {
    r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_send_local_response"
        (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "HOSTILE\0arequest 2: forwarded")
    (data (i32.const 200) "\01\00\00\00\01\00\00\00\LENGTH\00\00\00x\00HOSTILE\0arequest 2: forwarded\00")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "HOSTILE"))
    (global $size (mut i32) (i32.const 0))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $log (i32.const 3) (i32.const 0) (i32.const SIZE)))
        (drop (call $define (i32.const 0) (i32.const 0) (i32.const SIZE) (i32.const 1000)))
        (global.set $size (local.get 1))
        (i32.ne (local.get 1) (i32.const 1)))
    (func $trap (@name "HOSTILE") unreachable)
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $log (i32.const 3) (i32.const 0) (i32.const SIZE)))
        (drop (call $add (i32.const 0) (i32.const 212) (i32.const 1) (i32.const 0) (i32.const SIZE)))
        (if (i32.eq (global.get $size) (i32.const 3)) (then (return (i32.const 0))))
        (drop (call $respond (i32.const 403) (i32.const 0) (i32.const SIZE) (i32.const 0) (i32.const SIZE)
            (i32.const 200) (i32.const RESPONSE) (i32.const -1)))
        (if (i32.ne (global.get $size) (i32.const 2)) (then (call $trap)))
        (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (drop (call $add (i32.const 2) (i32.const 212) (i32.const 1) (i32.const 0) (i32.const SIZE)))
        (i32.const 0)))"#
        .replace("HOSTILE", HOSTILE)
        .replace(r"\LENGTH", &format!(r"\{HOSTILE_SIZE:02x}"))
        .replace("SIZE", &HOSTILE_SIZE.to_string())
        .replace("RESPONSE", &(14 + 1 + HOSTILE_SIZE).to_string())
}

/// The bytes of the hostile text with its forged line.
const HOSTILE_SIZE: usize = 29 + 21;

/// Asserts that the only control characters are newlines, and that no line is forged.
#[track_caller]
fn assert_harmless(output: &str) {
    let is_control =
        |char: &char| (char.is_control() && *char != '\n') || matches!(char, '\u{202e}' | '\u{2066}' | '\u{2028}');
    assert_eq!(output.chars().find(is_control), None, "{output:?}");
    assert!(output.lines().all(|line| !line.starts_with("request 2")), "a forged line: {output}");
}

#[test]
fn text_of_a_module_cannot_control_the_terminal() {
    let directory = directory_of("", &hostile_filter());
    let request = ["filter.wasm", "--request", "GET http://shop/"];
    let (code, stdout, stderr) = directory.run("run", &request);
    assert_eq!((code, &stderr[..]), (Some(1), ""), "{stdout}");
    assert_harmless(&stdout);
    for line in [
        &format!("[warning] {SHOWN}\n  | request 2: forwarded\n")[..],
        &format!("\n  x: {SHOWN}\\nrequest 2: forwarded\n"),
        &format!("\n  [warning] {SHOWN}\n    | request 2: forwarded\n"),
        &format!(" - {SHOWN}\n"),
        &format!("\n{SHOWN}\\nrequest 2: forwarded: 0\n"),
    ] {
        assert!(stdout.contains(line), "{line:?} is not in {stdout}");
    }

    let directory = directory_of("{ }", &hostile_filter());
    let (_, stdout, _) = directory.run("run", &[&request[..], &["--config", "config.json"]].concat());
    assert_harmless(&stdout);
    let response = format!("\n  response: 200\n    x: {SHOWN}\\nrequest 2: forwarded\n");
    assert!(stdout.contains(&response), "{stdout}");
}

#[test]
fn errors_and_inspections_cannot_control_the_terminal() {
    let directory = directory_of("1", &hostile_filter());
    let request = ["--request", "GET http://shop/"];
    let (_, _, stderr) = directory.run("run", &[&["filter.wasm", "--config", "config.json"], &request[..]].concat());
    assert_harmless(&stderr);
    let shown = format!("refused the configuration\n  [warning] {SHOWN}\n    | request 2: forwarded\n");
    assert!(stderr.ends_with(&shown), "{stderr}");

    let (_, stdout, _) = directory.run("inspect", &["filter.wasm"]);
    assert_harmless(&stdout);
    assert!(stdout.contains(&format!("\n  {SHOWN}\n")), "{stdout}");

    let import = format!(
        r#"(module (import "env" "{HOSTILE}\0arequest 2" (func)) (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#
    );
    let directory = directory_of("", &import);
    for (command, arguments) in [("run", &[&["filter.wasm"], &request[..]].concat()[..]), ("inspect", &["filter.wasm"])]
    {
        let (code, stdout, stderr) = directory.run(command, arguments);
        let output = stdout + &stderr;
        assert_eq!(code, Some(1), "{output}");
        assert_harmless(&output);
        assert!(output.contains(&format!("env.{SHOWN}\\nrequest 2")), "{output}");
    }
}

#[test]
fn json_escapes_what_could_control_the_terminal() {
    let directory = directory_of("{}", &hostile_filter());
    let request = ["filter.wasm", "--config", "config.json", "--request", "GET http://shop/", "--json"];
    let (_, run, _) = directory.run("run", &request);
    let (_, inspect, _) = directory.run("inspect", &["filter.wasm", "--json"]);
    let text = "\x1b]0;pwned\x07\r\x7f\u{9b}2J\u{202e}\u{2066}\u{2028}\tend";
    for output in [&run, &inspect] {
        assert_harmless(output);
        assert!(output.contains(r"\u001b]0;pwned\u0007\r\u007f\u009b2J\u202e\u2066\u2028\tend"), "{output}");
    }
    let report: serde_json::Value = serde_json::from_str(&run).expect("JSON");
    assert_eq!(report["logs"][0]["message"], format!("{text}\nrequest 2: forwarded"));
    assert_eq!(report["requests"][0]["localResponse"]["body"], format!("{text}\nrequest 2: forwarded"));
}

/// Returns a filter with this body of `proxy_on_request_headers`.
fn filter_with(body: &str) -> String {
    format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_set_shared_data" (func $share (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 1024))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} (i32.const 0)))"#
    )
}

#[test]
fn a_module_that_exceeds_a_limit_ends_with_one_error() {
    let request = ["filter.wasm", "--request", "GET http://shop/", "-n", "3"];
    for (test, body, options, error) in [
        (
            "endless-loop",
            "(loop (br 0))",
            &["--fuel", "1000000"][..],
            "fuel limit of 1000000 units per callback exceeded; raise it with `--fuel`",
        ),
        (
            "endless-log",
            "(loop (drop (call $log (i32.const 2) (i32.const 0) (i32.const 100))) (br 0))",
            &[],
            "log limit of 1048576 bytes exceeded; raise it with `--max-log-bytes`",
        ),
        (
            "empty-logs",
            "(loop (drop (call $log (i32.const 2) (i32.const 0) (i32.const 0))) (br 0))",
            &["--max-log-bytes", "1000"],
            "log limit of 1000 bytes exceeded; raise it with `--max-log-bytes`",
        ),
        (
            "memory-growth",
            "(loop (if (i32.eq (memory.grow (i32.const 10)) (i32.const -1)) (then unreachable)) (br 0))",
            &[],
            "memory limit of 536870912 bytes exceeded; raise it with `--max-memory-bytes`",
        ),
        (
            "host-memory",
            "(loop (drop (call $share (local.get 2) (i32.const 4) (i32.const 0) (i32.const 65536) (i32.const 0)))
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (br 0))",
            &[],
            "limit of 67108864 bytes passed to host functions exceeded; raise it with `--max-host-bytes`",
        ),
        (
            "endless-time",
            "(loop (br 0))",
            &["--fuel", "18446744073709551615", "--timeout", "1"],
            "time limit of 1 s exceeded; raise it with `--timeout`",
        ),
    ] {
        let directory = directory_of("", &filter_with(body));
        let (code, stdout, stderr) = directory.run("run", &[&request, options].concat());
        assert_eq!((code, stderr), (Some(1), format!("error: request 1: {error}\n")), "{test}");
        assert!(stdout.len() < 4 << 20, "{test}: {} bytes of output", stdout.len());
        if test != "endless-time" {
            let (_, stdout, stderr) = directory.run("run", &[&request, options, &["--json"]].concat());
            assert_eq!(stderr, format!("error: request 1: {error}\n"), "{test}");
            serde_json::from_str::<serde_json::Value>(&stdout).expect("a whole document");
        }
    }
}

#[test]
fn limits_hold_while_a_module_starts() {
    let request = ["filter.wasm", "--request", "GET http://shop/", "--fuel", "1000000", "--max-memory-bytes", "131072"];
    let module = |memory: u32, rest: &str| {
        format!(
            r#"(module (memory (export "memory") {memory}) (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0)) {rest})"#
        )
    };
    let fuel = "fuel limit of 1000000 units per callback exceeded; raise it with `--fuel`\n";
    let memory = "memory limit of 131072 bytes exceeded; raise it with `--max-memory-bytes`\n";
    for (test, module, error) in [
        ("fits", module(2, ""), ""),
        ("start-function", module(1, "(func $start (loop (br 0))) (start $start)"), fuel),
        ("initialize", module(1, r#"(func (export "_initialize") (loop (br 0)))"#), fuel),
        ("first-memory", module(3, ""), memory),
        ("second-memory", module(1, "(memory 2)"), memory),
        ("table", module(1, "(table 10000 funcref)"), memory),
    ] {
        let directory = directory_of("", &module);
        let (_, _, stderr) = directory.run("run", &request);
        assert_eq!(stderr.is_empty(), error.is_empty(), "{test}: {stderr}");
        assert!(stderr.contains(error), "{test}: {stderr}");
        assert_eq!(stderr.lines().filter(|line| line.starts_with("error: filter.wasm: ")).count(), error.len().min(1));
    }
}
