//! Inspects a module: its imports, exports and callbacks, and whether this host and Envoy start it.
//!
//! The rules are those of proxy-wasm-cpp-host when it loads a module into V8 (`WasmBase::load`, `registerCallbacks`,
//! `getFunctions`, `V8::link`). Envoy 1.40 applies them too.

use crate::abi::AbiVersion;
use crate::abi::signature::{Signature, ValueType};
use crate::error::Error;
use crate::host_functions::table;
use crate::vm::callbacks::CALLBACKS;
use crate::vm::module::{self, ALLOCATORS, Module, NO_ALLOCATOR};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use wasmi::{Engine, ExternType, FuncType, ValType};

/// The description of a module, without running it. Also describes modules that Envoy rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The module's size in bytes.
    pub size: usize,
    /// The ABI version by the marker export: `0.1.0`, `0.2.0` or `0.2.1`. `None` if Envoy finds no known marker.
    pub abi: Option<&'static str>,
    /// The memory.
    pub memory: Option<Memory>,
    /// Whether the module has function names, which backtraces show.
    pub function_names: bool,
    /// The export that Envoy calls first: `_initialize` (a reactor) or `_start` (a command).
    pub initializer: Option<&'static str>,
    /// The export that allocates memory for the host: `malloc` or `proxy_on_memory_allocate`.
    pub allocator: Option<&'static str>,
    /// The exported callbacks that Envoy calls with the module's ABI version. Each one costs time per request.
    pub callbacks: Vec<&'static str>,
    /// The callbacks that Envoy would call, but that the module does not export.
    pub callbacks_not_exported: Vec<&'static str>,
    /// All other exports, sorted.
    pub other_exports: Vec<String>,
    /// The imported names by module, sorted.
    pub imports: BTreeMap<String, Vec<String>>,
    /// The imports that this host does not provide, as `module.name`.
    pub unknown_imports: Vec<String>,
    /// Why this host does not start the module. Empty if it does.
    pub refused_here: Vec<String>,
    /// Why Envoy does not start the module. Empty if it does.
    pub refused_by_envoy: Vec<String>,
    /// Likely mistakes that do not keep Envoy from starting the module.
    pub warnings: Vec<String>,
}

