//! A limit of real time, for what fuel does not measure: compilation and the work of host functions.

use crate::terminal::write_lines;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Ends the process when watched work takes too long. A thread waits for that.
pub(crate) struct Watchdog(Arc<Watched>);

struct Watched {
    timeout: Duration,
    /// The work that runs now, and when it began.
    work: Mutex<Option<(String, Instant)>>,
    begins: Condvar,
}

// === impl Watchdog ===

impl Watchdog {
    pub(crate) fn start(timeout: Duration) -> Watchdog {
        let watched = Arc::new(Watched { timeout, work: Mutex::new(None), begins: Condvar::new() });
        let watching = Arc::clone(&watched);
        std::thread::spawn(move || watching.wait());
        Watchdog(watched)
    }

    /// Does the work; `name` is the subject of the error if it takes too long.
    pub(crate) fn watch<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        self.0.set(Some((name.to_owned(), Instant::now())));
        self.0.begins.notify_one();
        let done = work();
        self.0.set(None);
        done
    }
}

// === impl Watched ===

impl Watched {
    fn set(&self, work: Option<(String, Instant)>) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = work;
    }

    fn wait(&self) -> ! {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Idle, it waits for work; else until the work's time is over, when other work may have begun.
            let rest = match &*work {
                Some((_, began)) => self.timeout.saturating_sub(began.elapsed()),
                None => self.timeout,
            };
            if let (Some((name, _)), true) = (&*work, rest.is_zero()) {
                let seconds = self.timeout.as_secs();
                let error = format!("error: {name}: time limit of {seconds} s exceeded; raise it with `--timeout`");
                _ = write_lines(&mut io::stderr().lock(), [error]);
                std::process::exit(1);
            }
            work = self.begins.wait_timeout(work, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
