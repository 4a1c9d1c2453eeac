//! Errors, warnings and notes about input files.

use std::fmt;

/// An error, a warning or a note about one file.
///
/// Displayed as `guide.yaml:7:14: TrafficSplit httpbin/http-split: spec.backends[1].weight: -5 is negative; use 0 or more`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The severity. An error refuses the input; a warning does not.
    pub severity: Severity,
    /// The name of the file; empty if the diagnostic concerns no file.
    pub file: String,
    /// The position of the field in the file, or of the closest enclosing object; `None` if unknown.
    pub position: Option<Position>,
    /// The object in the file; empty if the diagnostic concerns the whole file.
    pub object: String,
    /// The path of the field in the object; empty if the diagnostic concerns the whole object.
    pub field: String,
    /// The problem and its remedy.
    pub message: String,
}

/// The severity of a [`Diagnostic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Information that needs no action.
    Note,
    /// A valid setting that is probably a mistake.
    Warning,
    /// The input is refused.
    Error,
}

/// A position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

// === impl Diagnostic ===

impl Diagnostic {
    /// Creates a diagnostic without a position.
    pub fn new(
        severity: Severity,
        file: impl Into<String>,
        object: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let (file, object, field, message) = (file.into(), object.into(), field.into(), message.into());
        Self { severity, file, position: None, object, field, message }
    }

    /// Creates an error without a position.
    pub fn error(
        file: impl Into<String>,
        object: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, file, object, field, message)
    }

    /// Creates a warning without a position.
    pub fn warning(
        file: impl Into<String>,
        object: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, file, object, field, message)
    }

    /// Creates a note without a position.
    pub fn note(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, file, "", "", message)
    }

    /// Sets the position.
    #[must_use]
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(position) = self.position {
            write!(f, ":{position}")?;
        }
        if !self.file.is_empty() {
            f.write_str(": ")?;
        }
        for part in [&self.object, &self.field].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

// === impl Position ===

impl fmt::Display for Position {
    /// `7:14`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

// === impl Severity ===

impl Severity {
    /// Returns `note`, `warning` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Diagnostic, Position};

    #[test]
    fn absent_parts_leave_no_separator() {
        let at = Some(Position { line: 7, column: 14 });
        for (diagnostic, text) in [
            (
                Diagnostic::error("a.yaml", "TrafficSplit n/s", "spec", "is missing").at(at),
                "a.yaml:7:14: TrafficSplit n/s: spec: is missing",
            ),
            (Diagnostic::error("a.yaml", "", "", "is empty"), "a.yaml: is empty"),
            (Diagnostic::warning("", "", "spec", "is missing"), "spec: is missing"),
        ] {
            assert_eq!(diagnostic.to_string(), text);
        }
    }
}
