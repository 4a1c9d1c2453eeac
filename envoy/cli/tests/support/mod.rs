//! Runs the command and captures its exit code and output.

#[allow(dead_code, reason = "test targets with one file in a directory need only `Ran`")]
pub mod files;

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The exit code and the output of a run.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        let ran = Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }

    /// Runs a command with this text as its standard input.
    pub fn with_input(command: &mut Command, input: &str) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input may close the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Self::new(child.wait_with_output().unwrap())
    }
}
