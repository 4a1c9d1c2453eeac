//! The file and the position of an object.

use crate::diagnostic::{Diagnostic, Severity};
use crate::source_map::SourceMap;
use std::rc::Rc;

/// The file and the position of an object of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The name of the file.
    pub(crate) file: String,
    /// Kind and name of the object.
    pub(crate) object: String,
    /// The positions of the object's fields.
    pub(crate) source: Rc<SourceMap>,
}

// === impl Origin ===

impl Origin {
    /// Creates a diagnostic with the position of a field of the object.
    pub(crate) fn diagnostic(&self, severity: Severity, field: &str, message: impl Into<String>) -> Diagnostic {
        let position = self.source.position(field);
        Diagnostic::new(severity, self.file.as_str(), self.object.as_str(), field, message).at(Some(position))
    }
}
