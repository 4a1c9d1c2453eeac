//! What a filter's module is made of, and whether this host and Envoy would run it.
//!
//! Envoy's part is what proxy-wasm-cpp-host does when it loads a module into V8 (`WasmBase::load`, `registerCallbacks`,
//! `getFunctions`, `V8::link`); Envoy 1.40 answers so too.

use crate::abi::AbiVersion;
use crate::error::Error;
use crate::host;
use crate::module::{self, ALLOCATORS, Module, NO_ALLOCATOR};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use wasmi::{Engine, ExternType, FuncType, ValType};

/// What is known of a module without running it. A module that Envoy refuses is described too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The module's size in bytes.
    pub size: usize,
    /// The version of the Proxy-Wasm ABI by its marker: `0.1.0`, `0.2.0` or `0.2.1`; `None` if Envoy knows of none.
    pub abi: Option<&'static str>,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Whether it has function names, which backtraces of traps show.
    pub function_names: bool,
    /// What Envoy calls first: `_initialize` (a reactor has it) or `_start` (a command).
    pub initializer: Option<&'static str>,
    /// Where the host gets memory for what it hands to the module: `malloc` or `proxy_on_memory_allocate`.
    pub allocator: Option<&'static str>,
    /// The callbacks it exports, of those that Envoy calls with its ABI. Each that a request meets costs.
    pub callbacks: Vec<&'static str>,
    /// The others of those.
    pub callbacks_not_exported: Vec<&'static str>,
    /// All else that it exports, sorted.
    pub other_exports: Vec<String>,
    /// The names it imports, sorted, by module.
    pub imports: BTreeMap<String, Vec<String>>,
    /// The imports, as `module.name`, that this host doesn't serve.
    pub unserved: Vec<String>,
    /// Why this host doesn't start it; empty if it does.
    pub refused_here: Vec<String>,
    /// Why no Envoy starts it; empty if one does.
    pub refused_by_envoy: Vec<String>,
    /// What is odd, though Envoy starts it.
    pub warnings: Vec<String>,
}

/// A module's memory, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What it begins with.
    pub min: u64,
    /// What it may grow to; `None`: 65,536 pages.
    pub max: Option<u64>,
    /// Whether the host has to make it.
    pub imported: bool,
}

/// Parameters and result of a function: `i` for i32, `I` for i64; before the colon and behind.
type Signature = &'static str;

const V0_1_0: &str = "0.1.0";
const V0_2_0: &str = "0.2.0";
const V0_2_1: &str = "0.2.1";
const ALL: &[&str] = &[V0_1_0, V0_2_0, V0_2_1];
const SINCE_0_2_0: &[&str] = &[V0_2_0, V0_2_1];

