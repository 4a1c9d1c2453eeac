//! Markdown pages of the repository: fenced blocks, table rows and inline code.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a directory of the repository")
}

/// A Markdown page.
pub struct Page {
    /// The path from the root of the repository.
    pub path: String,
    /// The text.
    pub text: String,
}

/// A fenced block, without the indentation of its fence.
pub struct Block<'t> {
    /// The line of the opening fence, counted from 1.
    pub line: usize,
    /// The language after the opening fence.
    pub language: &'t str,
    /// The lines between the fences.
    pub lines: Vec<&'t str>,
}

/// A row of a table.
pub struct Row<'t> {
    /// The line, counted from 1.
    pub line: usize,
    /// Each cell with the heading of its column.
    pub cells: Vec<(&'t str, &'t str)>,
}

impl Page {
    /// Reads the pages at the root and in `docs/`.
    pub fn all() -> Vec<Self> {
        let root = repository();
        let mut paths: Vec<PathBuf> = [root.to_owned(), root.join("docs")]
            .iter()
            .flat_map(|directory| fs::read_dir(directory).expect("a directory of the repository"))
            .map(|entry| entry.expect("a directory entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| Self::read(&path.strip_prefix(root).expect("below the root").to_string_lossy()))
            .collect()
    }

    /// Reads one page.
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    /// Returns the fenced blocks in order.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut indentation = None;
        for (index, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, indentation) {
                (Some(language), None) => {
                    indentation = Some(line.len() - line.trim_start().len());
                    blocks.push(Block { line: index + 1, language, lines: Vec::new() });
                }
                (Some(_), Some(_)) => indentation = None,
                (None, Some(width)) => {
                    let block = blocks.last_mut().expect("an open block");
                    block.lines.push(line.get(width..).unwrap_or_default());
                }
                (None, None) => {}
            }
        }
        assert!(indentation.is_none(), "{}: a fenced block is not closed", self.path);
        blocks
    }

    /// Returns the lines outside of fenced blocks, with their numbers.
    pub fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut fenced = false;
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            let is_fence = line.trim_start().starts_with("```");
            fenced ^= is_fence;
            (!fenced && !is_fence).then_some((index + 1, line))
        })
    }

    /// Returns the rows of all tables, without their heading rows.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        let mut headings: Option<Vec<&str>> = None;
        for (line, text) in self.prose() {
            let Some(text) = text.trim().strip_prefix('|').and_then(|text| text.strip_suffix('|')) else {
                headings = None;
                continue;
            };
            let cells = split_cells(text);
            match &headings {
                None => headings = Some(cells),
                Some(_) if cells.iter().all(|cell| cell.chars().all(|c| c == '-' || c == ':')) => {}
                Some(headings) => {
                    assert_eq!(
                        cells.len(),
                        headings.len(),
                        "{}:{line}: a row must have the cells of its heading",
                        self.path
                    );
                    rows.push(Row { line, cells: headings.iter().copied().zip(cells).collect() });
                }
            }
        }
        rows
    }
}

/// Returns the inline code of a text.
pub fn inline_code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Splits a row at `|`, except at an escaped `\|`.
fn split_cells(row: &str) -> Vec<&str> {
    let mut cells = Vec::new();
    let mut start = 0;
    for (at, _) in row.match_indices('|') {
        if at == 0 || row.as_bytes().get(at - 1) != Some(&b'\\') {
            cells.push(row[start..at].trim());
            start = at + 1;
        }
    }
    cells.push(row[start..].trim());
    cells
}
