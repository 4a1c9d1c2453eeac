//! Loads the filters of the examples: `host-sim/guests/filters`, compiled to WebAssembly.

use host_sim::Module;

/// Loads a filter by name. In your own tests use the path: `Module::from_file("target/wasm32-wasip1/…")`.
pub fn filter(name: &str) -> Module {
    // target/debug/examples/this → target/wasm32-wasip1/release/examples/that
    let this = std::env::current_exe().expect("a program");
    let target = this.ancestors().nth(3).expect("a program in cargo's target directory");
    let path = target.join("wasm32-wasip1/release/examples").join(name).with_extension("wasm");
    Module::from_file(path).unwrap_or_else(|why| {
        panic!(
            "{why}\nBuild the filters first:\n  rustup target add wasm32-wasip1\n  \
             cargo build --release --target wasm32-wasip1 -p example-filters --examples"
        )
    })
}
