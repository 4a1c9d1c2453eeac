//! A compiled filter.

use crate::abi::AbiVersion;
use crate::backtrace::{self, Functions, MAX_DEPTH};
use crate::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use wasmi::{Config, Engine};
use wasmparser::{ExternalKind, Parser, Payload};

/// What the export that says the ABI begins with.
const MARKER: &str = "proxy_abi_version_";

/// What gives the host memory for what it hands to the guest: the first that is exported.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

/// Why a module without any is refused, here and by Envoy.
pub(crate) const NO_ALLOCATOR: &str =
    "it exports neither malloc nor proxy_on_memory_allocate, without which the host can't hand it anything";

/// A filter's module, compiled once; a clone shares it. Any number of simulators run it, on any thread.
#[derive(Clone)]
pub struct Module {
    /// The module, rewritten such that a trap has a backtrace.
    pub(crate) wasm: wasmi::Module,
    pub(crate) functions: Arc<Functions>,
    pub(crate) abi: AbiVersion,
}

impl Module {
    /// Compiles the module in a file.
    ///
    /// # Errors
    /// [`Error::Read`], and those of [`from_bytes`](Module::from_bytes).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Module, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|why| Error::Read { path: path.to_owned(), why })?;
        Module::from_bytes(bytes)
    }

    /// Compiles a module, as binary.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it isn't WebAssembly, has no marker of an ABI that is served, or no allocator, without which
    /// Envoy doesn't start it either.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Module, Error> {
        let bytes = bytes.as_ref();
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::Invalid("it isn't WebAssembly, which begins with the bytes \\0asm".to_owned()));
        }
        // Fuel is what ends an endless loop.
        let engine = Engine::new(Config::default().consume_fuel(true).set_max_recursion_depth(MAX_DEPTH));
        let compiled = |bytes: &[u8]| wasmi::Module::new(&engine, bytes).map_err(|why| why.to_string());
        let rewritten = backtrace::rewrite(bytes).map_err(|why| why.to_string());
        let rewritten = rewritten.and_then(|(wasm, functions)| Ok((compiled(&wasm)?, functions)));
        let (wasm, functions) = rewritten.map_err(|why| match compiled(bytes) {
            Ok(_) => Error::Invalid(format!("its calls can't be followed: {why}")),
            Err(why) => Error::Invalid(why),
        })?;
        let abi = abi(bytes).ok_or_else(|| {
            let other = wasm.exports().map(|export| export.name()).find(|name| name.starts_with(MARKER));
            Error::Invalid(match other {
                Some(other) => format!("{other} isn't served: only ABI 0.1.0, 0.2.0 and 0.2.1 are"),
                None => "it exports no proxy_abi_version_…".to_owned(),
            })
        })?;
        let is_allocator =
            |export: wasmi::ExportType<'_>| export.ty().func().is_some() && ALLOCATORS.contains(&export.name());
        if !wasm.exports().any(is_allocator) {
            return Err(Error::Invalid(NO_ALLOCATOR.to_owned()));
        }
        Ok(Module { wasm, functions: Arc::new(functions), abi })
    }

    /// The ABI that it is made for.
    #[must_use]
    pub fn abi(&self) -> AbiVersion {
        self.abi
    }

    /// The name of the memory that the host reads and writes: that which it exports, whatever its name, as in Envoy.
    pub(crate) fn memory(&self) -> Option<&str> {
        let memories = self.wasm.exports().filter(|export| export.ty().memory().is_some()).map(|export| export.name());
        memories.filter(|name| !backtrace::EXPORTS.contains(name)).last()
    }

    /// What it imports: `env.proxy_log` and so on, sorted.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        let mut imports: Vec<_> =
            self.wasm.imports().map(|import| format!("{}.{}", import.module(), import.name())).collect();
        imports.sort();
        imports
    }

    /// What it exports, sorted.
    #[must_use]
    pub fn exports(&self) -> Vec<String> {
        let names = self.wasm.exports().map(|export| export.name()).filter(|name| !backtrace::EXPORTS.contains(name));
        let mut exports: Vec<_> = names.map(str::to_owned).collect();
        exports.sort();
        exports
    }
}

/// The ABI that a valid module is made for. Of several functions that mark one, the first counts, as in Envoy; wasmi has
/// exports in the order of their names.
pub(crate) fn abi(wasm: &[u8]) -> Option<AbiVersion> {
    let exports = Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
        Ok(Payload::ExportSection(exports)) => Some(exports),
        _ => None,
    });
    let functions = exports?.into_iter().flatten().filter(|export| export.kind == ExternalKind::Func);
    functions.map(|export| AbiVersion::from_marker(export.name)).find(Option::is_some)?
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("imports", &self.imports()).field("exports", &self.exports()).finish()
    }
}