/// What Envoy gives to modules as `env`, and with which ABI.
const ENV: &[(&str, Signature, &[&str])] = &[
    ("emscripten_notify_memory_growth", "i:", ALL),
    ("proxy_add_header_map_value", "iiiii:i", ALL),
    ("proxy_call_foreign_function", "iiiiii:i", ALL),
    ("proxy_clear_route_cache", ":i", &[V0_1_0]),
    ("proxy_close_stream", "i:i", SINCE_0_2_0),
    ("proxy_continue_request", ":i", &[V0_1_0]),
    ("proxy_continue_response", ":i", &[V0_1_0]),
    ("proxy_continue_stream", "i:i", SINCE_0_2_0),
    ("proxy_define_metric", "iiii:i", ALL),
    ("proxy_dequeue_shared_queue", "iii:i", ALL),
    ("proxy_done", ":i", ALL),
    ("proxy_enqueue_shared_queue", "iii:i", ALL),
    ("proxy_get_buffer_bytes", "iiiii:i", ALL),
    ("proxy_get_buffer_status", "iii:i", ALL),
    ("proxy_get_configuration", "ii:i", &[V0_1_0]),
    ("proxy_get_current_time_nanoseconds", "i:i", ALL),
    ("proxy_get_header_map_pairs", "iii:i", ALL),
    ("proxy_get_header_map_size", "ii:i", ALL),
    ("proxy_get_header_map_value", "iiiii:i", ALL),
    ("proxy_get_log_level", "i:i", &[V0_2_1]),
    ("proxy_get_metric", "ii:i", ALL),
    ("proxy_get_property", "iiii:i", ALL),
    ("proxy_get_shared_data", "iiiii:i", ALL),
    ("proxy_get_status", "iii:i", ALL),
    ("proxy_grpc_call", "iiiiiiiiiiii:i", ALL),
    ("proxy_grpc_cancel", "i:i", ALL),
    ("proxy_grpc_close", "i:i", ALL),
    ("proxy_grpc_send", "iiii:i", ALL),
    ("proxy_grpc_stream", "iiiiiiiii:i", ALL),
    ("proxy_http_call", "iiiiiiiiii:i", ALL),
    ("proxy_increment_metric", "iI:i", ALL),
    ("proxy_log", "iii:i", ALL),
    ("proxy_record_metric", "iI:i", ALL),
    ("proxy_register_shared_queue", "iii:i", ALL),
    ("proxy_remove_header_map_value", "iii:i", ALL),
    ("proxy_replace_header_map_value", "iiiii:i", ALL),
    ("proxy_resolve_shared_queue", "iiiii:i", ALL),
    ("proxy_send_local_response", "iiiiiiii:i", ALL),
    ("proxy_set_buffer_bytes", "iiiii:i", ALL),
    ("proxy_set_effective_context", "i:i", ALL),
    ("proxy_set_header_map_pairs", "iii:i", ALL),
    ("proxy_set_property", "iiii:i", ALL),
    ("proxy_set_shared_data", "iiiii:i", ALL),
    ("proxy_set_tick_period_milliseconds", "i:i", ALL),
    ("pthread_equal", "ii:i", ALL),
];

/// What Envoy gives as `wasi_snapshot_preview1` and `wasi_unstable`. `path_link` and `path_symlink` have a parameter
/// less than WASI says, so that a module which imports them doesn't load.
const WASI: &[(&str, Signature)] = &[
    ("args_get", "ii:i"),
    ("args_sizes_get", "ii:i"),
    ("clock_res_get", "ii:i"),
    ("clock_time_get", "iIi:i"),
    ("environ_get", "ii:i"),
    ("environ_sizes_get", "ii:i"),
    ("fd_advise", "iIIi:i"),
    ("fd_allocate", "iII:i"),
    ("fd_close", "i:i"),
    ("fd_datasync", "i:i"),
    ("fd_fdstat_get", "ii:i"),
    ("fd_fdstat_set_flags", "ii:i"),
    ("fd_fdstat_set_rights", "iII:i"),
    ("fd_filestat_get", "ii:i"),
    ("fd_filestat_set_size", "iI:i"),
    ("fd_filestat_set_times", "iIIi:i"),
    ("fd_pread", "iiiIi:i"),
    ("fd_prestat_dir_name", "iii:i"),
    ("fd_prestat_get", "ii:i"),
    ("fd_pwrite", "iiiIi:i"),
    ("fd_read", "iiii:i"),
    ("fd_readdir", "iiiIi:i"),
    ("fd_renumber", "ii:i"),
    ("fd_seek", "iIii:i"),
    ("fd_sync", "i:i"),
    ("fd_tell", "ii:i"),
    ("fd_write", "iiii:i"),
    ("path_create_directory", "iii:i"),
    ("path_filestat_get", "iiiii:i"),
    ("path_filestat_set_times", "iiiiIIi:i"),
    ("path_link", "iiiiii:i"),
    ("path_open", "iiiiiIIii:i"),
    ("path_readlink", "iiiiii:i"),
    ("path_remove_directory", "iii:i"),
    ("path_rename", "iiiiii:i"),
    ("path_symlink", "iiii:i"),
    ("path_unlink_file", "iii:i"),
    ("poll_oneoff", "iiii:i"),
    ("proc_exit", "i:"),
    ("random_get", "ii:i"),
    ("sched_yield", ":i"),
    ("sock_accept", "iii:i"),
    ("sock_recv", "iiiiii:i"),
    ("sock_send", "iiiii:i"),
    ("sock_shutdown", "ii:i"),
];

