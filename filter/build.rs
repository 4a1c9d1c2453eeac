//! Stops a build with any linker other than `filter/link`: the module would have export names that no host calls.

use std::env;
use std::path::Path;

const LINKER: &str = "traffic-split-link";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_WASM32_WASIP1_LINKER");
    let is_wasm = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm");
    let linker = env::var("RUSTC_LINKER").unwrap_or_default();
    if is_wasm && Path::new(&linker).file_stem().is_none_or(|name| name != LINKER) {
        println!(
            "cargo::error=the filter needs its own linker, which gives the callbacks the names that Envoy calls; run: \
             ./build.sh build (docs/architecture.md, \"How the filter is linked\", says why)"
        );
    }
}
