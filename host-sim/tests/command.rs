//! The command `host-sim`, as a user calls it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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

/// A directory of this process and test with `filter.wasm` and `config.json` in it; gone with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str, configuration: &str) -> Scratch {
        let scratch = Scratch(std::env::temp_dir().join(format!("host-sim-{}-{test}", std::process::id())));
        std::fs::create_dir_all(&scratch.0).expect("a directory");
        std::fs::write(scratch.0.join("filter.wasm"), wat::parse_str(FILTER).expect("text")).expect("a file");
        std::fs::write(scratch.0.join("config.json"), configuration).expect("a file");
        scratch
    }

    /// `host-sim run` in this directory: exit code, standard output and error.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-sim"));
        let Output { status, stdout, stderr } =
            command.current_dir(&self.0).arg("run").args(arguments).output().expect("the command");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status.code(), text(stdout), text(stderr))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn it_shows_what_the_filter_made_of_the_request() {
    let scratch = Scratch::new("shows", "{}");
    let request = ["filter.wasm", "--config", "config.json", "--request", "GET http://shop/cart", "-H", "X-User: 7"];
    let (code, stdout, stderr) = scratch.run(&request);
    assert_eq!((code, &stderr[..]), (Some(0), ""));
    assert_eq!(
        stdout,
        "[warning] hello\nrequest 1: goes on, its route looked for again\n  :authority: shop\n  :path: /cart\n  \
         :method: GET\n  :scheme: http\n  x-user: hello\n  the client gets 200\n"
    );
}

