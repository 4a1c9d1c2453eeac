//! The CPU time of a process.

use e2e::{Error, Result};
use std::fs;
use std::time::Duration;

/// Returns the CPU time that all threads of a process have used. Linux counts it in nanoseconds.
///
/// # Errors
/// The system has no `/proc/PID/task/TID/schedstat`.
pub(crate) fn time(process_id: u32) -> Result<Duration> {
    let directory = format!("/proc/{process_id}/task");
    let tasks = fs::read_dir(&directory)
        .map_err(|error| Error(format!("{directory}: {error}; the benchmark requires Linux")))?;
    let mut nanoseconds = 0;
    for task in tasks.flatten() {
        let path = task.path().join("schedstat");
        // A thread may end between the two calls.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        nanoseconds += on_cpu(&text).ok_or_else(|| Error(format!("{}: no number in {text:?}", path.display())))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Returns the first field of `schedstat`: nanoseconds on a CPU.
fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{on_cpu, time};
    use std::time::{Duration, Instant};

    #[test]
    fn first_field_is_the_time_on_a_cpu() {
        assert_eq!(on_cpu("1234567 89 12\n"), Some(1_234_567));
        assert_eq!(on_cpu(""), None);
    }

    #[test]
    fn busy_process_uses_cpu_time() {
        let before = time(std::process::id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while time(std::process::id()).unwrap() - before < Duration::from_millis(20) {
            assert!(Instant::now() < deadline, "20 ms of CPU time in 10 s");
        }
    }
}
