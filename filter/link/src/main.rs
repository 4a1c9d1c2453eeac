//! The linker of the filter: gives it its entry points and keeps out what nothing uses.
//!
//! Stands where cargo calls the linker (`build.sh` sets it) and passes everything on to Rust's
//! own, with two differences:
//! - The entry points that the SDK exports are not exported. Nothing reaches its dispatcher then,
//!   and the linker drops it with every host call that only it makes.
//! - The filter's own entry points, which had to have another name beside the SDK's, get theirs:
//!   `filter:proxy_on_configure` becomes `proxy_on_configure`.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use walrus::ModuleConfig;

/// What the filter's own entry points begin with.
const PREFIX: &str = "filter:";
/// What the SDK's entry points begin with.
const SDK_PREFIX: &str = "proxy_on_";
/// The SDK's allocator, by which a host hands bytes over: it stays.
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
    let output = arguments.iter().position(|argument| argument == "-o").and_then(|place| arguments.get(place + 1));
    let output = output.ok_or("no -o among the arguments; cargo calls this as its linker, see build.sh")?.clone();
    let linker = rust_lld()?;
    let status = Command::new(&linker).args(without_sdk_exports(arguments)).status();
    if !status.map_err(|why| format!("{}: {why}", linker.display()))?.success() {
        return Err("the linker failed".into());
    }
    name_entry_points(&output)
}

/// The linker that comes with the compiler.
fn rust_lld() -> Result<PathBuf, Box<dyn Error>> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let ask = |what: &[&str]| -> Result<String, Box<dyn Error>> {
        let output = Command::new(&rustc).args(what).output().map_err(|why| format!("{rustc}: {why}"))?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let version = ask(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc -vV names no host")?;
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim());
    Ok(sysroot.join("lib/rustlib").join(host).join("bin/rust-lld"))
}

/// The linker's arguments less the `--export NAME` of the SDK's entry points.
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

fn name_entry_points(wasm: &str) -> Result<(), Box<dyn Error>> {
    let mut module = ModuleConfig::new().generate_producers_section(false).parse_file(wasm)?;
    let mut named = 0;
    for export in module.exports.iter_mut() {
        if let Some(name) = export.name.strip_prefix(PREFIX) {
            export.name = name.to_owned();
            named += 1;
        }
    }
    if named == 0 {
        return Err(format!("{wasm}: no export begins with {PREFIX:?}; is this the filter?").into());
    }
    module.emit_wasm_file(wasm)?;
    Ok(())
}
