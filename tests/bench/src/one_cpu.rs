//! Keeps Envoy and the client on one CPU while CPU time is measured. A request then takes the same steps each time: no
//! thread moves to another CPU with a cold cache, and none shares a core with the other.

use e2e::Result;

/// The threads run on one CPU until this value is dropped.
pub(crate) struct OneCpu {
    #[cfg(target_os = "linux")]
    process: u32,
    #[cfg(target_os = "linux")]
    allowed: rustix::thread::CpuSet,
}

// === impl OneCpu ===

#[cfg(target_os = "linux")]
impl OneCpu {
    /// Moves the current thread and all threads of a process to the last CPU that the current thread may use.
    pub(crate) fn occupy(process: u32) -> Result<OneCpu> {
        use e2e::Error;
        use rustix::thread::{CpuSet, sched_getaffinity};

        let allowed = sched_getaffinity(None).map_err(|error| Error(format!("sched_getaffinity: {error}")))?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).ok_or("no CPU is allowed")?;
        let mut one = CpuSet::new();
        one.set(last);
        let guard = OneCpu { process, allowed };
        guard.allow(&one)?;
        Ok(guard)
    }

    fn allow(&self, cpus: &rustix::thread::CpuSet) -> Result<()> {
        use e2e::Error;
        use rustix::io::Errno;
        use rustix::thread::{Pid, sched_setaffinity};

        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process))?;
        let ids = tasks.flatten().filter_map(|task| Pid::from_raw(task.file_name().to_str()?.parse().ok()?));
        for id in [None].into_iter().chain(ids.map(Some)) {
            match sched_setaffinity(id, cpus) {
                // The thread has ended since its directory was listed.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(Error(format!("sched_setaffinity: {error}"))),
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
impl Drop for OneCpu {
    fn drop(&mut self) {
        // Envoy may have ended.
        let _ = self.allow(&self.allowed);
    }
}

#[cfg(not(target_os = "linux"))]
impl OneCpu {
    /// Fails: only Linux can do this.
    pub(crate) fn occupy(_process: u32) -> Result<OneCpu> {
        Err("the benchmark requires Linux".into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::OneCpu;
    use rustix::thread::sched_getaffinity;

    #[test]
    fn threads_return_to_all_cpus() {
        let before = sched_getaffinity(None).unwrap();
        let guard = OneCpu::occupy(std::process::id()).unwrap();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        drop(guard);
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count());
    }
}
