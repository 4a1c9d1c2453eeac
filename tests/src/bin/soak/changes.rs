//! The changes of the configuration: splits with other weights, more and fewer splits, and broken configurations.

use e2e::client::Client;
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::ROOT;
use e2e::{Result, wait_for};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The time from one change to the next: 500 changes a minute.
const INTERVAL: Duration = Duration::from_millis(120);
/// One change of this number is broken.
const BROKEN: u64 = 10;
/// The largest number of splits that no request reaches.
const MAX_OTHER_SPLITS: usize = 50;
/// The number of requests after each change that must reach its backend.
const REQUESTS: u64 = 3;

/// The authority of the root whose weights never change.
pub const STABLE_ROOT: &str = "stable.httpbin:14001";
/// The share of that root's requests for its backend `httpbin-v1`.
pub const STABLE_SHARE: f64 = 0.75;

/// A real Envoy whose configuration changes.
#[derive(Debug)]
pub struct Changes {
    guide: Guide,
    sidecar: Sidecar,
    random: fastrand::Rng,
    count: u64,
    next: Instant,
    applied: Applied,
    outcome: Outcome,
}

/// The configuration that Envoy accepted last.
#[derive(Debug)]
struct Applied {
    ecds: String,
    /// The deployment that serves the guide's root.
    served_by: &'static str,
}

/// The result of the changes since the last call of [`Changes::take`].
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Changes that Envoy accepted.
    pub accepted: u64,
    /// Broken changes that Envoy refused.
    pub refused: u64,
    /// Valid changes that Envoy refused, and broken ones that it accepted.
    pub wrong: u64,
    /// Requests to the guide's root after changes.
    pub requests: u64,
    /// Those without status 200.
    pub failed: u64,
    /// Those that another deployment served than the change selects.
    pub misrouted: u64,
    /// The first few errors.
    pub errors: Vec<String>,
}

/// What Envoy uses.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes of the largest linear memory of a VM.
    pub guest: u64,
    /// Bytes that Envoy has allocated.
    pub allocated: u64,
    /// Resident bytes of the process.
    pub process: u64,
    /// The number of VMs.
    pub vms: u64,
}

// === impl Changes ===

impl Changes {
    /// Starts Envoy and the pods.
    pub fn start() -> Result<Changes> {
        let guide = Guide::built()?;
        // The split of the stable root always decides, so no request reaches this address.
        let unreachable = ([127, 0, 0, 1], 9).into();
        let first = objects(Some("httpbin-v1"), &[]);
        let sidecar = Sidecar::start_with(&guide, &first, &[("stable.httpbin", unreachable)])?;
        let applied = Applied { ecds: String::new(), served_by: "httpbin-v1" };
        let mut changes = Changes {
            guide,
            sidecar,
            random: fastrand::Rng::with_seed(14),
            count: 0,
            next: Instant::now(),
            applied,
            outcome: Outcome::default(),
        };
        changes.change()?;
        changes.outcome = Outcome::default();
        Ok(changes)
    }

    /// Returns the port of Envoy's listener.
    pub fn port(&self) -> u16 {
        self.sidecar.port
    }

    /// Changes the configuration every [`INTERVAL`] until `end`. After a late change, the next ones follow at once.
    pub fn run_until(&mut self, end: Instant) -> Result<()> {
        self.next = self.next.max(Instant::now().checked_sub(INTERVAL).unwrap_or(self.next));
        while self.next.max(Instant::now()) < end {
            std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
            self.next += INTERVAL;
            self.count += 1;
            if self.count.is_multiple_of(BROKEN) {
                self.broken_change()?
            } else {
                self.change()?
            }
            self.check_requests()?;
        }
        Ok(())
    }

    /// Returns the outcome since the last call.
    pub fn take(&mut self) -> Outcome {
        std::mem::take(&mut self.outcome)
    }

    /// Returns the memory that Envoy uses now.
    pub fn memory(&self) -> Result<Memory> {
        let envoy = &self.sidecar.envoy;
        Ok(Memory {
            guest: envoy.largest_wasm_memory().unwrap_or(0),
            allocated: envoy.memory_allocated()?,
            process: envoy.memory_resident().unwrap_or(0),
            vms: envoy.stat("wasm.envoy.wasm.runtime.v8.active")?,
        })
    }