/// The callbacks that Envoy makes, in the order of a plugin's life, and with which ABI.
const CALLBACKS: &[(&str, Signature, &[&str])] = &[
    ("proxy_on_context_create", "ii:", ALL),
    ("proxy_on_vm_start", "ii:i", ALL),
    ("proxy_validate_configuration", "ii:i", ALL),
    ("proxy_on_configure", "ii:i", ALL),
    ("proxy_on_tick", "i:", ALL),
    ("proxy_on_queue_ready", "ii:", ALL),
    ("proxy_on_foreign_function", "iii:", SINCE_0_2_0),
    ("proxy_on_new_connection", "i:i", ALL),
    ("proxy_on_downstream_data", "iii:i", ALL),
    ("proxy_on_downstream_connection_close", "ii:", ALL),
    ("proxy_on_upstream_data", "iii:i", ALL),
    ("proxy_on_upstream_connection_close", "ii:", ALL),
    ("proxy_on_request_headers", "ii:i", &[V0_1_0]),
    ("proxy_on_request_headers", "iii:i", SINCE_0_2_0),
    ("proxy_on_request_body", "iii:i", ALL),
    ("proxy_on_request_trailers", "ii:i", ALL),
    ("proxy_on_request_metadata", "ii:i", ALL),
    ("proxy_on_response_headers", "ii:i", &[V0_1_0]),
    ("proxy_on_response_headers", "iii:i", SINCE_0_2_0),
    ("proxy_on_response_body", "iii:i", ALL),
    ("proxy_on_response_trailers", "ii:i", ALL),
    ("proxy_on_response_metadata", "ii:i", ALL),
    ("proxy_on_http_call_response", "iiiii:", ALL),
    ("proxy_on_grpc_receive_initial_metadata", "iii:", ALL),
    ("proxy_on_grpc_receive", "iii:", ALL),
    ("proxy_on_grpc_receive_trailing_metadata", "iii:", ALL),
    ("proxy_on_grpc_close", "iii:", ALL),
    ("proxy_on_log", "i:", ALL),
    ("proxy_on_done", "i:i", ALL),
    ("proxy_on_delete", "i:", ALL),
];

// === impl Inspection ===

