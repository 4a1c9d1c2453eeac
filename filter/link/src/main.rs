//! The linker of the filter: a wrapper around `rust-lld` that exports only the filter's callbacks.
//!
//! cargo runs it as the linker of `wasm32-wasip1` (`build.sh` sets it). It changes two things:
//! - It omits the SDK's exports. The linker then removes the SDK's dispatcher, which nothing else uses, and the host
//!   functions that only the dispatcher calls.
//! - It removes the prefix from the names of the filter's callbacks: `filter:proxy_on_configure` becomes
//!   `proxy_on_configure`. While linking, these names must differ from the names of the SDK's callbacks.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use walrus::ModuleConfig;

/// The prefix of the filter's exports.
const PREFIX: &str = "filter:";
/// The prefix of the SDK's exports.
const SDK_PREFIX: &str = "proxy_on_";
/// The SDK's allocator, through which a host passes bytes. This export stays.
const ALLOCATOR: &str = "proxy_on_memory_allocate";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("traffic-split-link: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let output = arguments.iter().position(|argument| argument == "-o").and_then(|index| arguments.get(index + 1));
    let output = output
        .ok_or("the argument `-o` is missing; cargo runs this program as a linker: run ./build.sh build")?
        .clone();
    let linker = rust_lld()?;
    let status = Command::new(&linker).args(without_sdk_exports(arguments)).status();
    if !status.map_err(|why| format!("{}: {why}", linker.display()))?.success() {
        return Err(format!("{} failed; its messages are above", linker.display()).into());
    }
    remove_prefixes(&output)
}

/// Returns the path of the linker that is part of the Rust toolchain.
fn rust_lld() -> Result<PathBuf, Box<dyn Error>> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let run = |arguments: &[&str]| -> Result<String, Box<dyn Error>> {
        let output = Command::new(&rustc).args(arguments).output().map_err(|why| format!("{rustc}: {why}"))?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let version = run(&["-vV"])?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| format!("`{rustc} -vV` prints no line `host:`"))?;
    let sysroot = PathBuf::from(run(&["--print", "sysroot"])?.trim());
    Ok(sysroot.join("lib/rustlib").join(host).join("bin/rust-lld"))
}

/// Returns the arguments without `--export NAME` of the SDK's callbacks.
fn without_sdk_exports(arguments: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let is_sdk_export = argument.starts_with(SDK_PREFIX) && argument != ALLOCATOR;
        if is_sdk_export && kept.last().is_some_and(|last| last == "--export") {
            kept.pop();
        } else {
            kept.push(argument);
        }
    }
    kept
}

/// Removes [`PREFIX`] from the names of the exports of a module file.
fn remove_prefixes(wasm: &str) -> Result<(), Box<dyn Error>> {
    let mut module = ModuleConfig::new().generate_producers_section(false).parse_file(wasm)?;
    let mut renamed = 0;
    for export in module.exports.iter_mut() {
        if let Some(name) = export.name.strip_prefix(PREFIX) {
            export.name = name.to_owned();
            renamed += 1;
        }
    }
    if renamed == 0 {
        return Err(format!("{wasm}: no export begins with {PREFIX:?}; this is not the filter").into());
    }
    module.emit_wasm_file(wasm)?;
    Ok(())
}
