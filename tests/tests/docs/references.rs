//! Tests that the files, links, constants, functions and tests on the pages exist.

use crate::page::{Page, inline_code, repository};
use std::fs;
use std::path::Path;

/// Directories of the repository with which a path in inline code begins.
const DIRECTORIES: [&str; 7] = [".github/", "docs/", "envoy/", "filter/", "host-sim/", "tests/", "xtask/"];

/// Headings of table columns whose inline code is declared in a file that the row names.
const DECLARED: [&str; 4] = ["constant", "item", "test", "limit constant"];

#[test]
fn files_in_inline_code_exist() {
    let mut found = 0;
    let mut missing = Vec::new();
    for page in Page::all() {
        for (line, text) in page.prose() {
            for path in inline_code(text).filter(|code| is_path(code)) {
                found += 1;
                if !exists(path) {
                    missing.push(format!("{}:{line}: `{path}` does not exist", page.path));
                }
            }
        }
    }
    assert!(found > 50, "only {found} paths were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn linked_files_and_headings_exist() {
    let mut missing = Vec::new();
    for page in Page::all() {
        let directory = Path::new(&page.path).parent().expect("the path of a file");
        for (line, text) in page.prose() {
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets.filter(|target| !target.contains("://")) {
                let (file, heading) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() { page.path.clone() } else { directory.join(file).display().to_string() };
                if !repository().join(&file).exists() {
                    missing.push(format!("{}:{line}: {target} does not exist", page.path));
                } else if !heading.is_empty() && !headings(&file).iter().any(|known| known == heading) {
                    missing.push(format!("{}:{line}: {file} has no heading #{heading}", page.path));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn constants_functions_and_tests_in_tables_are_declared_in_the_named_files() {
    let mut found = 0;
    let mut missing = Vec::new();
    for page in Page::all() {
        for row in page.rows() {
            let row_files: Vec<_> = row.cells.iter().flat_map(|(_, cell)| files_of(cell)).collect();
            for (heading, cell) in &row.cells {
                if *heading == "test" {
                    // `file`: `test`, `test`; `file`: `test`
                    let mut file = None;
                    for code in inline_code(cell) {
                        if is_path(code) {
                            file = Some(code);
                        } else {
                            found += 1;
                            if !file.is_some_and(|file| declares(file, code)) {
                                missing.push(format!("{}:{}: test `{code}` is not in {file:?}", page.path, row.line));
                            }
                        }
                    }
                    continue;
                }
                for code in inline_code(cell) {
                    let named = DECLARED.contains(heading) && !is_path(code) || is_constant(code);
                    if named && !row_files.is_empty() {
                        found += 1;
                        if !row_files.iter().any(|file| declares(file, code)) {
                            let files = row_files.join(", ");
                            missing.push(format!("{}:{}: `{code}` is not declared in {files}", page.path, row.line));
                        }
                    }
                }
            }
        }
    }
    assert!(found > 100, "only {found} names were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn architecture_page_locates_at_least_30_rules() {
    let page = Page::read("docs/architecture.md");
    let rules = page.rows().into_iter().filter(|row| row.cells.iter().any(|(heading, _)| *heading == "rule")).count();
    assert!(rules >= 30, "{rules} rules");
}

/// Reports whether inline code is a path of the repository, not a pattern of paths.
fn is_path(code: &str) -> bool {
    DIRECTORIES.iter().any(|directory| code.starts_with(directory))
        && code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        || ["build.sh", "Cargo.toml", "deny.toml", "rust-toolchain.toml"].contains(&code)
}

fn exists(path: &str) -> bool {
    repository().join(path).exists()
}

fn files_of(cell: &str) -> Vec<&str> {
    inline_code(cell).filter(|code| is_path(code) && repository().join(code).is_file()).collect()
}

/// Reports whether inline code is a Rust constant with at least two words, or an item of a type.
fn is_constant(code: &str) -> bool {
    let has_words =
        code.contains('_') && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    has_words || code.split_once("::").is_some_and(|(owner, _)| owner.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Reports whether a file declares the last segment of a Rust path, or a Go function.
fn declares(file: &str, item: &str) -> bool {
    let Ok(text) = fs::read_to_string(repository().join(file)) else { return false };
    let name = item.rsplit("::").next().unwrap_or(item).trim_end_matches("()");
    text.lines().any(|line| {
        let mut rest = line.trim_start();
        if rest.starts_with("//") {
            return false;
        }
        for prefix in [
            "pub(crate) ",
            "pub(super) ",
            "pub(in crate) ",
            "pub ",
            "async ",
            "const ",
            "static ",
            "unsafe ",
            "extern \"C\" ",
        ] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        for keyword in ["fn ", "struct ", "enum ", "trait ", "type ", "mod ", "func ", "const ", "static "] {
            rest = rest.strip_prefix(keyword).unwrap_or(rest);
        }
        rest.strip_prefix(name).is_some_and(|end| {
            end.is_empty() || end.starts_with([':', '(', '<', ',', ' ', ';']) && !end.starts_with("::")
        })
    })
}

/// Returns the anchors of a page's headings, as GitHub makes them.
fn headings(path: &str) -> Vec<String> {
    let page = Page::read(path);
    let headings = page.prose().filter_map(|(_, line)| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
    headings
        .map(|heading| {
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
            kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
        })
        .collect()
}

#[test]
fn image_tags_are_the_version_of_the_workspace() {
    let mut found = 0;
    for path in ["docs/istio.md", "envoy/Dockerfile", "envoy/manifests/controller.yaml"] {
        let text = fs::read_to_string(repository().join(path)).expect("a file");
        for (line, text) in text.lines().enumerate() {
            for image in text.split("registry.example.com/").skip(1) {
                let is_part = |char: char| char.is_ascii_alphanumeric() || ".-_".contains(char);
                // An image by digest has no tag.
                let Some(tag) = image.trim_start_matches(is_part).strip_prefix(':') else { continue };
                let tag = tag.split(|char| !is_part(char)).next().unwrap_or_default();
                assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{path}:{}", line + 1);
                found += 1;
            }
        }
    }
    assert!(found >= 5, "only {found} tags were found");
}
