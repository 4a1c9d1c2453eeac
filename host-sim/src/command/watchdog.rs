//! A limit of real time. Fuel does not measure compilation and the work of host functions.

use crate::terminal::write_lines;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Ends the process when watched work takes too long. A thread of its own measures the time.
pub(crate) struct Watchdog(Arc<Watched>);

struct Watched {
    timeout: Duration,
    /// The name of the running work, and the time of its start.
    work: Mutex<Option<(String, Instant)>>,
    started: Condvar,
}

// === impl Watchdog ===

impl Watchdog {
    /// Starts the thread.
    pub(crate) fn start(timeout: Duration) -> Watchdog {
        let watched = Arc::new(Watched { timeout, work: Mutex::new(None), started: Condvar::new() });
        let watching = Arc::clone(&watched);
        std::thread::spawn(move || watching.wait());
        Watchdog(watched)
    }

    /// Does work and returns its result. The error of a timeout names the work.
    pub(crate) fn watch<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        self.0.set(Some((name.to_owned(), Instant::now())));
        self.0.started.notify_one();
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
            // When the wait ends, other work may have started: then its own time counts.
            let rest = match &*work {
                Some((_, started_at)) => self.timeout.saturating_sub(started_at.elapsed()),
                None => self.timeout,
            };
            if let (Some((name, _)), true) = (&*work, rest.is_zero()) {
                let seconds = self.timeout.as_secs();
                let error = format!("error: {name}: time limit of {seconds} s exceeded; raise it with `--timeout`");
                _ = write_lines(&mut io::stderr().lock(), [error]);
                std::process::exit(1);
            }
            work = self.started.wait_timeout(work, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
