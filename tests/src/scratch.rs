//! Temporary directories, and file replacement that Envoy notices.

use crate::Result;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A new temporary directory. The drop removes it, unless the test is failing: then the logs in it are kept.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Creates the directory.
    pub fn new() -> Result<Scratch> {
        let directory = tempfile::Builder::new().prefix("traffic-split-").tempdir()?;
        Ok(Scratch(directory))
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of `name` in the directory.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!("the configuration and the logs are in {}", self.path().display());
        }
    }
}

/// Replaces a file atomically by renaming. Readers see the old text or the new text, and Envoy's `watched_directory`
/// reports the change.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)?;
    Ok(())
}
