//! A temporary directory in which the command `host-sim` runs.

use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A directory with files. Removed when dropped.
pub struct Directory(TempDir);

impl Directory {
    /// Creates an empty directory.
    pub fn new() -> Directory {
        Directory(tempfile::tempdir().expect("a directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file.
    #[must_use]
    pub fn with(self, name: &str, content: impl AsRef<[u8]>) -> Directory {
        std::fs::write(self.path().join(name), content).expect("a file");
        self
    }

    /// Compiles WebAssembly text and writes the module.
    #[must_use]
    pub fn with_module(self, name: &str, text: &str) -> Directory {
        self.with(name, wat::parse_str(text).expect("valid WebAssembly text"))
    }

    /// Runs a subcommand of `host-sim` in this directory. Returns the exit code, standard output and standard error.
    pub fn run(&self, subcommand: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-sim"));
        let Output { status, stdout, stderr } =
            command.current_dir(self.path()).arg(subcommand).args(arguments).output().expect("the command");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status.code(), text(stdout), text(stderr))
    }
}
