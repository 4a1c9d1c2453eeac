//! Fuzz targets. Each function feeds arbitrary bytes to one parser, and panics if the parser panics or breaks a rule.
//!
//! `./build.sh fuzz` runs the targets under libFuzzer. `cargo test -p fuzz` replays the corpus on stable Rust.

mod authority;
mod configuration;
mod cookie;
mod decision;
mod envoy_configuration;
mod files;
mod matching;
mod message;
mod module;
mod weight;

pub use authority::authority;
pub use configuration::configuration;
pub use cookie::cookie;
pub use envoy_configuration::envoy_configuration;
pub use files::files;
pub use matching::matching;
pub use module::module;
pub use weight::weight;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name: of the function, of the program in `fuzz_targets`, and of the directory in `corpus`.
    pub name: &'static str,
    /// Runs one input. Panics if it is a finding.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 8] = [
    Target { name: "authority", run: authority },
    Target { name: "configuration", run: configuration },
    Target { name: "cookie", run: cookie },
    Target { name: "envoy_configuration", run: envoy_configuration },
    Target { name: "files", run: files },
    Target { name: "matching", run: matching },
    Target { name: "module", run: module },
    Target { name: "weight", run: weight },
];