#[test]
fn it_speaks_json() {
    let scratch = Scratch::new("json", "{}");
    let request = ["filter.wasm", "--config", "config.json", "--request", "GET http://shop/cart", "-n", "2", "--json"];
    let (code, stdout, _) = scratch.run(&request);
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(code, Some(0));
    assert_eq!(report["logs"][0]["message"], "hello");
    assert_eq!(report["requests"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["requests"][1]["requestHeaders"][4], serde_json::json!(["x-user", "hello"]));
    assert_eq!(report["requests"][1]["responseHeaders"], serde_json::json!([[":status", "200"]]));
}

#[test]
fn what_it_shows_is_there_at_once_however_many_requests_follow() {
    let scratch = Scratch::new("endless", "{}");
    for more in [&[][..], &["--json"]] {
        let request = ["run", "filter.wasm", "--config", "config.json", "--request", "GET http://shop/"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-sim"));
        command.current_dir(&scratch.0).args(request).args(["-n", "4294967295"]).args(more).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the command");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        assert!(lines.by_ref().take(1000).all(|line| line.is_ok()));
        // Who stops reading ends it.
        drop(lines);
        assert_eq!(child.wait().expect("an end").code(), Some(0));
    }
}

#[test]
fn the_header_host_is_the_authority() {
    let scratch = Scratch::new("host", "{}");
    let request =
        ["filter.wasm", "--config", "config.json", "--request", "GET http://10.0.0.1/", "-H", "Host: shop:80"];
    let (_, stdout, _) = scratch.run(&request);
    assert!(stdout.contains("\n  :authority: shop:80\n"), "{stdout}");
    assert!(!stdout.contains("host: "), "{stdout}");
}

#[test]
fn a_request_that_no_client_sends_is_refused() {
    let scratch = Scratch::new("odd", "{}");
    let refuses = |option: &str, value: &str, what: &str| {
        let mut arguments = vec!["filter.wasm", "--config", "config.json", option, value];
        if option != "--request" {
            arguments.extend(["--request", "GET http://shop/"]);
        }
        let (code, stdout, stderr) = scratch.run(&arguments);
        assert_eq!((code, &stdout[..]), (Some(2), ""), "{value}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(what), "{value}: {stderr}");
    };
    refuses("--request", "GET", "a method and a URL");
    refuses("--request", "GET ", "a method and a URL");
    refuses("--request", "G@T http://shop/", "G@T is no method");
    refuses("--request", "GET http://shop/a b", "' ' in it");
    refuses("--request", "GET http://shop/\ta", "in it");
    refuses("--request", "GET http://shop/#top", "#");
    refuses("--request", "GET ftp://shop/", "not ftp");
    refuses("--request", "GET http:///cart", "no host");
    refuses("--request", "GET http://:80/", "no host");
    refuses("--request", "GET http://me@shop/", "more than a host");
    refuses("--request", "GET http://shop:http/", "port");
    refuses("--request", "GET http://shop:65536/", "port");
    refuses("--request", "GET http://shop:/", "port");
    refuses("-H", "no colon", "a name and a `:`");
    refuses("-H", ":path: /", "a name and a `:`");
    refuses("-H", "x user: 7", "\"x user\" is no header's name");
    refuses("-H", "x-user: 7\r\nx-admin: 1", "'\\r' in it");
    refuses("-n", "0", "0");
    refuses("--destination-port", "65536", "65536");
}

#[test]
fn it_shows_where_the_request_goes() {
    let scratch = Scratch::new("routes", "{}");
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
      request_mirror_policies: [{cluster: copies}]
    request_headers_to_remove: [x-user]
    response_headers_to_add: [{header: {key: x-path, value: "%REQ(:path)%"}, append_action: ADD_IF_ABSENT}]
- {name: others, domains: ["*"], routes: [{match: {path: /}, direct_response: {status: 418}}]}"#;
    std::fs::write(scratch.0.join("routes.yaml"), routes).expect("a file");
    let run = |request: &str, more: &[&str]| {
        let arguments = ["filter.wasm", "--config", "config.json", "--routes", "routes.yaml", "--request", request];
        let (code, stdout, stderr) = scratch.run(&[&arguments, more].concat());
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    };
    assert_eq!(
        run("GET http://shop/cart", &[]),
        "[warning] hello\nrequest 1: goes on, its route looked for again\n  to the cluster v2, copied to copies, by \
         greeted of the virtual host shop\n  :authority: shop\n  :path: /cart\n  :method: GET\n  :scheme: http\n  \
         the client gets 200\n    x-path: /cart\n"
    );
    let report: serde_json::Value = serde_json::from_str(&run("GET http://shop/cart", &["--json"])).expect("JSON");
    assert_eq!(
        report["requests"][0]["route"],
        serde_json::json!({"virtualHost": "shop", "name": "greeted", "cluster": "v2", "mirrors": ["copies"]})
    );
    let elsewhere = run("GET http://elsewhere/", &[]);
    assert!(
        elsewhere.contains("  to no cluster, by a route without a name of the virtual host others\n"),
        "{elsewhere}"
    );
    assert!(elsewhere.contains("  the client gets 418\n"), "{elsewhere}");
    // No route takes it.
    let nowhere = run("GET http://elsewhere/cart", &[]);
    assert!(!nowhere.contains("  to ") && nowhere.contains("  the client gets 404\n"), "{nowhere}");
}

#[test]
fn routes_that_envoy_refuses_or_that_would_be_ignored_here_are_refused() {
    let scratch = Scratch::new("bad-routes", "{}");
    let refuses = |host: &str, what: &str| {
        std::fs::write(scratch.0.join("routes.json"), format!(r#"{{"virtual_hosts": [{host}]}}"#)).expect("a file");
        let (code, stdout, stderr) = scratch.run(&[
            "filter.wasm",
            "--config",
            "config.json",
            "--routes",
            "routes.json",
            "--request",
            "GET shop",
        ]);
        assert_eq!((code, &stdout[..]), (Some(1), ""), "{host}");
        assert!(stderr.starts_with("error: routes.json: ") && stderr.contains(what), "{stderr}");
    };
    let route = |route: &str| format!(r#"{{"name": "shop", "domains": ["*"], "routes": [{route}]}}"#);
    refuses(r#"{"name": "shop", "domains": []}"#, "virtual host shop has no domains");
    refuses(r#"{"name": "shop", "domains": ["*"], "cors": {}}"#, "unknown field `cors`");
    refuses(&route(r#"{"match": {"prefix": "/"}}"#), "virtual host shop, route 1: it should have either a route or");
    refuses(&route(r#"{"match": {"safe_regex": {}}, "route": {"cluster": "v1"}}"#), "unknown field `safe_regex`");
    refuses(&route(r#"{"match": {}, "route": {"cluster": "v1"}}"#), "one of prefix, path and");
    refuses(&route(r#"{"match": {"prefix": "/"}, "route": {}}"#), "one of cluster, cluster_header and");
    refuses(&route(r#"{"match": {"prefix": "/"}, "route": {"cluster": ""}}"#), "the cluster's name is empty");
    refuses("{", "line 1");
}

#[test]
fn hosts_are_names_and_addresses() {
    let scratch = Scratch::new("hosts", "{}");
    for (url, authority) in [
        ("shop", "shop"),
        ("shop?page=2", "shop"),
        ("https://shop:8443/", "shop:8443"),
        ("http://[::1]/", "[::1]"),
        ("http://[::1]:80/", "[::1]:80"),
    ] {
        let request = format!("GET {url}");
        let (code, stdout, stderr) = scratch.run(&["filter.wasm", "--config", "config.json", "--request", &request]);
        assert_eq!(code, Some(0), "{url}: {stderr}");
        assert!(stdout.contains(&format!("\n  :authority: {authority}\n")), "{url}: {stdout}");
    }
}

#[test]
fn what_is_wrong_is_one_clear_message() {
    let scratch = Scratch::new("wrong", "{}");
    let request = ["--request", "GET http://shop/"];
    let fails = |arguments: &[&str], what: &str| {
        let (code, stdout, stderr) = scratch.run(&[arguments, &request].concat());
        assert_eq!((code, &stdout[..]), (Some(1), ""), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(what), "{stderr}");
    };
    fails(&["missing.wasm"], "missing.wasm: No such file");
    fails(&["config.json"], "config.json: not a Proxy-Wasm module: it isn't WebAssembly");
    fails(&["filter.wasm", "--config", "missing.json"], "missing.json: No such file");
    fails(&["filter.wasm"], "proxy_on_configure refused the configuration\n  [warning] hello");
}

#[test]
fn a_trap_is_a_failure() {
    let scratch = Scratch::new("trap", "{...}");
    let (code, stdout, _) = scratch.run(&["filter.wasm", "--config", "config.json", "--request", "GET http://shop/"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("request 1: trap in proxy_on_request_headers: "), "{stdout}");
}
