//! Recovery after the end of a VM in a real Envoy: which configurations serve again; see docs/vm-lifecycle.md.

use e2e::client::{Client, Load};
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::ROOT;
use e2e::scratch::Scratch;
use e2e::{Result, wait_for};
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;

/// A guest whose action is the first byte of its configuration:
/// - `G` routes requests to the cluster in the rest of the configuration.
/// - `T` traps at configure.
/// - `W` traps at configure, except in a VM without earlier configurations, such as the canary.
/// - `O` runs out of memory where `W` traps.
/// - `R` traps at a request.
/// - `M` runs out of memory at a request.
const FAULTY: &str = r#"(module
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "x-traffic-split-cluster")
  (data (i32.const 64) "configured")
  (global $free (mut i32) (i32.const 4096))
  (global $configured (mut i32) (i32.const 0))
  (global $configuration (mut i32) (i32.const 0))
  (global $size (mut i32) (i32.const 0))
  (func (export "_initialize"))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $start i32)
    (local.set $start (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (local.get $start) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $start))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func $exhaust
    (loop $again
      (br_if $again (i32.ne (memory.grow (i32.const 4096)) (i32.const -1))))
    unreachable)
  (func $mode (result i32) (i32.load8_u (global.get $configuration)))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (local $first i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 100000) (i32.const 0) (i32.const 4)))
    (global.set $configuration (i32.load (i32.const 0)))
    (global.set $size (i32.load (i32.const 4)))
    (local.set $first (i32.eqz (global.get $configured)))
    (global.set $configured (i32.const 1))
    (if (i32.eq (call $mode) (i32.const 0x54)) (then unreachable))
    (if (local.get $first) (then (return (i32.const 1))))
    (if (i32.eq (call $mode) (i32.const 0x57)) (then unreachable))
    (if (i32.eq (call $mode) (i32.const 0x4f)) (then (call $exhaust)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eq (call $mode) (i32.const 0x52)) (then unreachable))
    (if (i32.eq (call $mode) (i32.const 0x4d)) (then (call $exhaust)))
    (drop (call $set_header (i32.const 0) (i32.const 16) (i32.const 23)
      (i32.add (global.get $configuration) (i32.const 1)) (i32.sub (global.get $size) (i32.const 1))))
    (i32.const 0)))"#;

const GOOD_V1: &str = "Goutbound|14001||httpbin-v1.httpbin.svc.cluster.local";
const GOOD_V2: &str = "Goutbound|14001||httpbin-v2.httpbin.svc.cluster.local";

/// A sidecar with the guest [`FAULTY`] in place of the filter.
struct Faulty {
    guide: Guide,
    sidecar: Sidecar,
    module: PathBuf,
    _scratch: Scratch,
}