impl Inspection {
    /// Inspects the module in a file.
    ///
    /// # Errors
    /// [`Error::Read`], and those of [`of_bytes`](Inspection::of_bytes).
    pub fn of_file(path: impl AsRef<Path>) -> Result<Inspection, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|why| Error::Read { path: path.to_owned(), why })?;
        Inspection::of_bytes(bytes)
    }

    /// Inspects a module, as binary. It needs no marker of an ABI.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it isn't WebAssembly, or uses a proposal that this host doesn't compile.
    pub fn of_bytes(bytes: impl AsRef<[u8]>) -> Result<Inspection, Error> {
        let bytes = bytes.as_ref();
        let loaded = Module::from_bytes(bytes);
        if let (Err(why), false) = (&loaded, bytes.starts_with(b"\0asm")) {
            return Err(Error::Invalid(reason(why)));
        }
        let wasm = wasmi::Module::new(&Engine::default(), bytes).map_err(|why| Error::Invalid(why.to_string()))?;
        let exports = Exports(wasm.exports().map(|export| (export.name(), export.ty().clone())).collect());
        let version = module::abi(bytes);
        let abi = version.map(|version| match version {
            AbiVersion::V0_1_0 => V0_1_0,
            AbiVersion::V0_2_0 => V0_2_0,
            AbiVersion::V0_2_1 => V0_2_1,
        });
        // Without an ABI, as if it were the latest.
        let version = version.unwrap_or(AbiVersion::V0_2_1);
        let mut refused_by_envoy = Vec::new();
        if abi.is_none() {
            let why = "it exports no function proxy_abi_version_0_1_0, proxy_abi_version_0_2_0 or \
                       proxy_abi_version_0_2_1, which says its ABI";
            refused_by_envoy.push(why.to_owned());
        }
        let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut unserved = Vec::new();
        let mut memory = exports.0.iter().rev().find_map(|(_, kind)| Memory::of(kind, false));
        for import in wasm.imports() {
            let (module, name) = (import.module(), import.name());
            imports.entry(module.to_owned()).or_default().push(name.to_owned());
            refused_by_envoy.extend(import_problem(module, name, import.ty(), abi));
            if !host::serves(version, module, name) {
                unserved.push(format!("{module}.{name}"));
            }
            memory = memory.or(Memory::of(import.ty(), true));
        }
        imports.values_mut().for_each(|names| names.sort());
        unserved.sort();

        let initializer = exports.first_of(&["_initialize", "_start"]);
        let allocator = exports.first_of(&ALLOCATORS);
        if allocator.is_none() {
            refused_by_envoy.push(NO_ALLOCATOR.to_owned());
        }
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut expect = |name: &'static str, signature| {
            known.insert(name);
            refused_by_envoy.extend(exports.signature_problem(name, signature));
        };
        initializer.iter().for_each(|name| expect(name, ":"));
        allocator.iter().for_each(|name| expect(name, "i:i"));
        if initializer == Some("_initialize") {
            // Called behind it, if there.
            expect("main", "ii:i");
            expect("__main_void", ":i");
        }
        let mut callbacks = Vec::new();
        let mut callbacks_not_exported = Vec::new();
        // Without an ABI, as if it were the latest.
        let of_abi = CALLBACKS.iter().filter(|(_, _, abis)| abis.contains(&abi.unwrap_or(V0_2_1)));
        for (name, signature, _) in of_abi {
            expect(name, signature);
            let list = if exports.function(name).is_some() { &mut callbacks } else { &mut callbacks_not_exported };
            list.push(*name);
        }
        let others = exports.0.iter().map(|(name, _)| *name).filter(|name| !callbacks.contains(name));
        let mut other_exports: Vec<_> = others.map(str::to_owned).collect();
        other_exports.sort();

        let mut warnings = Vec::new();
        if memory.is_none() {
            warnings.push("it has no memory, so that it can't take or give anything".to_owned());
        }
        if initializer.is_none() {
            warnings
                .push("it exports neither _initialize nor _start: nothing of it runs before the callbacks".to_owned());
        }
        if callbacks.is_empty() {
            warnings.push("it exports no callback: nothing of it ever runs".to_owned());
        }
        let never = other_exports.iter().filter(|name| name.starts_with("proxy_on_") && !known.contains(&name[..]));
        let never: Vec<_> = never.filter(|name| *name != "proxy_on_memory_allocate").collect();
        warnings.extend(never.into_iter().map(|name| format!("Envoy never calls {name}")));

        let mut refused_here: Vec<_> = loaded.err().iter().map(reason).collect();
        if !unserved.is_empty() {
            refused_here.push(format!("it imports what this host doesn't serve: {}", unserved.join(", ")));
        }
        Ok(Inspection {
            size: bytes.len(),
            abi,
            memory,
            function_names: wasm.custom_sections().any(|section| section.name() == "name"),
            initializer,
            allocator,
            callbacks,
            callbacks_not_exported,
            other_exports,
            imports,
            unserved,
            refused_here,
            refused_by_envoy,
            warnings,
        })
    }
}

// === impl Memory ===

impl Memory {
    fn of(kind: &ExternType, imported: bool) -> Option<Memory> {
        match kind {
            ExternType::Memory(memory) => Some(Memory { min: memory.minimum(), max: memory.maximum(), imported }),
            _ => None,
        }
    }
}

/// Names and types, in order.
struct Exports<'a>(Vec<(&'a str, ExternType)>);

// === impl Exports ===

impl Exports<'_> {
    fn function(&self, name: &str) -> Option<&FuncType> {
        self.0.iter().find_map(|(other, kind)| match kind {
            ExternType::Func(function) if *other == name => Some(function),
            _ => None,
        })
    }

    fn first_of(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.function(name).is_some())
    }

    fn signature_problem(&self, name: &str, signature: Signature) -> Option<String> {
        let is = self.function(name)?;
        let wrong = written(is) != signature;
        wrong.then(|| format!("its {name} is {}, not {}", in_words(&written(is)), in_words(signature)))
    }
}

