//! Compiled modules.

use crate::abi::AbiVersion;
use crate::backtrace::{self, Functions, MAX_DEPTH};
use crate::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use wasmi::{Config, Engine};
use wasmparser::{ExternalKind, Parser, Payload};

/// The first bytes of a core module: `\0asm`, and the version of the binary format.
pub(crate) const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// The prefix of the export that marks the ABI version.
const MARKER: &str = "proxy_abi_version_";

/// The exports that allocate guest memory for the host. The first one that exists is used.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

/// Why this host and Envoy reject a module without an allocator.
pub(crate) const NO_ALLOCATOR: &str =
    "the export malloc or proxy_on_memory_allocate is missing; the host needs it to pass data to the module";

/// A compiled module. Clones share it; any number of simulators on any threads can run it.
#[derive(Clone)]
pub struct Module {
    /// The module, rewritten so that traps have backtraces.
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

    /// Compiles a module in the binary format.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the bytes are not WebAssembly, or the module has no marker of a supported ABI version or no
    /// allocator. Envoy rejects such modules too.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Module, Error> {
        let bytes = bytes.as_ref();
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::Invalid(
                "the file is not WebAssembly; a module begins with the bytes \\0asm".to_owned(),
            ));
        }
        // The rewritten module gets a new header, so the old one is checked here.
        if !bytes.starts_with(HEADER) {
            return Err(Error::Invalid(
                "the version of the binary format is not 1; build a core module, for example for wasm32-wasip1, not a \
                 component"
                    .to_owned(),
            ));
        }
        // Fuel ends endless loops.
        let engine = Engine::new(Config::default().consume_fuel(true).set_max_recursion_depth(MAX_DEPTH));
        let compiled = |bytes: &[u8]| wasmi::Module::new(&engine, bytes).map_err(|why| why.to_string());
        let rewritten = backtrace::rewrite(bytes).map_err(|why| why.to_string());
        let rewritten = rewritten.and_then(|(wasm, functions)| {
            Ok((compiled(&wasm).map_err(|why| format!("cannot instrument calls: {why}"))?, functions))
        });
        // The interpreter's message about the module itself is better than one about the rewritten module.
        let (wasm, functions) = rewritten.map_err(|why| Error::Invalid(compiled(bytes).err().unwrap_or(why)))?;
        let abi = abi(bytes).ok_or_else(|| {
            let other = wasm.exports().map(|export| export.name()).find(|name| name.starts_with(MARKER));
            Error::Invalid(match other {
                Some(other) => format!("the ABI marker {other} is not supported; use ABI 0.1.0, 0.2.0 or 0.2.1"),
                None => "the ABI marker is missing; export a function proxy_abi_version_0_2_1".to_owned(),
            })
        })?;
        let is_allocator =
            |export: wasmi::ExportType<'_>| export.ty().func().is_some() && ALLOCATORS.contains(&export.name());
        if !wasm.exports().any(is_allocator) {
            return Err(Error::Invalid(NO_ALLOCATOR.to_owned()));
        }
        Ok(Module { wasm, functions: Arc::new(functions), abi })
    }

    /// Returns the ABI version of the module.
    #[must_use]
    pub fn abi(&self) -> AbiVersion {
        self.abi
    }

    /// Returns the name of the exported memory, which may be any name, as in Envoy.
    pub(crate) fn memory(&self) -> Option<&str> {
        let memories = self.wasm.exports().filter(|export| export.ty().memory().is_some()).map(|export| export.name());
        memories.filter(|name| !backtrace::EXPORTS.contains(name)).last()
    }

    /// Returns the imports as `module.name`, sorted.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        let mut imports: Vec<_> =
            self.wasm.imports().map(|import| format!("{}.{}", import.module(), import.name())).collect();
        imports.sort();
        imports
    }

    /// Returns the names of the exports, sorted.
    #[must_use]
    pub fn exports(&self) -> Vec<String> {
        let names = self.wasm.exports().map(|export| export.name()).filter(|name| !backtrace::EXPORTS.contains(name));
        let mut exports: Vec<_> = names.map(str::to_owned).collect();
        exports.sort();
        exports
    }
}

/// Returns the ABI version of a valid module. The first marker function counts, as in Envoy. (wasmi would list exports
/// by name, hence the separate parser.)
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
