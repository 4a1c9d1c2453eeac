//! The benchmark runs, and each variant does what its name says. The figures of a busy machine mean nothing, so they
//! are not checked.

use serde_json::Value;
use std::process::Command;

#[test]
fn quick_run_verifies_and_measures_all_variants() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let directory = e2e::scratch::Scratch::new().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_envoy-bench"))
        .current_dir(root)
        .args(["--quick", "--rounds", "10", "-o"])
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let json: Value = serde_json::from_slice(&std::fs::read(directory.join("bench.json")).unwrap()).unwrap();
    let variants = json["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 10);
    let svg = std::fs::read_to_string(directory.join("cost.svg")).unwrap();
    let table = String::from_utf8(run.stdout).unwrap();
    for variant in variants {
        let label = variant["label"].as_str().unwrap();
        assert!(variant["cpuMicroseconds"]["leastTenth"].as_f64().unwrap() > 0.0, "{label}");
        assert!(variant["upstreams"]["requestsPerSecond"].as_f64().unwrap() > 0.0, "{label}");
        // Once for CPU time, once for throughput.
        assert_eq!(table.lines().filter(|line| line.starts_with(&format!("{label}  "))).count(), 2, "{label}");
        // The chart shows what is added to the plain route.
        assert_eq!(svg.contains(&format!(">{label}<")), variant["variant"] != "plain", "{label}");
    }
}
