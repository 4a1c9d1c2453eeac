//! A real Envoy as a child process.

use crate::client::Client;
use crate::process::{Process, tail};
use crate::scratch::replace;
use crate::{Error, Result, wait_for};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns the path of the Envoy binary: the environment variable `ENVOY`, else the binary that `./build.sh`
/// installed into `target/envoy` of the workspace.
///
/// # Errors
/// There is no binary; the message says how to install it.
pub fn available() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { Err(Error(format!("ENVOY: {} is not a file", path.display()))) };
    }
    let workspace = crate::workspace();
    for root in [Path::new("."), workspace] {
        let Ok(pythons) = fs::read_dir(root.join("target/envoy/lib")) else {
            continue;
        };
        for python in pythons.flatten() {
            let path = python.path().join("site-packages/envoy/_bin/envoy");
            if path.is_file() {
                return Ok(path);
            }
        }
    }
    Err("Envoy is not installed; run ./build.sh test, which installs it, or set ENVOY to the path of the binary".into())
}

/// Returns an unused TCP port, a different one at each call. Prefer port 0 and [`Envoy::listener_port`] where the
/// configuration accepts it: no other program can take that port first.
///
/// The port is below the range of ephemeral ports. Otherwise a connection could take the port before the program
/// listens, or while the program restarts.
pub fn free_port() -> Result<u16> {
    const PORTS: Range<u32> = 20_000..32_000;
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Tests in other processes start at other ports.
    let start = std::process::id().wrapping_mul(64);
    PORTS
        .map(|_| start.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)))
        .filter_map(|number| u16::try_from(PORTS.start + number % PORTS.len() as u32).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Error(format!("no port from {} to {} is free", PORTS.start, PORTS.end - 1)))
}

/// A running Envoy. It ends when this value is dropped and when this process ends in any way. If the test is failing,
/// the drop prints the end of the log.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin_port: u16,
    log: PathBuf,
}

impl Envoy {
    /// Starts Envoy with two workers, this bootstrap and its files in `dir`, and waits until Envoy is `LIVE`. The admin
    /// port may be 0.
    pub fn start(bootstrap_yaml: &str, dir: &Path) -> Result<Envoy> {
        Envoy::start_with_workers(bootstrap_yaml, dir, 2)
    }

    /// Starts Envoy as [`Envoy::start`] does, with this number of workers.
    pub fn start_with_workers(bootstrap_yaml: &str, dir: &Path, workers: u32) -> Result<Envoy> {
        let binary = available()?;
        let bootstrap = dir.join("bootstrap.yaml");
        let admin_address = dir.join("admin-address");
        let log = dir.join("envoy.log");
        fs::write(&bootstrap, bootstrap_yaml)?;
        let _ = fs::remove_file(&admin_address);
        let mut command = Command::new(&binary);
        command
            .args(["--disable-hot-restart", "-l", "warning"])
            .args(["--concurrency", &workers.to_string()])
            // Otherwise a line below level critical may be flushed only after 10 s.
            .args(["--file-flush-interval-msec", "50"])
            .arg("--log-path")
            .arg(&log)
            .arg("--admin-address-path")
            .arg(&admin_address)
            .arg("-c")
            .arg(&bootstrap);
        let process = Process::start("Envoy", &mut command, &dir.join("envoy.out"))?;
        let mut envoy = Envoy { process, admin_port: 0, log };
        let started = envoy.wait_until_live(&admin_address);
        match started {
            Ok(()) => Ok(envoy),
            Err(error) => Err(format!("{error}\n{}{}", tail(&envoy.log()), envoy.process.tail()).into()),
        }
    }

