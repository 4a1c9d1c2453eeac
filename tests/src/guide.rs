//! The canary guide as a user runs it: the `traffic-split` command renders the guide's objects, Envoy reads the
//! output, and weights change by replacing one file.

use crate::envoy::Envoy;
use crate::httpbin::HttpbinFixture;
use crate::scratch::{Scratch, replace};
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of a user: the command, the filter, and the guide's objects.
#[derive(Clone, Debug)]
pub struct Guide {
    /// The `traffic-split` command.
    pub command: PathBuf,
    /// The filter.
    pub wasm: PathBuf,
    /// The directory of `services.yaml`, `trafficsplit-v1.yaml` and `trafficsplit-50-50.yaml`.
    pub objects: PathBuf,
}

impl Guide {
    /// Returns the files that `./build.sh build` writes to `dist` of the workspace.
    pub fn built() -> Result<Guide> {
        let root = crate::workspace();
        let guide = Guide {
            command: root.join("dist/traffic-split"),
            wasm: root.join("dist/traffic-split.wasm"),
            objects: root.join("envoy/examples/guide"),
        };
        guide.check()?;
        Ok(guide)
    }

    /// Checks that all files exist; the error says how to build them.
    pub fn check(&self) -> Result<()> {
        for part in [&self.command, &self.wasm, &self.objects] {
            if !part.exists() {
                return Err(format!("{} does not exist; run ./build.sh build", part.display()).into());
            }
        }
        Ok(())
    }

    /// Returns the path of the guide's Services.
    #[must_use]
    pub fn services(&self) -> PathBuf {
        self.objects.join("services.yaml")
    }

    /// Returns the path of the guide's TrafficSplit with these weights. If the guide has no such file, writes one to
    /// `scratch` that differs from the guide's only in its weights.
    pub fn traffic_split(&self, scratch: &Scratch, v1: u32, v2: u32) -> Result<PathBuf> {
        let fifty = self.objects.join("trafficsplit-50-50.yaml");
        match (v1, v2) {
            (100, 0) => return Ok(self.objects.join("trafficsplit-v1.yaml")),
            (50, 50) => return Ok(fifty),
            _ => {}
        }
        let text = fs::read_to_string(&fifty).map_err(|error| format!("{}: {error}", fifty.display()))?;
        if text.matches("weight: 50").count() != 2 {
            return Err(format!("{}: expected `weight: 50` twice", fifty.display()).into());
        }
        let text = text.replacen("weight: 50", &format!("weight: {v1}"), 1).replacen(
            "weight: 50",
            &format!("weight: {v2}"),
            1,
        );
        let path = scratch.join(&format!("trafficsplit-{v1}-{v2}.yaml"));
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Returns the output of `traffic-split render TARGET OPTIONS services.yaml TRAFFIC_SPLIT`.
    pub fn render(&self, target: &str, options: &[OsString], traffic_split: &Path) -> Result<String> {
        let output = Command::new(&self.command)
            .args(["render", target])
            .args(options)
            .arg(self.services())
            .arg(traffic_split)
            .output()
            .map_err(|error| format!("{}: {error}", self.command.display()))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("traffic-split render {target}: {}\n{errors}", output.status).into());
        }
        String::from_utf8(output.stdout)
            .map_err(|_| Error(format!("traffic-split render {target}: the output is not UTF-8")))
    }

    /// Returns the extension configuration for this TrafficSplit.
    pub fn ecds(&self, traffic_split: &Path) -> Result<String> {
        let wasm = fs::canonicalize(&self.wasm)?;
        self.render("ecds", &["--wasm".into(), wasm.into()], traffic_split)
    }
}

/// Envoy as the client's sidecar in the canary guide, with the pods behind it.
#[derive(Debug)]
pub struct Sidecar {
    /// The Envoy process.
    pub envoy: Envoy,
    /// The pods behind it.
    pub httpbin: HttpbinFixture,
    /// The directory of its files.
    pub scratch: Scratch,
    /// The port of the listener.
    pub port: u16,
    ecds: PathBuf,
}

impl Sidecar {
    /// Starts the pods and Envoy with the guide's TrafficSplit at these weights, and waits until Envoy has applied
    /// it.
    pub fn start(guide: &Guide, v1: u32, v2: u32) -> Result<Sidecar> {
        let sidecar = Sidecar::start_on(guide, v1, v2, |ecds| ecds)?;
        sidecar.envoy.wait_for_extension([0; 3])?;
        Ok(sidecar)
    }

