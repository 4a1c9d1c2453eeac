//! Tests that no module imports itself, directly or through other modules.

use crate::page::repository;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The directories of the crates.
const CRATES: [&str; 4] = ["filter/core", "envoy", "envoy/controller", "host-sim"];

/// A path in code, such as `crate::plan::Plan`, or the path of a module, which begins at the root of its crate.
type Segments = Vec<String>;

/// The source files of a crate by the paths of their modules. Unit tests are left out.
struct Modules(BTreeMap<Segments, Module>);

#[derive(Default)]
struct Module {
    /// Paths in the code and in private imports.
    paths: Vec<Segments>,
    /// Paths that `pub use` and `pub(crate) use` make available here, by their names.
    exports: BTreeMap<String, Segments>,
}

#[test]
fn modules_form_no_cycle() {
    for directory in CRATES {
        let modules = Modules::read(&repository().join(directory).join("src"));
        let imports = modules.imports();
        let number: usize = imports.values().map(BTreeSet::len).sum();
        assert!(number > 20, "{directory}: only {number} imports were found");
        if let Some(cycle) = cycle(&imports) {
            let cycle: Vec<_> = cycle.iter().map(|module| module.join("::")).collect();
            panic!("{directory}: modules import each other: {}", cycle.join(" -> "));
        }
    }
}

#[test]
fn cycle_through_re_exports_and_nested_imports_is_found() {
    let source = |text: &str| Module::parse(text.parse().expect("Rust"));
    let segments = |path: &str| -> Segments { path.split("::").filter(|s| !s.is_empty()).map(str::to_owned).collect() };
    let modules = |c: &str| {
        let sources =
            [("", "pub use a::b::B; mod a; mod c;"), ("a::b", "use crate::c::{self, C}; struct B;"), ("c", c)];
        Modules(sources.into_iter().map(|(path, text)| (segments(path), source(text))).collect())
    };
    let imports = |c: &str| modules(c).imports();
    assert_eq!(cycle(&imports("struct C;")), None);
    assert_eq!(cycle(&imports("struct C; /* crate::B */ #[cfg(test)] mod tests { use crate::B; }")), None);
    let expected = Some(vec![segments("a::b"), segments("c"), segments("a::b")]);
    assert_eq!(cycle(&imports("struct C; fn f() { println!(\"{}\", crate::B::new()); }")), expected);
    assert_eq!(cycle(&imports("use super::a::{b::{B}}; struct C;")), expected);
}

// === impl Modules ===

impl Modules {
    fn read(directory: &Path) -> Modules {
        let mut modules = Modules(BTreeMap::new());
        modules.read_directory(directory, &[]);
        modules
    }

    fn read_directory(&mut self, directory: &Path, module: &[String]) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let child = [module, std::slice::from_ref(&name)].concat();
            if path.is_dir() {
                self.read_directory(&path, &child);
            } else if !["main", "tests"].contains(&name.as_str()) {
                let text = fs::read_to_string(&path).expect("a source file");
                let module = if ["lib", "mod"].contains(&name.as_str()) { module.to_vec() } else { child };
                self.0.insert(module, Module::parse(text.parse().expect("Rust")));
            }
        }
    }

    /// Returns the modules that each module imports.
    fn imports(&self) -> BTreeMap<Segments, BTreeSet<Segments>> {
        let imports = |(module, content): (&Segments, &Module)| {
            let targets = content.paths.iter().filter_map(|path| self.target(module, path, 0));
            (module.clone(), targets.filter(|target| target != module).collect())
        };
        self.0.iter().map(imports).collect()
    }

    /// Returns the module that declares the item of a path; `None` if the item belongs to another crate.
    fn target(&self, module: &Segments, path: &[String], depth: usize) -> Option<Segments> {
        assert!(depth < 20, "{path:?} leads to itself");
        let mut at = module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => (at, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {}
            name if self.has_module(&[&at[..], &[name.to_owned()]].concat()) => {}
            _ => return None,
        }
        while let Some((name, others)) = rest.split_first() {
            let child = [&at[..], std::slice::from_ref(name)].concat();
            if name == "super" {
                at.pop();
            } else if self.has_module(&child) {
                at = child;
            } else if let Some(export) = self.0.get(&at).and_then(|content| content.exports.get(name)) {
                return self.target(&at, &[export, others].concat(), depth + 1);
            } else {
                break;
            }
            rest = others;
        }
        Some(at)
    }

    /// Reports whether this is the path of a module, or of a module's parent.
    fn has_module(&self, path: &[String]) -> bool {
        self.0.keys().any(|module| module.starts_with(path))
    }
}

