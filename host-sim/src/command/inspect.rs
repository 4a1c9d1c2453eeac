//! `host-sim inspect`: describes a module.

use crate::arguments::InspectArguments;
use crate::failure::{Failure, read};
use crate::terminal::{escape_json, write_lines};
use host_sim::Inspection;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Writes the description of a module. Returns whether Envoy starts it.
pub(crate) fn inspect(arguments: &InspectArguments, out: &mut impl Write) -> Result<bool, Failure> {
    let InspectArguments { filter, json } = arguments;
    let inspection =
        Inspection::of_bytes(read(filter)?).map_err(|why| Failure::Input(format!("{}: {why}", filter.display())))?;
    if *json {
        out.write_all(escape_json(&to_json(&inspection)).as_bytes())?;
    } else {
        write_lines(out, to_lines(filter, &inspection))?;
    }
    Ok(inspection.refused_by_envoy.is_empty())
}

fn to_lines(file: &Path, inspection: &Inspection) -> Vec<String> {
    let abi = inspection.abi.map_or("no known ABI".to_owned(), |abi| format!("ABI {abi}"));
    let names = if inspection.function_names { "with" } else { "without" };
    let mut lines = vec![format!("{}: {abi}, {} bytes, {names} function names", file.display(), inspection.size)];
    let none = || "none".to_owned();
    lines.push(format!(
        "memory: {}",
        inspection.memory.map_or_else(none, |memory| {
            let max = memory.max.map_or("no maximum".to_owned(), |max| format!("maximum {max}"));
            let imported = if memory.imported { ", imported" } else { "" };
            format!("{} pages of 64 KiB, {max}{imported}", memory.min)
        })
    ));
    lines.push(format!("initializer: {}", inspection.initializer.unwrap_or("none")));
    lines.push(format!("allocator: {}", inspection.allocator.unwrap_or("none")));
    let mut list = |title: &str, names: &[String]| {
        if !names.is_empty() {
            lines.push(format!("{title} ({}):", names.len()));
            lines.extend(names.iter().map(|name| format!("  {name}")));
        }
    };
    let owned = |names: &[&str]| -> Vec<_> { names.iter().map(|name| (*name).to_owned()).collect() };
    list("callbacks", &owned(&inspection.callbacks));
    list("callbacks not exported", &owned(&inspection.callbacks_not_exported));
    list("other exports", &inspection.other_exports);
    for (module, names) in &inspection.imports {
        list(&format!("imports from {module}"), names);
    }
    list("warnings", &inspection.warnings);
    let mut verdict = |host: &str, problems: &[String]| {
        let verdict = if problems.is_empty() { "accepts the module" } else { "rejects the module:" };
        lines.push(format!("{host} {verdict}"));
        lines.extend(problems.iter().map(|why| format!("  {why}")));
    };
    verdict("this host", &inspection.refused_here);
    verdict("Envoy", &inspection.refused_by_envoy);
    lines
}

fn to_json(inspection: &Inspection) -> String {
    let memory =
        inspection.memory.map(|memory| json!({"min": memory.min, "max": memory.max, "imported": memory.imported}));
    let report = json!({
        "abi": inspection.abi,
        "size": inspection.size,
        "functionNames": inspection.function_names,
        "memory": memory,
        "initializer": inspection.initializer,
        "allocator": inspection.allocator,
        "callbacks": inspection.callbacks,
        "callbacksNotExported": inspection.callbacks_not_exported,
        "otherExports": inspection.other_exports,
        "imports": inspection.imports,
        "unserved": inspection.unknown_imports,
        "warnings": inspection.warnings,
        "refusedHere": inspection.refused_here,
        "refusedByEnvoy": inspection.refused_by_envoy,
    });
    format!("{report:#}\n")
}
