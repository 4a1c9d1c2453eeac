//! The command `host-sim inspect`, as a user calls it.

mod support;

use support::Directory;

/// A filter that this host and Envoy start.
const FINE: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
    (memory (export "memory") 1 16)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "_initialize"))
    (func (export "malloc") (param i32) (result i32) (i32.const 0))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;

/// A module that neither starts: no marker, no allocator, unknown imports.
const WRONG: &str = r#"(module
    (import "env" "foo" (func))
    (import "env" "proxy_log" (func (param i64)))
    (func (export "proxy_on_whatever")))"#;

/// Runs `host-sim inspect` in a directory with `fine.wasm`, `wrong.wasm` and `text.txt`. Returns the exit code, standard output
/// and standard error.
fn inspect(arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = Directory::new().with_module("fine.wasm", FINE).with_module("wrong.wasm", WRONG);
    directory.with("text.txt", "{}").run("inspect", arguments)
}

#[test]
fn inspect_describes_a_module() {
    let (code, stdout, stderr) = inspect(&["fine.wasm"]);
    assert_eq!((code, &stderr[..]), (Some(0), ""));
    for text in [
        "fine.wasm: ABI 0.2.1, ",
        " bytes, with function names\n",
        "memory: 1 pages of 64 KiB, maximum 16\n",
        "initializer: _initialize\nallocator: malloc\n",
        "callbacks (2):\n  proxy_on_configure\n  proxy_on_request_headers\ncallbacks not exported (26):\n",
        "  proxy_on_request_body\n",
        "other exports (4):\n  _initialize\n  malloc\n  memory\n  proxy_abi_version_0_2_1\n",
        "imports from env (1):\n  proxy_log\nimports from wasi_snapshot_preview1 (1):\n  random_get\n",
        "this host accepts the module\nEnvoy accepts the module\n",
    ] {
        assert!(stdout.contains(text), "{text} is not in {stdout}");
    }
}

#[test]
fn inspect_lists_every_reason_why_envoy_rejects_a_module() {
    let (code, stdout, stderr) = inspect(&["wrong.wasm"]);
    assert_eq!((code, &stderr[..]), (Some(1), ""));
    assert!(stdout.starts_with("wrong.wasm: no known ABI, "), "{stdout}");
    let (_, verdicts) = stdout.split_once("warnings (4):\n").expect("warnings");
    assert_eq!(
        verdicts,
        "  the module has no memory: the host cannot pass data to it\n  \
           the export _initialize or _start is missing: no code runs before the callbacks\n  \
           the module exports no callbacks: Envoy never runs it\n  \
           proxy_on_whatever: Envoy never calls this export\n\
         this host rejects the module:\n  \
           the ABI marker is missing; export a function proxy_abi_version_0_2_1\n  \
           unknown imports: env.foo\n\
         Envoy rejects the module:\n  \
           the ABI marker is missing: export a function proxy_abi_version_0_1_0, proxy_abi_version_0_2_0 or \
         proxy_abi_version_0_2_1\n  \
           import env.foo: Envoy provides no such function\n  \
           import env.proxy_log: the signature is (i64), not (i32, i32, i32) → i32\n  \
           the export malloc or proxy_on_memory_allocate is missing; the host needs it to pass data to the module\n"
    );
}

#[test]
fn inspect_prints_json() {
    let report = |file| {
        let (code, stdout, _) = inspect(&[file, "--json"]);
        (code, serde_json::from_str::<serde_json::Value>(&stdout).expect("JSON"))
    };
    let (code, fine) = report("fine.wasm");
    assert_eq!(code, Some(0));
    assert_eq!(fine["abi"], "0.2.1");
    assert_eq!(fine["memory"], serde_json::json!({"min": 1, "max": 16, "imported": false}));
    assert_eq!(fine["callbacks"], serde_json::json!(["proxy_on_configure", "proxy_on_request_headers"]));
    assert_eq!(fine["imports"], serde_json::json!({"env": ["proxy_log"], "wasi_snapshot_preview1": ["random_get"]}));
    assert_eq!((&fine["refusedHere"], &fine["refusedByEnvoy"]), (&serde_json::json!([]), &serde_json::json!([])));
    let (code, wrong) = report("wrong.wasm");
    assert_eq!((code, &wrong["abi"], &wrong["memory"]), (Some(1), &serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(wrong["unserved"], serde_json::json!(["env.foo"]));
    assert_eq!(wrong["refusedByEnvoy"].as_array().map(Vec::len), Some(4));
}

#[test]
fn errors_name_the_file_or_the_argument() {
    for (arguments, code, what) in [
        (&["missing.wasm"][..], 1, "missing.wasm: No such file"),
        (&["text.txt"], 1, "text.txt: invalid Proxy-Wasm module: the file is not WebAssembly"),
        (&[], 2, "<FILTER>"),
        (&["fine.wasm", "--yaml"], 2, "--yaml"),
    ] {
        let (got, stdout, stderr) = inspect(arguments);
        assert_eq!((got, &stdout[..]), (Some(code), ""), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(what), "{stderr}");
    }
}

#[test]
fn help_has_examples() {
    let (code, stdout, _) = inspect(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("Examples:\n  host-sim inspect "), "{stdout}");
    assert!(stdout.contains("Exit codes:\n  0  "), "{stdout}");
}