// === impl Module ===

impl Module {
    fn parse(tokens: TokenStream) -> Module {
        let mut module = Module::default();
        module.read(tokens);
        module
    }

    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            if is_test_attribute(rest) {
                // The item ends with a block or a semicolon.
                let end = rest.iter().position(|token| is_block(token) || is_punctuation(token, ';'));
                at += end.map_or(rest.len(), |end| end + 1);
                continue;
            }
            let exports = rest.first().is_some_and(|token| is_word(token, "pub"))
                && rest.iter().take(3).any(|token| is_word(token, "use"));
            if exports {
                let begin = rest.iter().position(|token| is_word(token, "use")).expect("use") + 1;
                let end = rest.iter().position(|token| is_punctuation(token, ';')).unwrap_or(rest.len());
                for path in expand(&rest[begin..end]) {
                    let name = path.last().expect("a name").clone();
                    self.exports.insert(name, path);
                }
                at += end + 1;
                continue;
            }
            let continues = at > 0 && is_punctuation(&tokens[at - 1], ':');
            match &tokens[at] {
                TokenTree::Ident(_) if !continues && rest.get(1).is_some_and(|token| is_punctuation(token, ':')) => {
                    self.paths.extend(expand(rest));
                }
                TokenTree::Group(group) => self.read(group.stream()),
                _ => {}
            }
            at += 1;
        }
    }
}

/// Expands a path or a tree of paths, such as `a::{b, c::D}`, at the beginning of tokens.
fn expand(tokens: &[TokenTree]) -> Vec<Segments> {
    let mut path = Segments::new();
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let items: Vec<_> = group.stream().into_iter().collect();
                let items = items.split(|token| is_punctuation(token, ',')).filter(|item| !item.is_empty());
                let with_prefix = |item: Segments| [&path[..], &item].concat();
                // `{self}` names the module before it.
                let without_self = |mut path: Segments| {
                    path.pop_if(|name| name == "self");
                    path
                };
                return items.flat_map(expand).map(with_prefix).map(without_self).collect();
            }
            _ => break,
        }
        if !tokens[at + 1..].iter().take(2).all(|token| is_punctuation(token, ':')) || tokens.len() < at + 4 {
            break;
        }
        at += 3;
    }
    if path.is_empty() { Vec::new() } else { vec![path] }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punctuation(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn is_block(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    tokens.first().is_some_and(|token| is_punctuation(token, '#'))
        && tokens.get(1).is_some_and(|token| token.to_string().replace(' ', "") == "[cfg(test)]")
}

/// Returns a cycle, which begins and ends with the same module.
fn cycle(imports: &BTreeMap<Segments, BTreeSet<Segments>>) -> Option<Vec<Segments>> {
    fn visit<'m>(
        module: &'m Segments,
        imports: &'m BTreeMap<Segments, BTreeSet<Segments>>,
        done: &mut BTreeSet<&'m Segments>,
        way: &mut Vec<&'m Segments>,
    ) -> Option<Vec<Segments>> {
        if let Some(begin) = way.iter().position(|visited| *visited == module) {
            return Some(way[begin..].iter().chain([&module]).map(|module| (*module).clone()).collect());
        }
        if !done.insert(module) {
            return None;
        }
        way.push(module);
        let found = imports.get(module).into_iter().flatten().find_map(|imported| visit(imported, imports, done, way));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| visit(module, imports, &mut done, &mut Vec::new()))
}