    /// Starts Envoy with the extension configuration that `alter` returns, and does not wait until Envoy has applied
    /// it.
    pub fn start_on(guide: &Guide, v1: u32, v2: u32, alter: impl FnOnce(String) -> String) -> Result<Sidecar> {
        Sidecar::launch(guide, &[], |scratch| guide.traffic_split(scratch, v1, v2), alter, |bootstrap| bootstrap)
    }

    /// Like [`start`](Self::start), but Envoy runs the filter for all hosts: also for roots that are new since the start.
    pub fn start_on_all_hosts(guide: &Guide, v1: u32, v2: u32) -> Result<Sidecar> {
        let enabled = |bootstrap: String| {
            assert_eq!(bootstrap.matches("disabled: true").count(), 1, "{bootstrap}");
            bootstrap.replace("disabled: true", "disabled: false")
        };
        let sidecar =
            Sidecar::launch(guide, &[], |scratch| guide.traffic_split(scratch, v1, v2), |ecds| ecds, enabled)?;
        sidecar.envoy.wait_for_extension([0; 3])?;
        Ok(sidecar)
    }

    /// Starts the pods and Envoy with these objects in place of the guide's TrafficSplit, and waits until Envoy has
    /// applied them. `endpoints` gives the addresses of further Services, by `service.namespace`.
    pub fn start_with(guide: &Guide, objects: &str, endpoints: &[(&str, SocketAddr)]) -> Result<Sidecar> {
        let sidecar =
            Sidecar::launch(guide, endpoints, |scratch| write_objects(scratch, objects), |ecds| ecds, |text| text)?;
        sidecar.envoy.wait_for_extension([0; 3])?;
        Ok(sidecar)
    }

    fn launch(
        guide: &Guide,
        endpoints: &[(&str, SocketAddr)],
        objects: impl FnOnce(&Scratch) -> Result<PathBuf>,
        alter: impl FnOnce(String) -> String,
        alter_bootstrap: impl FnOnce(String) -> String,
    ) -> Result<Sidecar> {
        let (httpbin, scratch) = (HttpbinFixture::start()?, Scratch::new()?);
        let split = objects(&scratch)?;
        // Envoy watches this directory, so no other file is written there.
        let watched = scratch.join("watched");
        fs::create_dir(&watched)?;
        let ecds = watched.join("ecds.yaml");
        replace(&ecds, &alter(guide.ecds(&split)?))?;
        let bootstrap = guide.render("envoy", &bootstrap_options(&httpbin, endpoints, &ecds), &split)?;
        let envoy = Envoy::start(&alter_bootstrap(bootstrap), scratch.path())?;
        let port = envoy.listener_port("outbound")?;
        Ok(Sidecar { envoy, httpbin, scratch, port, ecds })
    }

    /// Applies the guide's TrafficSplit with these weights, and waits until Envoy has applied it.
    pub fn apply(&self, guide: &Guide, v1: u32, v2: u32) -> Result<()> {
        let split = guide.traffic_split(&self.scratch, v1, v2)?;
        self.replace(&guide.ecds(&split)?)
    }

    /// Replaces the objects, and waits until Envoy has applied them. The bootstrap stays: a Service that is new since
    /// the start has no cluster.
    pub fn apply_objects(&self, guide: &Guide, objects: &str) -> Result<()> {
        self.replace(&guide.ecds(&write_objects(&self.scratch, objects)?)?)
    }

    /// Applies this extension configuration, and waits until Envoy has applied it. An unchanged configuration is not
    /// written.
    ///
    /// # Errors
    /// Envoy rejects the configuration.
    pub fn replace(&self, ecds: &str) -> Result<()> {
        self.envoy.replace_extension(&self.ecds, ecds)
    }

    /// Returns a counter of the extension configuration, e.g. `update_success` or `update_rejected`.
    pub fn extension_stat(&self, counter: &str) -> Result<u64> {
        self.envoy.extension_stat(counter)
    }
}

/// Writes objects to a file, as YAML or JSON.
fn write_objects(scratch: &Scratch, objects: &str) -> Result<PathBuf> {
    let path = scratch.join("objects.yaml");
    replace(&path, objects)?;
    Ok(path)
}

fn bootstrap_options(httpbin: &HttpbinFixture, endpoints: &[(&str, SocketAddr)], ecds: &Path) -> Vec<OsString> {
    let mut options: Vec<OsString> = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"].map(OsString::from).into();
    let mut option = |name: &str, value: &OsStr| options.extend([name.into(), value.to_owned()]);
    option("--ecds", ecds.as_os_str());
    for (service, address) in httpbin.endpoints().iter().chain(endpoints) {
        option("--endpoint", format!("{service}={address}").as_ref());
    }
    option("--host", format!("other.httpbin={}", httpbin.other.address()).as_ref());
    options
}
