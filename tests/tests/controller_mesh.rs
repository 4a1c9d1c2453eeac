//! The controller on a real mesh: from `kubectl apply` to what the client's sidecar does.

use journeys::client::{Client, Load};
use journeys::guide::Guide;
use journeys::mesh::{Mesh, PORT};
use journeys::world::{OTHER, ROOT, World};
use journeys::{Result, is_share, wait_for};
use serde_json::{Value, json};
use std::time::Instant;

fn split(name: &str, root: &str, backends: Value) -> String {
    json!({
        "apiVersion": "split.smi-spec.io/v1alpha2",
        "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": "httpbin"},
        "spec": {"service": root, "backends": backends},
    })
    .to_string()
}

fn version() -> Result<String> {
    Ok(Client::new(PORT).get(ROOT, "/json", &[])?.version())
}

/// The guide as people type it, under load from before the first apply to after the last.
#[test]
fn the_guide_by_kubectl_apply_without_a_failed_request_or_another_listener() -> Result<()> {
    let (guide, world, mesh) = (Guide::built()?, World::start()?, Mesh::start()?);
    mesh.install_controller()?;
    mesh.apply_guide(&guide, &world)?;
    let controller = mesh.controller(&guide, "controller-1")?;
    // It is there before the first split, so that this is no change of a listener.
    wait_for("the EnvoyFilter", || Ok(mesh.get("envoyfilter", "istio-system", "traffic-split").ok()))?;
    let sidecar = mesh.sidecar("curl")?;
    wait_for("the filter to be configured", || {
        Ok(sidecar.extension_stat("config_reload").ok().filter(|reloads| *reloads > 0))
    })?;
    assert_eq!(version()?, "httpbin", "without a split, the root Service serves");
    let modified = sidecar.stat("listener_manager.listener_modified")?;

    let load = Load::start(PORT, ROOT, 2);
    load.more(200)?;
    let apply = |file: &str| mesh.kubectl(&["apply", "-f", &guide.objects.join(file).display().to_string()]);
    apply("trafficsplit-v1.yaml")?;
    load.wait_until("v1 to answer", |tally| tally.of("httpbin-v1") > 0)?;
    mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;
    for _ in 0..10 {
        assert_eq!(version()?, "httpbin-v1");
    }

    let begun = Instant::now();
    apply("trafficsplit-50-50.yaml")?;
    let applied = begun.elapsed();
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    println!(
        "kubectl apply took {applied:.2?}, the first answer of v2 came {:.2?} after it",
        begun.elapsed() - applied
    );
    let halves = load.more(2000)?;
    assert!(is_share(halves.of("httpbin-v2"), halves.total(), 0.5, 5.0), "{halves:?}");
    let described = mesh.kubectl(&["get", "trafficsplits", "-n", "httpbin"])?;
    assert!(described.contains("httpbin-v1 50, httpbin-v2 50"), "{described}");

    mesh.kubectl(&["delete", "trafficsplit", "-n", "httpbin", "http-split"])?;
    wait_for("the root to answer again", || Ok((version()? == "httpbin").then_some(())))?;
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert_eq!(sidecar.stat("listener_manager.listener_modified")?, modified);
    assert_eq!(Client::new(PORT).get(OTHER, "/json", &[])?.version(), "other");
    assert_eq!(controller.metric("traffic_split_controller_failures_total")?, 0.0);
    println!("{} requests, 0 failed", tally.total());
    Ok(())
}