/// The size of a memory in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The initial size.
    pub min: u64,
    /// The maximum size. `None` stands for 65,536 pages.
    pub max: Option<u64>,
    /// Whether the host provides the memory.
    pub imported: bool,
}

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

    /// Inspects a module in the binary format. The module needs no ABI marker.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the bytes are not WebAssembly, or use a proposal that this host does not support.
    pub fn of_bytes(bytes: impl AsRef<[u8]>) -> Result<Inspection, Error> {
        let bytes = bytes.as_ref();
        let loaded = Module::from_bytes(bytes);
        if let (Err(why), false) = (&loaded, bytes.starts_with(module::HEADER)) {
            return Err(Error::Invalid(reason(why)));
        }
        let wasm = wasmi::Module::new(&Engine::default(), bytes).map_err(|why| Error::Invalid(why.to_string()))?;
        let exports = Exports(wasm.exports().map(|export| (export.name(), export.ty().clone())).collect());
        let version = module::abi(bytes);
        let known_version = version;
        // A module without a marker is described as one of the latest ABI version.
        let version = version.unwrap_or(AbiVersion::V0_2_1);
        let mut refused_by_envoy = Vec::new();
        if known_version.is_none() {
            let why = "the ABI marker is missing: export a function proxy_abi_version_0_1_0, proxy_abi_version_0_2_0 or \
                       proxy_abi_version_0_2_1";
            refused_by_envoy.push(why.to_owned());
        }
        let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut unknown_imports = Vec::new();
        let mut memory = exports.0.iter().rev().find_map(|(_, kind)| Memory::of(kind, false));
        for import in wasm.imports() {
            let (module, name) = (import.module(), import.name());
            imports.entry(module.to_owned()).or_default().push(name.to_owned());
            refused_by_envoy.extend(import_problem(module, name, import.ty(), known_version));
            if !table::is_provided(version, module, name) {
                unknown_imports.push(format!("{module}.{name}"));
            }
            memory = memory.or(Memory::of(import.ty(), true));
        }
        imports.values_mut().for_each(|names| names.sort());
        unknown_imports.sort();

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
        initializer.iter().for_each(|name| expect(name, Signature::of::<(), ()>()));
        allocator.iter().for_each(|name| expect(name, Signature::of::<u32, u32>()));
        if initializer == Some("_initialize") {
            // Envoy calls these after `_initialize`.
            expect("main", Signature::of::<(u32, u32), u32>());
            expect("__main_void", Signature::of::<(), u32>());
        }
        let mut callbacks = Vec::new();
        let mut callbacks_not_exported = Vec::new();
        for callback in CALLBACKS.iter().filter(|callback| callback.abis.contains(&version)) {
            expect(callback.name, callback.signature);
            let is_exported = exports.function(callback.name).is_some();
            let list = if is_exported { &mut callbacks } else { &mut callbacks_not_exported };
            list.push(callback.name);
        }
        let others = exports.0.iter().map(|(name, _)| *name).filter(|name| !callbacks.contains(name));
        let mut other_exports: Vec<_> = others.map(str::to_owned).collect();
        other_exports.sort();

        let mut warnings = Vec::new();
        if memory.is_none() {
            warnings.push("the module has no memory: the host cannot pass data to it".to_owned());
        }
        if initializer.is_none() {
            warnings.push("the export _initialize or _start is missing: no code runs before the callbacks".to_owned());
        }
        if callbacks.is_empty() {
            warnings.push("the module exports no callbacks: Envoy never runs it".to_owned());
        }
        let never = other_exports.iter().filter(|name| name.starts_with("proxy_on_") && !known.contains(&name[..]));
        let never: Vec<_> = never.filter(|name| *name != "proxy_on_memory_allocate").collect();
        warnings.extend(never.into_iter().map(|name| format!("{name}: Envoy never calls this export")));

        let mut refused_here: Vec<_> = loaded.err().iter().map(reason).collect();
        if !unknown_imports.is_empty() {
            refused_here.push(format!("unknown imports: {}", unknown_imports.join(", ")));
        }
        Ok(Inspection {
            size: bytes.len(),
            abi: known_version.map(AbiVersion::as_str),
            memory,
            function_names: wasm.custom_sections().any(|section| section.name() == "name"),
            initializer,
            allocator,
            callbacks,
            callbacks_not_exported,
            other_exports,
            imports,
            unknown_imports,
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

/// The names and types of exports, in order.
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
        let function = self.function(name)?;
        let is_wrong = !has_signature(function, signature);
        is_wrong.then(|| format!("{name}: the signature is {}, not {signature}", describe(function)))
    }
}

/// Returns why Envoy rejects an import, if it does.
fn import_problem(module: &str, name: &str, kind: &ExternType, abi: Option<AbiVersion>) -> Option<String> {
    let function = match kind {
        ExternType::Func(function) => function,
        // Envoy provides these.
        ExternType::Memory(_) | ExternType::Table(_) => return None,
        ExternType::Global(_) => return Some(format!("import {module}.{name}: Envoy provides no globals")),
    };
    let Some(known) = table::find(module, name) else {
        return Some(format!("import {module}.{name}: Envoy provides no such function"));
    };
    if let Some(abi) = abi.filter(|abi| !known.abis.contains(abi)) {
        let abis: Vec<_> = known.abis.iter().map(|abi| abi.as_str()).collect();
        let (abis, abi) = (abis.join(" and "), abi.as_str());
        return Some(format!("import {module}.{name}: Envoy provides the function only with ABI {abis}, not {abi}"));
    }
    let is_wrong = !has_signature(function, known.signature);
    is_wrong
        .then(|| format!("import {module}.{name}: the signature is {}, not {}", describe(function), known.signature))
}

fn value_type(kind: &ValType) -> Option<ValueType> {
    match kind {
        ValType::I32 => Some(ValueType::I32),
        ValType::I64 => Some(ValueType::I64),
        _ => None,
    }
}

fn has_signature(function: &FuncType, signature: Signature) -> bool {
    let equal = |types: &[ValType], expected: &[ValueType]| {
        types.iter().map(value_type).eq(expected.iter().map(|expected| Some(*expected)))
    };
    equal(function.params(), signature.params) && equal(function.results(), signature.results)
}

/// Formats the type of a function as [`Signature`] does: `(i32, another type) → i32`.
fn describe(function: &FuncType) -> String {
    let names = |types: &[ValType]| {
        let name = |kind| value_type(kind).map_or("another type".to_owned(), |kind| kind.to_string());
        types.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let params = format!("({})", names(function.params()));
    if function.results().is_empty() { params } else { format!("{params} → {}", names(function.results())) }
}

/// Returns the message of an error without its prefix.
fn reason(why: &Error) -> String {
    match why {
        Error::Invalid(why) => why.clone(),
        why => why.to_string(),
    }
}

#[cfg(test)]
mod tests;
