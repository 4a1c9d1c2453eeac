//! The mesh that `./build.sh mesh --keep` keeps running.

use e2e::scratch::Scratch;
use e2e::{Result, wait_for};
use std::fs;
use std::process::{Command, Stdio};

/// The printed commands are run unchanged.
#[test]
fn kept_mesh_prints_commands_that_work() -> Result<()> {
    let scratch = Scratch::new()?;
    let printed = scratch.join("printed");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
    command.stdout(fs::File::create(&printed)?).stdin(Stdio::null());
    let mut mesh = command.spawn()?;
    let text = || fs::read_to_string(&printed).map_err(e2e::Error::from);
    wait_for("the mesh", || match mesh.try_wait()? {
        Some(status) => Err(format!("the mesh has ended: {status}").into()),
        None => Ok(text()?.contains("Ctrl-C").then_some(())),
    })?;
    let text = text()?;

    let script: String =
        text.lines().filter_map(|line| line.strip_prefix("  ")).map(|line| format!("{line}\n")).collect();
    let output = Command::new("sh").args(["-exc", &script]).output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let served = |version: &str| stdout.lines().filter(|line| line.trim() == format!("x-served-by: {version}")).count();
    let (v1, v2) = (served("httpbin-v1"), served("httpbin-v2"));
    let killed = Command::new("kill").args(["-INT", &mesh.id().to_string()]).status()?;
    let ended = wait_for("the mesh to end", || Ok(mesh.try_wait()?))?;

    assert!(output.status.success(), "{stdout}\n{stderr}");
    let roots = stdout.lines().filter(|line| line.trim() == "the root").count();
    // The request that was waited for plus ten, twice. Envoy's threads apply a split one after another.
    assert_eq!(v1 + v2 + roots, 22, "{stdout}");
    assert!(v1 + roots >= 11 && v1 >= 1 && v2 >= 1, "{stdout}");
    for line in ["httpbin-v1 50, httpbin-v2 50", "Programmed", "traffic_split_requests{split=\"httpbin/http-split\""] {
        assert!(stdout.contains(line), "{line} is missing in\n{stdout}");
    }
    assert!(killed.success() && ended.success(), "{ended}");
    let directory = text.split_once("KUBECONFIG=").and_then(|(_, rest)| rest.split_once("/admin.kubeconfig"));
    let (directory, _) = directory.ok_or("no KUBECONFIG is printed")?;
    assert!(!fs::exists(directory)?, "{directory} should be gone");
    Ok(())
}
