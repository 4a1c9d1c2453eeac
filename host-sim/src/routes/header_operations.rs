//! The headers that a route removes and adds, and the format of added values.

use super::request_headers::{first, has_line_break, values};
use crate::http::headers::Headers;

/// What adding a header does when one of that name exists (`HeaderAppendAction`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// Appends the header. Envoy's default.
    #[default]
    AppendIfExistsOrAdd,
    /// Adds the header only if none exists.
    AddIfAbsent,
    /// Replaces all headers of that name, or adds one.
    OverwriteIfExistsOrAdd,
    /// Replaces all headers of that name; adds none.
    OverwriteIfExists,
}

/// The headers that a route removes and adds.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderOperations {
    remove: Vec<String>,
    add: Vec<Addition>,
}

#[derive(Clone, Debug)]
struct Addition {
    name: String,
    format: Vec<Piece>,
    action: AppendAction,
}

/// A part of a value's format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `%REQ(name?alternative):size%`
    Request {
        name: String,
        alternative: Option<String>,
        size: Option<usize>,
    },
}

// === impl HeaderOperations ===

impl HeaderOperations {
    /// Adds a header to remove. Returns why Envoy rejects it, if it does.
    pub(super) fn remove_header(&mut self, name: String) -> Option<String> {
        let problem = name_problem(&name);
        self.remove.push(name);
        problem
    }

    /// Adds a header to add. Returns the problems for which Envoy rejects it.
    pub(super) fn add_header(&mut self, name: String, value: &str, action: AppendAction) -> Vec<String> {
        let mut problems = Vec::from_iter(name_problem(&name));
        if has_line_break(value) {
            problems.push(format!("header {name}: the value {value:?} contains a line break or NUL"));
        }
        match parse(value) {
            Ok(format) => self.add.push(Addition { name, format, action }),
            Err(why) => problems.push(format!("header {name}: {why}")),
        }
        problems
    }

    /// Removes headers.
    pub(super) fn remove(&self, headers: &mut Headers) {
        self.remove.iter().for_each(|name| headers.remove(name.as_bytes()));
    }

    /// Adds headers: computes all values, then replaces headers, then appends headers.
    pub(super) fn add(&self, headers: &mut Headers, request: &Headers) {
        let mut overwrites = Vec::new();
        let mut adds = Vec::new();
        for Addition { name, format, action } in &self.add {
            let value: Vec<u8> = format.iter().flat_map(|piece| piece.value(request).iter().copied()).collect();
            if value.is_empty() {
                continue;
            }
            let exists = !values(headers, name).is_empty();
            match action {
                AppendAction::AppendIfExistsOrAdd => adds.push((name, value)),
                AppendAction::AddIfAbsent if !exists => adds.push((name, value)),
                AppendAction::OverwriteIfExistsOrAdd => overwrites.push((name, value)),
                AppendAction::OverwriteIfExists if exists => overwrites.push((name, value)),
                _ => {}
            }
        }
        overwrites.into_iter().for_each(|(name, value)| headers.replace(name.as_bytes(), value));
        adds.into_iter().for_each(|(name, value)| headers.add(name.as_bytes(), value));
    }
}

// === impl Piece ===

impl Piece {
    fn value<'v>(&'v self, request: &'v Headers) -> &'v [u8] {
        match self {
            Piece::Text(text) => text.as_bytes(),
            Piece::Request { name, alternative, size } => {
                let other = || alternative.as_ref().and_then(|name| first(request, name));
                let value = first(request, name).or_else(other).unwrap_or_default();
                &value[..size.unwrap_or(value.len()).min(value.len())]
            }
        }
    }
}

/// Parses the format of a value as Envoy's substitution formatter does.
fn parse(value: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        text += before;
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let (piece, after) = command(after).ok_or_else(|| {
            format!("the value {value} contains an unknown command; use %REQ(name)%, %REQ(name?other)%, %REQ(name):SIZE% or %%")
        })?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
        rest = after;
    }
    text += rest;
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// Parses the command after a `%`. Returns the rest of the text too.
fn command(text: &str) -> Option<(Piece, &str)> {
    let (names, rest) = text.strip_prefix("REQ(")?.split_once(')')?;
    let (size, rest) = rest.split_once('%')?;
    let size = match size.strip_prefix(':') {
        Some(size) if size.bytes().all(|byte| byte.is_ascii_digit()) => Some(size.parse().ok()?),
        None if size.is_empty() => None,
        _ => return None,
    };
    let mut names = names.split('?');
    let (name, alternative) = (names.next()?, names.next());
    // Envoy accepts at most one alternative.
    if (name.is_empty() && alternative.is_none()) || names.next().is_some() {
        return None;
    }
    Some((Piece::Request { name: name.to_owned(), alternative: alternative.map(str::to_owned), size }, rest))
}

/// Returns why Envoy rejects an operation on this header, if it does.
fn name_problem(name: &str) -> Option<String> {
    match name {
        "" => Some("the header name is empty".to_owned()),
        name if name.starts_with(':') || name.eq_ignore_ascii_case("host") => {
            Some(format!("header {name}: a route cannot add or remove it"))
        }
        name if has_line_break(name) => Some(format!("the header name {name:?} contains a line break or NUL")),
        _ => None,
    }
}
