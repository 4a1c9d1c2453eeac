//! Child processes.

use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running program. It ends when this value is dropped and when this process ends in any way. If the test is
/// failing, the drop prints the end of the log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    guard: Guard,
    log: PathBuf,
}

/// The linear memory of a WebAssembly VM, in bytes.
#[derive(Clone, Copy, Debug)]
struct WasmMemory {
    size: u64,
    resident: u64,
}

/// A shell that ends the program when this process is killed. The shell waits on a pipe that only this process can
/// write to.
#[derive(Debug)]
struct Guard(Child);

// === impl Process ===

impl Process {
    /// Starts a program and writes its output to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
        let output = fs::File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let guard = Guard::of(&child).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Process { name: name.to_owned(), child, guard, log: log.to_owned() })
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Checks that the process has not ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                self.guard.dismiss();
                Err(format!("{} has ended: {status}\n{}", self.name, self.tail()).into())
            }
        }
    }

    /// Returns the resident memory; `None` outside Linux.
    #[must_use]
    pub fn memory_resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    }

    /// Returns the resident bytes of the linear memories of its WebAssembly VMs; `None` where Linux cannot tell.
    ///
    /// Other figures include Envoy's own heap, which varies by tens of MB.
    #[must_use]
    pub fn wasm_memory_resident(&self) -> Option<u64> {
        Some(self.wasm_memories()?.iter().map(|memory| memory.resident).sum())
    }

    /// Returns the bytes of the largest linear memory of its WebAssembly VMs, paged out or not; `None` where Linux cannot
    /// tell.
    #[must_use]
    pub fn largest_wasm_memory(&self) -> Option<u64> {
        self.wasm_memories()?.iter().map(|memory| memory.size).max()
    }

    /// Returns the linear memories. V8 reserves several GiB of address space behind each one, so that no access needs a
    /// bounds check. That reservation identifies the mapping.
    fn wasm_memories(&self) -> Option<Vec<WasmMemory>> {
        const MIN_RESERVATION: u64 = 1 << 32;
        let mappings = fs::read_to_string(format!("/proc/{}/smaps", self.id())).ok()?;
        let mut memories = Vec::new();
        // The writable mapping before the current line, and its end.
        let (mut previous, mut previous_end) = (WasmMemory { size: 0, resident: 0 }, 0);
        for line in mappings.lines() {
            let mut fields = line.split_whitespace();
            let (first, second) = (fields.next()?, fields.next());
            if first == "Rss:" {
                previous.resident = second?.parse::<u64>().ok()? * 1024;
            } else if let Some((start, end)) = first.split_once('-') {
                let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
                if second == Some("---p") && start == previous_end && end - start > MIN_RESERVATION {
                    memories.push(previous);
                }
                previous = WasmMemory { size: end - start, resident: 0 };
                previous_end = if second == Some("rw-p") { end } else { 0 };
            }
        }
        Some(memories)
    }

    /// Returns the output so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Returns the last lines of the output.
    #[must_use]
    pub fn tail(&self) -> String {
        tail(&self.log())
    }

    /// Sends a signal, e.g. `STOP`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let killed = Command::new("kill").args(["-s", name]).arg(self.id().to_string()).status()?;
        if killed.success() { Ok(()) } else { Err(Error(format!("kill -s {name} {}: {killed}", self.id()))) }
    }

    /// Sends SIGTERM and waits until the process has ended.
    pub fn terminate(mut self) -> Result<()> {
        self.signal("TERM")?;
        crate::wait_for(&format!("{} to end", self.name), || Ok(self.child.try_wait()?))?;
        self.guard.dismiss();
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of {} ends:\n{}", self.name, self.tail());
        }
        self.guard.dismiss();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].iter().map(|line| format!("{line}\n")).collect()
}

// === impl Guard ===

impl Guard {
    fn of(process: &Child) -> Result<Guard> {
        let script = r#"trap "" HUP INT TERM; read -r _; kill -9 "$1""#;
        let shell = Command::new("sh")
            .args(["-c", script, "sh", &process.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        Ok(Guard(shell))
    }

    /// Disarm the shell: the process has ended, or its parent ends it.
    fn dismiss(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
