//! `check --bootstrap` and `render ecds --output` with a real Envoy.

use e2e::envoy::Envoy;
use e2e::guide::{Guide, Sidecar};
use e2e::scratch::Scratch;
use e2e::{Result, wait_for};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `traffic-split` with these arguments, then the guide's Services and a TrafficSplit.
fn run(guide: &Guide, arguments: &[&str], traffic_split: &Path) -> Result<Output> {
    Ok(Command::new(&guide.command).args(arguments).arg(guide.services()).arg(traffic_split).output()?)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the version of the extension configuration that Envoy uses.
fn version_text(envoy: &Envoy) -> Result<String> {
    let stats = envoy.admin("/stats?filter=version_text")?;
    let name = "extension_config_discovery.http_filter.traffic-split.version_text: ";
    let version = stats.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    Ok(version.trim_matches('"').to_owned())
}

#[test]
fn envoy_shows_the_version_of_the_written_file_and_keeps_it_after_a_refused_one() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 100, 0)?;
    let ecds = sidecar.scratch.join("watched/ecds.yaml");
    let (wasm, file) = (fs::canonicalize(&guide.wasm)?, ecds.display().to_string());
    let bootstrap = sidecar.scratch.join("bootstrap.yaml").display().to_string();
    let arguments = ["render", "ecds", "--wasm", &wasm.display().to_string(), "-o", &file, "--bootstrap", &bootstrap];
    let output = run(&guide, &arguments, &guide.traffic_split(&sidecar.scratch, 50, 50)?)?;
    let line = stderr(&output);
    let version = line.trim_end().strip_prefix(&format!("wrote {file}, version ")).unwrap_or_else(|| panic!("{line}"));
    assert!(output.status.success());
    wait_for("Envoy to use the version", || Ok((version_text(&sidecar.envoy)? == version).then_some(())))?;
    let dump = sidecar.envoy.admin("/config_dump?resource=ecds_filters")?;
    assert!(dump.contains(&format!("\"version_info\": \"{version}\"")), "{dump}");

    // The config dump shows the refused configuration; the statistic shows the one in use.
    let refused = fs::read_to_string(&ecds)?.replace(r#"weight\":50"#, r#"weight\":-5"#).replace(version, "refused");
    assert!(sidecar.replace(&refused).is_err());
    assert_eq!(version_text(&sidecar.envoy)?, version);
    let dump = sidecar.envoy.admin("/config_dump?resource=ecds_filters")?;
    assert!(dump.contains("\"version_info\": \"refused\""), "{dump}");
    let path = sidecar.scratch.join("dump.json");
    fs::write(&path, sidecar.envoy.admin("/config_dump")?)?;
    let output = Command::new(&guide.command).arg("check").arg("--bootstrap").arg(&path).output()?;
    let text = stderr(&output);
    assert!(text.contains("the filter refuses this configuration: ") && text.contains("is negative"), "{text}");
    Ok(())
}

#[test]
fn config_dump_of_the_rendered_bootstrap_has_no_finding_and_each_broken_part_has_one() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 50, 50)?;
    let split = guide.traffic_split(&sidecar.scratch, 50, 50)?;
    let path = sidecar.scratch.join("dump.json");
    let dump = sidecar.envoy.admin("/config_dump")?;
    let check = |dump: &str| {
        fs::write(&path, dump)?;
        run(&guide, &["check", "--bootstrap", &path.display().to_string()], &split)
    };
    let output = check(&dump)?;
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let removed = "\"remove\": \"x-traffic-split-cluster\"";
    assert!(dump.contains(removed), "{dump}");
    let output = check(&dump.replace(removed, "\"remove\": \"x-other\""))?;
    assert_eq!(output.status.code(), Some(1));
    let message = "the header `x-traffic-split-cluster` is not removed from client requests, so any client can choose any cluster";
    assert!(stderr(&output).contains(message), "{}", stderr(&output));
    let output = check(&dump.replace("||httpbin-v2.httpbin", "||v2.httpbin"))?;
    assert!(
        stderr(&output).contains("Envoy has no cluster `outbound|14001||httpbin-v2.httpbin.svc."),
        "{}",
        stderr(&output)
    );
    Ok(())
}

#[test]
fn filter_with_another_name_gets_no_configuration_and_is_found() -> Result<()> {
    let (guide, scratch) = (Guide::built()?, Scratch::new()?);
    let split = guide.traffic_split(&scratch, 50, 50)?;
    fs::create_dir(scratch.join("watched"))?;
    let ecds = scratch.join("watched/ecds.yaml");
    fs::write(&ecds, guide.ecds(&split)?)?;
    let options = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--port", "14001", "--ecds"];
    let mut options: Vec<_> = options.map(Into::into).into();
    options.push(ecds.into());
    let bootstrap = guide.render("envoy", &options, &split)?;
    let named = bootstrap
        .replace("- name: traffic-split\n            config_discovery", "- name: other\n            config_discovery");
    assert_ne!(named, bootstrap);
    let envoy = Envoy::start(&named, scratch.path())?;
    wait_for("Envoy to reject the file", || Ok((envoy.extension_stat("update_rejected")? > 0).then_some(())))?;
    let path = scratch.join("dump.json");
    fs::write(&path, envoy.admin("/config_dump")?)?;
    let output = run(&guide, &["check", "--bootstrap", &path.display().to_string()], &split)?;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("the filter has the name `other`, but the resource in its file is `traffic-split`"),
        "{text}"
    );
    assert!(text.contains("Envoy has accepted no configuration of the filter"), "{text}");
    Ok(())
}
