//! The filter in the simulator `host-sim`.

mod cases;
mod configurations;
mod faults;
mod filter;
mod guide;
mod hostile;

use e2e::guide::Guide;
use host_sim::Module;
use std::sync::LazyLock;

/// The compiled filter in `dist/`.
static FILTER: LazyLock<Module> = LazyLock::new(|| {
    Module::from_file(Guide::built().expect("the output of ./build.sh build").wasm).expect("a module")
});