/// One team's mistake isn't another's.
#[test]
fn a_split_that_is_wrong_is_left_out_with_an_event_while_others_change() -> Result<()> {
    let (guide, world, mesh) = (Guide::built()?, World::start()?, Mesh::start()?);
    mesh.install_controller()?;
    mesh.apply_guide(&guide, &world)?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    let one = |backend| json!([{"service": backend, "weight": 1}]);

    // It passes the schema.
    mesh.apply(&split("wrong", "other", json!([{"service": "httpbin-v1", "weight": 0}])))?;
    let said = mesh.wait_for_condition("httpbin", "wrong", "Accepted", ("False", "Invalid"))?;
    assert_eq!(said["message"], "spec.backends: the weights sum to 0: there is nothing to choose");
    let described = wait_for("the event", || {
        let described = mesh.kubectl(&["describe", "trafficsplit", "-n", "httpbin", "wrong"])?;
        Ok(described
            .split_once("Events:")
            .map(|(_, events)| events.to_owned())
            .filter(|events| events.contains("Invalid")))
    })?;
    assert!(described.contains("Warning") && described.contains("weights sum to 0"), "{described}");
    assert_eq!(Client::new(PORT).get(OTHER, "/json", &[])?.version(), "other");

    for backend in ["httpbin-v1", "httpbin-v2"] {
        mesh.apply(&split("http-split", "httpbin", one(backend)))?;
        wait_for(&format!("{backend} to answer"), || Ok((version()? == backend).then_some(())))?;
    }

    // One that goes wrong is served as it last was, also by a controller that has never seen it right.
    mesh.apply(&split("http-split", "httpbin", json!([{"service": "httpbin-v1", "weight": 0}])))?;
    mesh.wait_for_condition("httpbin", "http-split", "Accepted", ("False", "Invalid"))?;
    controller.process.terminate()?;
    let _controller = mesh.controller(&guide, "controller-2")?;
    mesh.apply(&split("wrong", "other", one("httpbin-v1")))?;
    wait_for("the other split", || {
        Ok((Client::new(PORT).get(OTHER, "/json", &[])?.version() == "httpbin-v1").then_some(()))
    })?;
    assert_eq!(version()?, "httpbin-v2");

    // Somebody edits by hand what the controller keeps.
    let broken = json!({"spec": {"configPatches": []}}).to_string();
    mesh.kubectl(&["patch", "envoyfilter", "-n", "istio-system", "traffic-split", "--type=merge", "-p", &broken])?;
    wait_for("the EnvoyFilter to be as it was", || {
        let filter = mesh.get("envoyfilter", "istio-system", "traffic-split")?;
        Ok((filter["spec"]["configPatches"].as_array().map(Vec::len) == Some(4)).then_some(()))
    })?;
    Ok(())
}

/// A leader that is killed is replaced, and what it began goes on.
#[test]
fn when_the_leader_is_killed_the_ramp_goes_on() -> Result<()> {
    let (guide, world, mesh) = (Guide::built()?, World::start()?, Mesh::start()?);
    mesh.install_controller()?;
    mesh.apply_guide(&guide, &world)?;
    let first = mesh.controller(&guide, "controller-1")?;
    wait_for("the first to lead", || Ok((first.metric("traffic_split_controller_leader")? == 1.0).then_some(())))?;
    let second = mesh.controller(&guide, "controller-2")?;
    assert_eq!(second.metric("traffic_split_controller_leader")?, 0.0);
    let _sidecar = mesh.sidecar("curl")?;
    let ramp = |v2: u32| {
        let backends = json!([{"service": "httpbin-v1", "weight": 100 - v2}, {"service": "httpbin-v2", "weight": v2}]);
        mesh.apply(&split("http-split", "httpbin", backends))
    };
    let load = Load::start(PORT, ROOT, 1);
    ramp(0)?;
    load.wait_until("v1 to answer", |tally| tally.of("httpbin-v1") > 0)?;

    // As a node that goes away: nothing is given back.
    let begun = Instant::now();
    drop(first);
    ramp(50)?;
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    println!("the second replica led, and v2 answered, {:.1?} after the first was killed", begun.elapsed());
    ramp(100)?;
    wait_for("all to go to v2", || Ok((load.more(100)?.of("httpbin-v1") == 0).then_some(())))?;
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert_eq!(second.metric("traffic_split_controller_leader")?, 1.0);
    Ok(())
}