/// What Envoy has against an import.
fn import_problem(module: &str, name: &str, kind: &ExternType, abi: Option<&str>) -> Option<String> {
    let function = match kind {
        ExternType::Func(function) => function,
        // Envoy makes them.
        ExternType::Memory(_) | ExternType::Table(_) => return None,
        ExternType::Global(_) => return Some(format!("it imports the global {module}.{name}, and Envoy gives none")),
    };
    let given = match module {
        "env" => ENV.iter().find(|(given, ..)| *given == name).copied(),
        "wasi_snapshot_preview1" | "wasi_unstable" => {
            WASI.iter().find(|(given, _)| *given == name).map(|(name, signature)| (*name, *signature, ALL))
        }
        _ => None,
    };
    let Some((_, signature, abis)) = given else {
        return Some(format!("it imports {module}.{name}, which no Envoy gives"));
    };
    if let Some(abi) = abi.filter(|abi| !abis.contains(abi)) {
        return Some(format!(
            "it imports {module}.{name}, which Envoy gives only with ABI {}, not {abi}",
            abis.join(" and ")
        ));
    }
    let is = written(function);
    let wrong = is != signature;
    wrong.then(|| format!("it imports {module}.{name} as {}, which is {} in Envoy", in_words(&is), in_words(signature)))
}

/// A type as a [`Signature`]; what no signature has is `?`.
fn written(function: &FuncType) -> String {
    let letters = |types: &[ValType]| -> String {
        let letter = |kind: &ValType| match kind {
            ValType::I32 => 'i',
            ValType::I64 => 'I',
            _ => '?',
        };
        types.iter().map(letter).collect()
    };
    format!("{}:{}", letters(function.params()), letters(function.results()))
}

/// A signature for people: `(i32, i64) → i32`.
fn in_words(signature: &str) -> String {
    let types = |letters: &str| -> String {
        let word = |letter| match letter {
            'i' => "i32",
            'I' => "i64",
            _ => "another type",
        };
        letters.chars().map(word).collect::<Vec<_>>().join(", ")
    };
    match signature.split_once(':') {
        Some((params, "")) => format!("({})", types(params)),
        Some((params, results)) => format!("({}) → {}", types(params), types(results)),
        None => signature.to_owned(),
    }
}