    /// Applies other splits. The guide's root gets one backend, or loses its split.
    fn change(&mut self) -> Result<()> {
        let backend = self.random.choice([Some("httpbin-v1"), Some("httpbin-v2"), None]).flatten();
        let others: Vec<u32> =
            (0..self.random.usize(..=MAX_OTHER_SPLITS)).map(|_| self.random.u32(1..1_000_000)).collect();
        let path = self.sidecar.scratch.join("objects.yaml");
        std::fs::write(&path, objects(backend, &others))?;
        let ecds = self.guide.ecds(&path)?;
        match self.sidecar.replace(&ecds) {
            Ok(()) => {
                self.applied = Applied { ecds, served_by: backend.unwrap_or("httpbin") };
                self.outcome.accepted += 1;
            }
            Err(error) if error.0.contains("refused") => self.outcome.wrong(error.0),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Applies a configuration that Envoy must refuse.
    fn broken_change(&mut self) -> Result<()> {
        let broken = match self.count / BROKEN % 3 {
            0 => with_configuration(&self.applied.ecds, "{"),
            1 => with_configuration(&self.applied.ecds, r#"{"trafficSplit": []}"#),
            _ => with_configuration(&self.applied.ecds, &format!(r#"{{"cluster": "{{service{}"}}"#, self.count)),
        };
        match self.sidecar.replace(&broken) {
            Ok(()) => self.outcome.wrong(format!("Envoy accepted a broken configuration:\n{broken}")),
            Err(error) if error.0.contains("refused") => self.outcome.refused += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sends requests to the guide's root on a new connection, which belongs to any of Envoy's workers.
    fn check_requests(&mut self) -> Result<()> {
        let mut client = Client::new(self.port());
        let expected = self.applied.served_by;
        // Envoy counts a change before every worker has it.
        wait_for("a worker to serve the change", || {
            let answer = client.get(ROOT, "/json", &[])?;
            Ok((answer.status != 200 || answer.version() == expected).then_some(()))
        })?;
        for _ in 0..REQUESTS {
            self.outcome.requests += 1;
            match client.get(ROOT, "/json", &[]) {
                Ok(answer) if answer.status != 200 => {
                    self.outcome.failed(format!("{} {}", answer.status, answer.text()))
                }
                Ok(answer) if answer.version() != expected => {
                    self.outcome.misrouted += 1;
                    self.outcome.error(format!("{} served a request for {expected}", answer.version()));
                }
                Ok(_) => {}
                Err(error) => self.outcome.failed(error.0),
            }
        }
        Ok(())
    }
}

// === impl Outcome ===

impl Outcome {
    fn wrong(&mut self, error: String) {
        self.wrong += 1;
        self.error(error);
    }

    fn failed(&mut self, error: String) {
        self.failed += 1;
        self.error(error);
    }

    fn error(&mut self, error: String) {
        if self.errors.len() < 5 {
            self.errors.push(error);
        }
    }
}

/// Returns the stable root's Service and split, the guide's split if it has a `backend`, and splits that no request
/// reaches, with these weights.
fn objects(backend: Option<&str>, others: &[u32]) -> String {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stable", "namespace": "httpbin"},
            "spec": {"ports": [{"name": "http", "port": 14001}]}}),
        split("stable", "httpbin", &[("httpbin-v1", 3), ("httpbin-v2", 1)]),
    ];
    objects.extend(backend.map(|backend| split("httpbin", "httpbin", &[(backend, 1)])));
    let others = others.iter().enumerate();
    objects.extend(
        others.map(|(number, weight)| split(&format!("other-{number}"), "soak", &[("v1", *weight), ("v2", 1)])),
    );
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

fn split(root: &str, namespace: &str, backends: &[(&str, u32)]) -> Value {
    let split =
        backends.iter().fold(fixtures::TrafficSplit::new(root, root).namespace(namespace), |split, (name, weight)| {
            split.backend(name, *weight)
        });
    split.build()
}

/// Replaces the plugin configuration in an extension configuration.
fn with_configuration(ecds: &str, configuration: &str) -> String {
    let line = ecds.lines().find(|line| line.trim_start().starts_with("value: ")).unwrap_or_default();
    // A JSON string is a YAML string.
    ecds.replace(line.trim_start(), &format!("value: {}", Value::from(configuration)))
}
