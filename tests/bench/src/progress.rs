//! Progress on a terminal.

use std::io::{IsTerminal, Write, stderr};

/// A line with the number of finished rounds. Without a terminal, only the first line is written.
pub(crate) struct Progress {
    what: &'static str,
    rounds: u32,
}

// === impl Progress ===

impl Progress {
    /// Writes what is done now.
    pub(crate) fn new(what: &'static str, rounds: u32) -> Progress {
        eprintln!("{what}: {rounds} rounds");
        Progress { what, rounds }
    }

    /// Shows that this many rounds are finished.
    pub(crate) fn show(&mut self, round: u32) {
        let mut output = stderr();
        if output.is_terminal() {
            let end = if round == self.rounds { "\r\x1b[K" } else { "" };
            // A terminal that is closed does not stop the measurement.
            let _ = write!(output, "\r{}: {round} of {}{end}", self.what, self.rounds);
            let _ = output.flush();
        }
    }
}
