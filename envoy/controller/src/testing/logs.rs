//! The log lines of a test.

use std::io;
use std::sync::{Arc, Mutex};
use tracing::subscriber::{DefaultGuard, set_default};

/// Collects the log lines of this thread until dropped.
pub(crate) struct Logs {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub(crate) fn collect() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        Self { lines, _guard: set_default(subscriber) }
    }

    /// Returns the lines that contain a text.
    pub(crate) fn with(&self, text: &str) -> Vec<String> {
        let lines = self.lines.0.lock().unwrap();
        String::from_utf8_lossy(&lines).lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
