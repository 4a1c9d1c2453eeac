//! Where an object was read.

use crate::diagnostic::{Diagnostic, Severity};
use crate::source_map::SourceMap;
use std::rc::Rc;

/// Where an object of the configuration was read.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The name of the file.
    pub(crate) file: String,
    /// Kind and name of the object.
    pub(crate) object: String,
    /// The positions of its fields.
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
