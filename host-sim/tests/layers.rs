//! The layers of the crate: a module imports only from lower layers, and no modules form a cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The layers of the library from the bottom to the top, by top-level module. A layer imports no layer above it.
const LAYERS: [&str; 11] =
    ["http", "abi", "routes", "backtrace", "state", "host_functions", "error", "vm", "lifecycle", "inspect", "api"];

/// The modules that each module imports, and the submodules that it declares.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the code of each source file below a directory, without comments and unit tests, by its module path, such as
/// `state::stream`. The root of the crate is left out.
fn sources(directory: &Path) -> BTreeMap<String, String> {
    fn visit(directory: &Path, module: &str, sources: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            let name = if module.is_empty() { stem.clone() } else { format!("{module}::{stem}") };
            if path.is_dir() {
                // The binary of this directory is a crate of its own.
                if name != "command" {
                    visit(&path, &name, sources);
                }
            } else if !["tests", "lib", "main"].contains(&&stem[..]) {
                let text = std::fs::read_to_string(&path).expect("a source file");
                sources.insert(if stem == "mod" { module.to_owned() } else { name }, code(&text));
            }
        }
    }
    let mut sources = BTreeMap::new();
    visit(directory, "", &mut sources);
    sources
}

/// Returns a source file without comment lines and unit tests.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// Expands a use tree, such as `a::{b, c::D}`, into its paths.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let (mut paths, mut depth, mut item) = (Vec::new(), 0, String::new());
    for char in rest.chars() {
        match char {
            '}' if depth == 0 => break,
            ',' if depth == 0 => paths.push(std::mem::take(&mut item)),
            _ => {
                depth += i32::from(char == '{') - i32::from(char == '}');
                item.push(char);
            }
        }
    }
    paths.push(item);
    let paths = paths.iter().filter(|path| !path.trim().is_empty());
    paths.flat_map(|path| expand(path)).map(|path| format!("{}{path}", prefix.trim())).collect()
}

/// Returns the modules that a module names by `crate::` or `super::` paths.
///
/// # Panics
/// If a path leads to no module of the list, so that no import escapes the check.
fn imports(module: &str, code: &str, modules: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    for (marker, base) in [("crate::", ""), ("super::", parent)] {
        for (at, _) in code.match_indices(marker) {
            if code[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_') {
                continue;
            }
            let rest = &code[at + marker.len()..];
            let tree = match rest.find(|char: char| !(char.is_alphanumeric() || "_:".contains(char))) {
                Some(end) if rest[end..].starts_with('{') => rest.split(';').next().unwrap_or_default(),
                Some(end) => &rest[..end],
                None => rest,
            };
            for path in expand(tree) {
                let path = if base.is_empty() { path } else { format!("{base}::{path}") };
                assert!(!path.contains("super::"), "{module}: {marker}{tree}: name the module from the root");
                let prefixes = path.match_indices("::").map(|(end, _)| &path[..end]).chain([&path[..]]);
                let named = prefixes.filter(|prefix| modules.contains(prefix)).last();
                let named = named.unwrap_or_else(|| panic!("{module}: {marker}{tree}: {path} is in no known module"));
                if named != module {
                    imports.insert(named.to_owned());
                }
            }
        }
    }
    imports
}

/// Returns the imports of each module, and the submodules that it declares.
fn graph(sources: &BTreeMap<String, String>) -> Graph {
    let modules: BTreeSet<&str> = sources.keys().map(String::as_str).collect();
    let mut graph: Graph =
        sources.iter().map(|(module, code)| (module.clone(), imports(module, code, &modules))).collect();
    for module in &modules {
        if let Some((parent, _)) = module.rsplit_once("::") {
            graph.get_mut(parent).expect("a parent").insert((*module).to_owned());
        }
    }
    graph
}

/// Returns the modules of one cycle, or `None` without a cycle.
fn cycle(graph: &Graph) -> Option<Vec<String>> {
    let mut graph = graph.clone();
    // A module that imports nothing is in no cycle; without it, nor is a module that imports only such modules.
    while let Some(module) = graph.iter().find(|(_, imports)| imports.is_empty()).map(|(module, _)| module.clone()) {
        graph.remove(&module);
        graph.values_mut().for_each(|imports| _ = imports.remove(&module));
    }
    // Each module that is left imports another one that is left: following the imports leads into a cycle.
    let mut path = vec![graph.keys().next()?.clone()];
    loop {
        let next = graph[path.last()?].first()?.clone();
        if let Some(start) = path.iter().position(|module| *module == next) {
            return Some(path.split_off(start));
        }
        path.push(next);
    }
}

fn library() -> Graph {
    graph(&sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")))
}

#[test]
fn modules_import_only_from_lower_layers() {
    let layer = |module: &str| {
        let top = module.split("::").next().unwrap_or_default();
        LAYERS.iter().position(|layer| *layer == top).unwrap_or_else(|| panic!("{module} belongs to no layer"))
    };
    let graph = library();
    assert!(graph.len() > 40, "{graph:?}");
    for (module, imports) in &graph {
        for import in imports {
            assert!(layer(import) <= layer(module), "{module} imports {import}, which is in a higher layer");
        }
    }
    assert!(graph["lifecycle::stream"].contains("vm::instance"), "imports are found: {graph:?}");
}

#[test]
fn no_modules_of_the_library_form_a_cycle() {
    assert_eq!(cycle(&library()), None);
}

#[test]
fn no_modules_of_the_command_form_a_cycle() {
    let graph = graph(&sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command")));
    assert!(graph.len() > 2, "{graph:?}");
    assert_eq!(cycle(&graph), None);
}

#[test]
fn use_trees_are_expanded() {
    assert_eq!(expand("a::{b, c::{D, e::F}, G}"), ["a::b", "a::c::D", "a::c::e::F", "a::G"]);
}

#[test]
fn a_cycle_of_imports_is_found() {
    let sources = |c: &str| {
        let files = [("a", "use crate::b::D;"), ("b", ""), ("b::c", c), ("b::d", "use super::c;")];
        graph(&files.map(|(module, code)| (module.to_owned(), code.to_owned())).into())
    };
    assert_eq!(cycle(&sources("use crate::b::c::E;")), None);
    assert_eq!(cycle(&sources("use super::d;")), Some(vec!["b::c".to_owned(), "b::d".to_owned()]));
    assert_eq!(cycle(&sources("fn f() { crate::a::g() }")).map(|cycle| cycle.len()), Some(3), "by way of the parent");
}

#[test]
#[should_panic(expected = "F is in no known module")]
fn a_path_to_a_reexport_of_the_root_is_refused() {
    graph(&[("a".to_owned(), "use crate::F;".to_owned())].into());
}
