//! A temporary directory in which the command runs.

use super::Ran;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A directory with files. Removed when dropped.
pub struct Files(TempDir);

impl Files {
    /// Creates a directory with these files; a name may contain directories.
    pub fn new<C: AsRef<[u8]>>(files: &[(&str, C)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Self(directory)
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Returns the command `traffic-split` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_traffic-split"));
        command.args(arguments).current_dir(self.directory());
        command
    }

    /// Runs `traffic-split` with an empty standard input.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::with_input(&mut self.command(arguments), "")
    }
}
