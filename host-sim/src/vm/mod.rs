//! WebAssembly: compiled modules, their instances, and the callbacks that instances export.

pub(crate) mod callbacks;
mod export;
pub(crate) mod instance;
pub(crate) mod module;
