use super::Inspection;
use crate::abi::signature::{Signature, ValueType};
use crate::abi::{ALL, AbiVersion};
use crate::host_functions::table::{FUNCTIONS, HostFunction};
use crate::vm::callbacks::CALLBACKS;

/// Returns a module with an ABI marker, an allocator, a memory, `_initialize` and more.
fn module(abi: AbiVersion, more: &str) -> Vec<u8> {
    let marker = format!("(func (export \"proxy_abi_version_{}\"))", abi.as_str().replace('.', "_"));
    let rest = "(memory (export \"memory\") 1) (func (export \"_initialize\"))
        (func (export \"malloc\") (param i32) (result i32) i32.const 0)
        (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32) i32.const 1)";
    // Imports come first.
    let order = if more.contains("import") { [more, &marker, rest] } else { [&marker, rest, more] };
    wat::parse_str(format!("(module {})", order.concat())).expect("text")
}

fn inspect(wasm: &[u8]) -> Inspection {
    Inspection::of_bytes(wasm).expect("WebAssembly")
}

fn import(module: &str, name: &str, signature: Signature) -> String {
    let types = |types: &[ValueType]| types.iter().map(|kind| format!("{kind} ")).collect::<String>();
    let (params, results) = (types(signature.params), types(signature.results));
    format!("(import \"{module}\" \"{name}\" (func (param {params}) (result {results})))")
}

fn import_function(function: &HostFunction) -> String {
    import(function.module, function.name, function.signature)
}

#[test]
fn a_module_with_every_import_of_its_abi_runs_in_envoy() {
    for abi in ALL {
        let provided = FUNCTIONS.iter().filter(|function| function.abis.contains(abi));
        let mut more: String = provided.map(import_function).collect();
        let wasi = FUNCTIONS.iter().filter(|function| function.module == "wasi_snapshot_preview1");
        more += &wasi.map(|function| import("wasi_unstable", function.name, function.signature)).collect::<String>();
        let found = inspect(&module(*abi, &more));
        assert_eq!((found.abi, &found.refused_by_envoy[..]), (Some(abi.as_str()), &[][..]));
    }
}

#[test]
fn an_import_that_the_abi_version_lacks_is_rejected() {
    for function in FUNCTIONS {
        for abi in ALL {
            let found = inspect(&module(*abi, &import_function(function)));
            let is_provided = function.abis.contains(abi);
            assert_eq!(found.refused_by_envoy.is_empty(), is_provided, "{} {abi:?}", function.name);
        }
    }
    let clear = import("env", "proxy_clear_route_cache", Signature::of::<(), u32>());
    let found = inspect(&module(AbiVersion::V0_2_1, &clear));
    let why = "import env.proxy_clear_route_cache: Envoy provides the function only with ABI 0.1.0, not 0.2.1";
    assert_eq!(found.refused_by_envoy, [why]);
}

#[test]
fn an_unknown_import_or_signature_is_rejected() {
    use ValueType::{I32, I64};
    let three = Signature::of::<(u32, u32, u32), u32>();
    for (more, why) in [
        (import("env", "foo", Signature::of::<(), ()>()), "import env.foo: Envoy provides no such function"),
        (import("other", "proxy_log", three), "import other.proxy_log: Envoy provides no such function"),
        (
            import("env", "proxy_log", Signature { params: &[I32, I64], results: &[I32] }),
            "import env.proxy_log: the signature is (i32, i64) → i32, not (i32, i32, i32) → i32",
        ),
        (
            import("wasi_snapshot_preview1", "proc_exit", Signature::of::<u32, u32>()),
            "import wasi_snapshot_preview1.proc_exit: the signature is (i32) → i32, not (i32)",
        ),
        ("(import \"env\" \"g\" (global i32))".into(), "import env.g: Envoy provides no globals"),
    ] {
        assert_eq!(inspect(&module(AbiVersion::V0_2_1, &more)).refused_by_envoy, [why]);
    }
    let found = inspect(&module(AbiVersion::V0_2_1, "(import \"env\" \"t\" (table 1 funcref))"));
    assert_eq!(found.refused_by_envoy, [""; 0]);
}

#[test]
fn a_callback_with_another_signature_is_rejected() {
    for callback in CALLBACKS.iter().filter(|callback| callback.name != "proxy_on_vm_start") {
        let name = callback.name;
        let found = inspect(&module(callback.abis[0], &format!("(func (export \"{name}\") (param f32))")));
        let why = format!("{name}: the signature is (another type), not {}", callback.signature);
        assert_eq!(found.refused_by_envoy, [why]);
        assert!(found.callbacks.contains(&name));
    }
    let found = inspect(&module(AbiVersion::V0_2_1, "(func (export \"proxy_on_whatever\") (param f32))"));
    assert_eq!(found.refused_by_envoy, [""; 0]);
    assert_eq!(found.warnings, ["proxy_on_whatever: Envoy never calls this export"]);
}

#[test]
fn main_is_checked_only_with_initialize() {
    let main = "(func (export \"main\"))";
    assert_eq!(
        inspect(&module(AbiVersion::V0_2_1, main)).refused_by_envoy,
        ["main: the signature is (), not (i32, i32) → i32"]
    );
    let command = module(AbiVersion::V0_2_1, main);
    let text = wat::parse_str(format!(
        "(module (func (export \"proxy_abi_version_0_2_1\")) (func (export \"_start\")) {main}
         (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) i32.const 0))"
    ));
    let found = inspect(&text.expect("text"));
    assert_eq!((found.initializer, found.allocator), (Some("_start"), Some("proxy_on_memory_allocate")));
    assert_eq!(found.refused_by_envoy, [""; 0]);
    assert_eq!(inspect(&command).initializer, Some("_initialize"));
}

#[test]
fn missing_exports_are_reported() {
    let found = inspect(&wat::parse_str("(module)").expect("text"));
    assert_eq!((found.abi, found.memory, found.initializer, found.allocator), (None, None, None, None));
    assert_eq!(found.refused_by_envoy.len(), 2, "{found:?}");
    assert_eq!(found.warnings.len(), 3, "{found:?}");
    assert_eq!(found.callbacks, [""; 0]);
    assert!(found.callbacks_not_exported.contains(&"proxy_on_request_headers"));
    // Only functions are markers.
    let global = "(module (global (export \"proxy_abi_version_0_2_1\") i32 (i32.const 0)))";
    assert_eq!(inspect(&wat::parse_str(global).expect("text")).abi, None);
}

#[test]
fn the_first_known_marker_function_decides() {
    let text = r#"(module (global (export "proxy_abi_version_0_2_0") i32 (i32.const 0))
        (func (export "proxy_abi_version_0_3_0")) (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_abi_version_0_1_0")) (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
    let found = inspect(&wat::parse_str(text).expect("text"));
    assert_eq!((found.abi, &found.refused_here[..]), (Some("0.2.1"), &[][..]));
}

#[test]
fn memory_may_be_exported_or_imported() {
    let found = inspect(&module(AbiVersion::V0_2_1, ""));
    assert_eq!(found.memory.map(|memory| (memory.min, memory.max, memory.imported)), Some((1, None, false)));
    let imported = wat::parse_str("(module (import \"env\" \"memory\" (memory 2 3)))").expect("text");
    let found = inspect(&imported);
    assert_eq!(found.memory.map(|memory| (memory.min, memory.max, memory.imported)), Some((2, Some(3), true)));
}

#[test]
fn other_bytes_are_an_error() {
    assert!(Inspection::of_bytes("{}").expect_err("an error").to_string().contains("not WebAssembly"));
    assert!(Inspection::of_bytes(b"\0asm").is_err());
}