    fn wait_until_live(&mut self, admin_address: &Path) -> Result<()> {
        self.admin_port = wait_for("Envoy to tell its admin address", || {
            self.check_running()?;
            let address = fs::read_to_string(admin_address).unwrap_or_default();
            Ok(address.rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok()))
        })?;
        wait_for("Envoy to be LIVE", || {
            self.check_running()?;
            Ok(self.admin("/ready").ok().filter(|state| state.trim() == "LIVE").map(|_| ()))
        })
    }

    /// Checks that the process has not ended.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.check_running()
    }

    /// Returns the process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the port of the admin interface.
    #[must_use]
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Returns the body of a page of the admin interface.
    ///
    /// # Errors
    /// Any status but 200.
    pub fn admin(&self, path: &str) -> Result<String> {
        let answer = Client::new(self.admin_port).get("localhost", path, &[])?;
        if answer.status != 200 {
            return Err(format!("admin {path}: {} {}", answer.status, answer.text()).into());
        }
        Ok(answer.text())
    }

    /// Returns the port that a listener with port 0 got.
    pub fn listener_port(&self, name: &str) -> Result<u16> {
        let listeners = self.admin("/listeners")?;
        listeners
            .lines()
            .filter_map(|line| line.split_once("::"))
            .find(|(listener, _)| *listener == name)
            .and_then(|(_, address)| address.rsplit_once(':')?.1.trim().parse().ok())
            .ok_or_else(|| Error(format!("no listener {name} among:\n{listeners}")))
    }

    /// Returns the value of this counter or gauge, if it exists.
    pub fn find_stat(&self, name: &str) -> Result<Option<u64>> {
        let stats = self.admin("/stats")?;
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value
            .map(|value| value.trim().parse().map_err(|_| Error(format!("{name}: {value} is not a number"))))
            .transpose()
    }

    /// Returns the value of this counter or gauge.
    ///
    /// # Errors
    /// Envoy has no stat of this name: a missing stat is not 0.
    pub fn stat(&self, name: &str) -> Result<u64> {
        self.find_stat(name)?.ok_or_else(|| Error(format!("Envoy has no stat {name}")))
    }

    /// Waits until the value of this stat is accepted, and returns the value. A missing stat counts as 0.
    pub fn wait_for_stat(&self, name: &str, accepts: impl Fn(u64) -> bool) -> Result<u64> {
        let mut last = 0;
        wait_for(name, || {
            last = self.find_stat(name)?.unwrap_or(0);
            Ok(accepts(last).then_some(last))
        })
        .map_err(|error| Error(format!("{error}; the value is {last}\n{}", tail(&self.log()))))
    }

    /// Returns a counter of the extension configuration, e.g. `update_success` or `update_rejected`.
    pub fn extension_stat(&self, counter: &str) -> Result<u64> {
        let [value] = self.extension_stats([counter])?;
        Ok(value)
    }

    /// Reads these counters in one request. Each is the sum over all extensions.
    fn extension_stats<const N: usize>(&self, counters: [&str; N]) -> Result<[u64; N]> {
        let stats = self.admin("/stats?filter=%5Eextension_config_discovery%5C.")?;
        let mut found = [None; N];
        for (name, value) in stats.lines().filter_map(|line| line.rsplit_once(": ")) {
            let place = counters.iter().position(|counter| name.rsplit('.').next() == Some(counter));
            if let (Some(place), Ok(value)) = (place, value.trim().parse::<u64>()) {
                found[place] = Some(found[place].unwrap_or(0) + value);
            }
        }
        match counters.iter().zip(found).find(|(_, value)| value.is_none()) {
            Some((counter, _)) => Err(format!("Envoy has no stat extension_config_discovery.….{counter}").into()),
            None => Ok(found.map(Option::unwrap_or_default)),
        }
    }

    /// Replaces the watched extension configuration, and waits until Envoy has applied it. An unchanged configuration
    /// is not written.
    ///
    /// # Errors
    /// Envoy rejects the configuration.
    pub fn replace_extension(&self, path: &Path, ecds: &str) -> Result<()> {
        if fs::read_to_string(path).is_ok_and(|text| text == ecds) {
            return Ok(());
        }
        let before = self.extension_updates()?;
        replace(path, ecds)?;
        self.wait_for_extension(before)
    }

    /// Returns the number of extension configurations that Envoy accepted, passed to its workers, and rejected. Envoy
    /// also counts some rejected ones as passed on, so all three are needed.
    pub fn extension_updates(&self) -> Result<[u64; 3]> {
        self.extension_stats(["update_success", "config_reload", "update_rejected"])
    }

    /// Waits until Envoy has applied an extension configuration after the counters had these values.
    pub fn wait_for_extension(&self, before: [u64; 3]) -> Result<()> {
        wait_for("Envoy to take the configuration", || {
            let [taken, handed_on, refused] = self.extension_updates()?;
            if refused > before[2] {
                return Err("Envoy refused the configuration".into());
            }
            Ok((taken > before[0] && handed_on > before[1]).then_some(()))
        })
        .map_err(|error| Error(format!("{error}\n{}", tail(&self.log()))))
    }

    /// Returns the signs that a VM failed: Envoy's counters of reloads that are not 0, and lines of the log about traps.
    ///
    /// # Errors
    /// Envoy has no such counters.
    pub fn vm_failures(&self) -> Result<Vec<String>> {
        let stats = self.admin("/stats?filter=%5Ewasm%5C..*%5C.vm_reload")?;
        if !stats.contains(".vm_reload_failure: ") {
            return Err(format!("Envoy has no counters of reloaded VMs:\n{stats}").into());
        }
        let counters = stats.lines().filter(|line| !line.ends_with(": 0")).map(str::to_owned);
        let log = self.log();
        let traps = log.lines().filter(|line| line.contains("Uncaught")).map(str::to_owned);
        Ok(counters.chain(traps).collect())
    }

    /// Returns the resident memory of the process, Wasm memories included; `None` outside Linux.
    #[must_use]
    pub fn memory_resident(&self) -> Option<u64> {
        self.process.memory_resident()
    }

    /// Returns the resident bytes of the linear memories of all VMs; see [`Process::wasm_memory_resident`].
    #[must_use]
    pub fn wasm_memory_resident(&self) -> Option<u64> {
        self.process.wasm_memory_resident()
    }

    /// Returns the bytes of the largest linear memory of a VM; see [`Process::largest_wasm_memory`].
    #[must_use]
    pub fn largest_wasm_memory(&self) -> Option<u64> {
        self.process.largest_wasm_memory()
    }

    /// Returns the number of bytes that Envoy's allocator has allocated.
    pub fn memory_allocated(&self) -> Result<u64> {
        let memory = self.admin("/memory")?;
        let memory: serde_json::Value =
            serde_json::from_str(&memory).map_err(|error| Error(format!("/memory: {error}")))?;
        let allocated = memory["allocated"].as_str().and_then(|bytes| bytes.parse().ok());
        allocated.ok_or_else(|| Error(format!("/memory: no field `allocated`: {memory}")))
    }

    /// Returns the log so far, from level warning up.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Waits for a line of the log that contains this text, and returns the line.
    pub fn wait_for_log(&self, text: &str) -> Result<String> {
        wait_for(&format!("the log to say {text:?}"), || {
            Ok(self.log().lines().find(|line| line.contains(text)).map(str::to_owned))
        })
        .map_err(|error| Error(format!("{error}\n{}", tail(&self.log()))))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Envoy's log ends:\n{}", tail(&self.log()));
        }
    }
}
