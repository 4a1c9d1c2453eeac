//! The command `host-sim`, as a user calls it.

use std::path::PathBuf;
use std::process::{Command, Output};

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
         :method: GET\n  :scheme: http\n  x-user: hello\n"
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
}

#[test]
fn what_is_wrong_is_one_clear_message() {
    let scratch = Scratch::new("wrong", "{}");
    let request = ["--request", "GET http://shop/"];
    let fails = |arguments: &[&str], code: i32, what: &str| {
        let (got, stdout, stderr) = scratch.run(&[arguments, &request].concat());
        assert_eq!((got, &stdout[..]), (Some(code), ""), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(what), "{stderr}");
    };
    fails(&["missing.wasm"], 1, "missing.wasm: No such file");
    fails(&["config.json"], 1, "config.json: not a Proxy-Wasm module: it isn't WebAssembly");
    fails(&["filter.wasm", "--config", "missing.json"], 1, "missing.json: No such file");
    fails(&["filter.wasm"], 1, "proxy_on_configure refused the configuration\n  [warning] hello");
    fails(&["filter.wasm", "-H", "no colon"], 2, "there should be a name and a `:`");
    fails(&["filter.wasm", "--request", "GET"], 2, "--request");
}

#[test]
fn a_trap_is_a_failure() {
    let scratch = Scratch::new("trap", "{...}");
    let (code, stdout, _) = scratch.run(&["filter.wasm", "--config", "config.json", "--request", "GET http://shop/"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("request 1: trap in proxy_on_request_headers: "), "{stdout}");
}
