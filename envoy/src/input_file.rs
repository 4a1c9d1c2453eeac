//! Input files and the documents in them.

use crate::foreign_format;
use crate::yaml::{self, LocatedValue, SyntaxError};

/// A file of Kubernetes objects, or of a plugin configuration, with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// The name of the file in messages: one line.
    pub name: String,
    /// The content, or why the file cannot be read.
    pub content: Result<Vec<u8>, String>,
}

// === impl InputFile ===

impl InputFile {
    /// Parses all documents of the file; none if the file is empty or has only comments.
    ///
    /// # Errors
    /// If the file cannot be read, has another format than YAML or JSON, or is invalid.
    pub(crate) fn documents(&self) -> Result<Vec<LocatedValue>, SyntaxError> {
        let whole = |message: String| SyntaxError { position: None, message };
        let content = self.content.as_ref().map_err(|why| whole(why.clone()))?;
        if let Some(message) = foreign_format::of_content(content) {
            return Err(whole(message.into()));
        }
        yaml::read(content).map_err(|error| match foreign_format::of_invalid_text(content) {
            Some((position, message)) => SyntaxError { position: Some(position), message: message.into() },
            None => error,
        })
    }
}
