//! The option `--watch`: renders again when an input file changes.
//!
//! The program reads the files twice a second instead of watching them with inotify. It thus also notices the symbolic links that
//! Kubernetes swaps in a mounted ConfigMap, files that editors replace by rename, and files on network file systems, which send no
//! events. Reading is cheap, because TrafficSplits are small.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The time between two reads of the files.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The time for which the files must be unchanged, so that no partly written file is rendered.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Reports SIGINT, SIGTERM and SIGHUP.
pub(super) struct Shutdown(Receiver<()>);

/// Calls `write` with the content of the files, and again whenever the content changes, until a signal ends the program. `write`
/// returns whether the write succeeded. After a failed write, `write` is called again with the same content.
pub(super) fn watch<F: PartialEq>(shutdown: &Shutdown, read: impl Fn() -> F, mut write: impl FnMut(&F) -> bool) {
    let mut written: Option<F> = None;
    loop {
        let files = read();
        if written.as_ref() != Some(&files) {
            if shutdown.arrives_within(DEBOUNCE) {
                return;
            }
            if read() != files {
                continue;
            }
            if write(&files) {
                written = Some(files);
            }
        }
        if shutdown.arrives_within(POLL_INTERVAL) {
            return;
        }
    }
}

// === impl Shutdown ===

impl Shutdown {
    /// Replaces the default reaction to the signals, which would end the program with an error.
    ///
    /// # Errors
    /// If the handler cannot be installed: the message.
    pub(super) fn install() -> Result<Self, String> {
        let (sender, receiver) = channel();
        ctrlc::set_handler(move || {
            // The receiver lives until the program ends.
            let _ = sender.send(());
        })
        .map_err(|why| format!("signals cannot be handled: {why}"))?;
        Ok(Self(receiver))
    }

    fn arrives_within(&self, time: Duration) -> bool {
        !matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::{Shutdown, watch};
    use std::cell::{Cell, RefCell};
    use std::sync::mpsc::channel;

    /// Runs `watch` on these contents, one for each read, and returns what was written. `fails` lists contents whose first write fails.
    fn written(contents: &[&'static str], fails: &[&str]) -> Vec<&'static str> {
        let (sender, receiver) = channel();
        let (reads, written) = (Cell::new(0), RefCell::new(Vec::new()));
        let read = || {
            let number = reads.replace(reads.get() + 1);
            if number + 1 == contents.len() {
                sender.send(()).unwrap();
            }
            contents[number.min(contents.len() - 1)]
        };
        watch(&Shutdown(receiver), read, |content| {
            let again = written.borrow().contains(content);
            written.borrow_mut().push(*content);
            again || !fails.contains(content)
        });
        written.into_inner()
    }

    #[test]
    fn only_changed_and_settled_content_is_written() {
        // The first content is read twice; the last read ends the loop.
        assert_eq!(written(&["a", "a", "a", "a"], &[]), ["a"]);
        assert_eq!(written(&["a", "a", "b", "b", "b"], &[]), ["a", "b"]);
        // A file that is being written.
        assert_eq!(written(&["a", "a", "b1", "b2", "b3", "b3", "b3"], &[]), ["a", "b3"]);
    }

    #[test]
    fn failed_write_is_repeated_although_nothing_changed() {
        assert_eq!(written(&["a", "a", "a", "a", "a"], &["a"]), ["a", "a"]);
    }
}
