//! Makes the linker write short indices: by default it pads every index in code to five bytes, 5 % of the module.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The linker cannot do so in modules with debug information.
    if env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm")
        && env::var("DEBUG").is_ok_and(|debug| debug == "false")
    {
        println!("cargo::rustc-link-arg-cdylib=--strip-debug");
        println!("cargo::rustc-link-arg-cdylib=--compress-relocations");
    }
}