/// An error without what it begins with, as that is said already.
fn reason(why: &Error) -> String {
    match why {
        Error::Invalid(why) => why.clone(),
        why => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, CALLBACKS, ENV, Inspection, WASI};
    use crate::host::SERVED;

    /// A module with the marker of an ABI, an allocator, a memory, `_initialize` and more.
    fn module(abi: &str, more: &str) -> Vec<u8> {
        let marker = format!("(func (export \"proxy_abi_version_{}\"))", abi.replace('.', "_"));
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

    fn import(module: &str, name: &str, signature: &str) -> String {
        let types = |letters: &str| letters.replace('i', "i32 ").replace('I', "i64 ");
        let (params, results) = signature.split_once(':').expect("a colon");
        format!("(import \"{module}\" \"{name}\" (func (param {}) (result {})))", types(params), types(results))
    }

    #[test]
    fn a_module_with_all_that_an_abi_has_runs_in_envoy() {
        for abi in ALL {
            let env = ENV.iter().filter(|(_, _, abis)| abis.contains(abi));
            let mut more: String = env.map(|(name, signature, _)| import("env", name, signature)).collect();
            for module in ["wasi_unstable", "wasi_snapshot_preview1"] {
                more += &WASI.iter().map(|(name, signature)| import(module, name, signature)).collect::<String>();
            }
            let found = inspect(&module(abi, &more));
            assert_eq!((found.abi, &found.refused_by_envoy[..]), (Some(*abi), &[][..]));
        }
    }

    #[test]
    fn an_import_that_its_abi_lacks_is_refused() {
        for (name, signature, abis) in ENV {
            for abi in ALL {
                let found = inspect(&module(abi, &import("env", name, signature)));
                assert_eq!(found.refused_by_envoy.is_empty(), abis.contains(abi), "{name} {abi}");
            }
        }
        let found = inspect(&module("0.2.1", &import("env", "proxy_clear_route_cache", ":i")));
        let why = "it imports env.proxy_clear_route_cache, which Envoy gives only with ABI 0.1.0, not 0.2.1";
        assert_eq!(found.refused_by_envoy, [why]);
    }

    #[test]
    fn an_import_that_nobody_has_or_of_another_type_is_refused() {
        for (more, why) in [
            (import("env", "foo", ":"), "it imports env.foo, which no Envoy gives"),
            (import("other", "proxy_log", "iii:i"), "it imports other.proxy_log, which no Envoy gives"),
            (
                import("env", "proxy_log", "iI:i"),
                "it imports env.proxy_log as (i32, i64) → i32, which is (i32, i32, i32) → i32 in Envoy",
            ),
            (
                import("wasi_snapshot_preview1", "proc_exit", "i:i"),
                "it imports wasi_snapshot_preview1.proc_exit as (i32) → i32, which is (i32) in Envoy",
            ),
            ("(import \"env\" \"g\" (global i32))".into(), "it imports the global env.g, and Envoy gives none"),
        ] {
            assert_eq!(inspect(&module("0.2.1", &more)).refused_by_envoy, [why]);
        }
        let found = inspect(&module("0.2.1", "(import \"env\" \"t\" (table 1 funcref))"));
        assert_eq!(found.refused_by_envoy, [""; 0]);
    }

    #[test]
    fn a_callback_of_another_type_is_refused_and_an_unknown_one_never_called() {
        for (name, signature, abis) in CALLBACKS.iter().filter(|(name, ..)| *name != "proxy_on_vm_start") {
            let found = inspect(&module(abis[0], &format!("(func (export \"{name}\") (param f32))")));
            let [why] = &found.refused_by_envoy[..] else { panic!("{found:?}") };
            assert!(why.starts_with(&format!("its {name} is (another type), not (")), "{why} {signature}");
            assert!(found.callbacks.contains(name));
        }
        let found = inspect(&module("0.2.1", "(func (export \"proxy_on_whatever\") (param f32))"));
        assert_eq!(found.refused_by_envoy, [""; 0]);
        assert_eq!(found.warnings, ["Envoy never calls proxy_on_whatever"]);
    }

    #[test]
    fn main_counts_only_behind_initialize() {
        let main = "(func (export \"main\"))";
        assert_eq!(inspect(&module("0.2.1", main)).refused_by_envoy, ["its main is (), not (i32, i32) → i32"]);
        let command = module("0.2.1", main);
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
    fn what_is_missing_is_said() {
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
    fn of_several_markers_the_first_that_is_a_function_and_known_counts() {
        let text = r#"(module (global (export "proxy_abi_version_0_2_0") i32 (i32.const 0))
            (func (export "proxy_abi_version_0_3_0")) (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_abi_version_0_1_0")) (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
        let found = inspect(&wat::parse_str(text).expect("text"));
        assert_eq!((found.abi, &found.refused_here[..]), (Some("0.2.1"), &[][..]));
    }

    #[test]
    fn memory_may_be_exported_or_imported() {
        let found = inspect(&module("0.2.1", ""));
        assert_eq!(found.memory.map(|memory| (memory.min, memory.max, memory.imported)), Some((1, None, false)));
        let imported = wat::parse_str("(module (import \"env\" \"memory\" (memory 2 3)))").expect("text");
        let found = inspect(&imported);
        assert_eq!(found.memory.map(|memory| (memory.min, memory.max, memory.imported)), Some((2, Some(3), true)));
    }

    #[test]
    fn all_that_this_host_serves_is_known() {
        for (module, name) in SERVED {
            let known = if *module == "env" {
                ENV.iter().any(|(known, ..)| known == name)
            } else {
                WASI.iter().any(|(known, _)| known == name)
            };
            assert!(known, "{module}.{name}");
        }
    }

    #[test]
    fn what_is_no_webassembly_is_an_error() {
        assert!(Inspection::of_bytes("{}").expect_err("an error").to_string().contains("isn't WebAssembly"));
        assert!(Inspection::of_bytes(b"\0asm").is_err());
    }
}