impl Faulty {
    /// Starts the sidecar with [`GOOD_V1`] in epoch 0.
    fn start() -> Result<Faulty> {
        let (guide, scratch) = (Guide::built()?, Scratch::new()?);
        let module = scratch.join("faulty.wasm");
        std::fs::write(&module, wat::parse_str(FAULTY).map_err(|error| error.to_string())?)?;
        let ecds = extension(&guide, &module, 0, GOOD_V1)?;
        let sidecar = Sidecar::start_on(&guide, 100, 0, |_| ecds)?;
        sidecar.envoy.wait_for_extension([0; 3])?;
        let faulty = Faulty { guide, sidecar, module, _scratch: scratch };
        faulty.assert_served_by("httpbin-v1")?;
        Ok(faulty)
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// Envoy rejects the new configuration.
    fn configure(&self, epoch: u64, configuration: &str) -> Result<()> {
        self.sidecar.replace(&extension(&self.guide, &self.module, epoch, configuration)?)
    }

    /// Waits until every worker serves requests from this version.
    fn assert_served_by(&self, version: &str) -> Result<()> {
        wait_for(version, || {
            let mut all = true;
            for _ in 0..12 {
                let answer = Client::new(self.sidecar.port).get(ROOT, "/json", &[])?;
                all &= (answer.status, answer.version().as_str()) == (200, version);
            }
            Ok(all.then_some(()))
        })
    }
}

/// Returns the extension configuration of this module with any plugin configuration.
fn extension(guide: &Guide, module: &std::path::Path, epoch: u64, configuration: &str) -> Result<String> {
    let options: [OsString; 4] = ["--wasm".into(), module.into(), "--vm-epoch".into(), epoch.to_string().into()];
    let ecds = guide.render("ecds", &options, &guide.objects.join("trafficsplit-v1.yaml"))?;
    let line = ecds.lines().find(|line| line.trim_start().starts_with("value: ")).expect("a plugin configuration");
    // A JSON string is a YAML string.
    Ok(ecds.replace(line.trim_start(), &format!("value: {}", Value::from(configuration))))
}

#[test]
fn configuration_that_traps_the_canary_is_rejected_and_the_next_serves() -> Result<()> {
    let faulty = Faulty::start()?;
    assert!(faulty.configure(0, "T").is_err(), "Envoy tries a configuration in a VM of its own first");
    faulty.assert_served_by("httpbin-v1")?;
    faulty.configure(0, GOOD_V2)?;
    faulty.assert_served_by("httpbin-v2")
}

#[test]
fn workers_that_trap_at_configure_recover_in_another_vm() -> Result<()> {
    let faulty = Faulty::start()?;
    for (fault, epoch) in [("W", 0), ("O", 1)] {
        // Envoy accepts it because the canary has no earlier configuration. The workers' VMs end, and the root
        // serves.
        faulty.configure(epoch, fault)?;
        faulty.assert_served_by("httpbin")?;
        assert!(faulty.configure(epoch, GOOD_V2).is_err(), "{fault}: Envoy refuses the VM that failed");
        faulty.configure(epoch + 1, GOOD_V2)?;
        faulty.assert_served_by("httpbin-v2")?;
        // The failed VM is no longer used, so its id can be reused.
        faulty.configure(epoch, GOOD_V1)?;
        faulty.assert_served_by("httpbin-v1")?;
        faulty.configure(epoch + 1, GOOD_V2)?;
        faulty.assert_served_by("httpbin-v2")?;
    }
    Ok(())
}

#[test]
fn request_trap_recovers_with_the_next_configuration_in_any_vm() -> Result<()> {
    let faulty = Faulty::start()?;
    for (fault, next) in [("R", 0), ("M", 0), ("R", 1), ("M", 2)] {
        let epoch = if next == 2 { 1 } else { 0 };
        faulty.configure(epoch, &format!("{fault}{next}"))?;
        let answer = Client::new(faulty.sidecar.port).get(ROOT, "/json", &[])?;
        assert_eq!(answer.status, 503, "{fault}: the VM died: {}", answer.text());
        faulty.configure(next, if next == 1 { GOOD_V1 } else { GOOD_V2 })?;
        faulty.assert_served_by(if next == 1 { "httpbin-v1" } else { "httpbin-v2" })?;
    }
    Ok(())
}

#[test]
fn vm_replacement_fails_no_request_and_keeps_counters() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 100, 0)?;
    let load = Load::start(sidecar.port, ROOT, 2);
    let wasm = std::fs::canonicalize(&guide.wasm)?;
    let name =
        "wasmcustom.traffic_split_requests.split=.=httpbin/http-split;.;backend=.=httpbin-v1;.;reason=.=random;.;";
    let (mut counted, mut resets, mut last) = (0, 0, 0);
    let mut count = |envoy: &e2e::envoy::Envoy| -> Result<()> {
        let now = envoy.find_stat(name)?.unwrap_or(0);
        // The same computation as Prometheus' `increase`.
        if now < last {
            resets += 1;
            counted += now;
        } else {
            counted += now - last;
        }
        last = now;
        Ok(())
    };
    for exchange in 0..24_u64 {
        let epoch: OsString = (exchange % 8).to_string().into();
        let options = ["--wasm".into(), wasm.clone().into(), "--vm-epoch".into(), epoch];
        sidecar.replace(&guide.render("ecds", &options, &guide.traffic_split(&sidecar.scratch, 100, 0)?)?)?;
        load.more(100)?;
        count(&sidecar.envoy)?;
    }
    let tally = load.stop();
    count(&sidecar.envoy)?;
    assert_eq!((tally.failed, tally.connections), (0, 2), "{:?}", tally.errors);
    assert_eq!(tally.of("httpbin-v1"), tally.total(), "{tally:?}");
    println!("{} requests, {counted} counted, {resets} resets", tally.total());
    // Only requests between a scrape and a reset can be lost; there is at most one reset for each replacement.
    assert!(counted <= tally.total() && counted * 4 > tally.total(), "{counted} of {}", tally.total());
    // One for the base, one for the main thread, and one for each of two workers: the old VMs are gone.
    sidecar.envoy.wait_for_stat("wasm.envoy.wasm.runtime.v8.active", |active| active == 4)?;
    Ok(())
}
