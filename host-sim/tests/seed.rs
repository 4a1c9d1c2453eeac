//! A failing test prints the seed of its simulators.

use host_sim::{Module, Simulator};
use std::process::Command;

const FAILS: &str = "HOST_SIM_TEST_FAILS";

/// Runs this test in another process, where the environment variable makes it fail.
#[test]
fn only_a_failing_test_prints_the_seed_of_each_simulator() {
    let text = r#"(module (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
    let module = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    let start = |seed| Simulator::builder(&module).seed(seed).start().expect("a start");
    if let Ok(fails) = std::env::var(FAILS) {
        let _simulators = [start(7), start(8)];
        assert_ne!(fails, "yes");
        return;
    }
    let run = |fails: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        let output = command.args(["--nocapture", "--test-threads=1"]).env(FAILS, fails).output().expect("a run of it");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), stderr.lines().filter(|line| line.starts_with("host-sim: ")).count(), stderr)
    };
    let (passed, lines, stderr) = run("yes");
    assert_eq!((passed, lines), (false, 2), "{stderr}");
    for seed in [7, 8] {
        let line =
            format!("host-sim: the seed of random bytes was {seed}; reproduce with `.seed({seed})` before `.start()`");
        assert!(stderr.contains(&line), "{stderr}");
    }
    let (passed, lines, stderr) = run("no");
    assert_eq!((passed, lines), (true, 0), "{stderr}");
}
