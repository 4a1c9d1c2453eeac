//! The controller on a real mesh beside a hostile tenant: objects that cannot be read, and objects that are large.

use journeys::mesh::{Controller, Mesh, PORT, split, version_at, with_the_guide};
use journeys::world::ROOT;
use journeys::{Result, wait_for};
use serde_json::{Value, json};
use std::time::Instant;

/// The namespace of the hostile tenant.
const TENANT: &str = "tenant-a";

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("x"), |inner, _| json!({"a": inner}))
}

fn of_tenant(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": TENANT}, "spec": spec})
}

fn split_by(name: &str, group: &str) -> Value {
    let spec = json!({"service": name, "backends": [{"service": "v1", "weight": 1}],
        "matches": [{"kind": "HTTPRouteGroup", "name": group}]});
    of_tenant("split.smi-spec.io/v1alpha4", "TrafficSplit", name, spec)
}

fn create(mesh: &Mesh, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    mesh.kubectl_with_input(&["create", "-f", "-"], &list).map(|_| ())
}

/// Another namespace's change goes out.
fn change(mesh: &Mesh, version: &str) -> Result<()> {
    let begun = Instant::now();
    mesh.apply(&split("http-split", "httpbin", json!([{"service": version, "weight": 1}])))?;
    wait_for(&format!("{version} to answer"), || Ok((version_at(PORT, ROOT)? == version).then_some(())))?;
    println!("another namespace's change to {version} was out {:.1?} after kubectl began", begun.elapsed());
    Ok(())
}

#[track_caller]
fn assert_short_log(controller: &Controller) {
    let log = controller.process.log();
    let longest = log.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 4000, "a log line has {longest} bytes");
}

#[test]
fn an_object_that_cannot_be_read_costs_only_itself() -> Result<()> {
    let (guide, _world, mesh) = with_the_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    mesh.kubectl(&["create", "namespace", TENANT])?;
    change(&mesh, "httpbin-v1")?;

    let group = |name, levels| {
        let spec = json!({"matches": [{"headers": {"h": nested(levels)}}]});
        of_tenant("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", name, spec)
    };
    let mut large = split_by("large", "deep");
    large["metadata"]["annotations"] = json!({"traffic-split/junk": "x".repeat(200 << 10)});
    let mut annotated = journeys::mesh::service("annotated", TENANT);
    annotated["metadata"]["annotations"] = json!({"junk": "x".repeat(200 << 10)});
    let virtual_service = of_tenant(
        "networking.istio.io/v1",
        "VirtualService",
        "deep",
        json!({"hosts": ["elsewhere"], "http": [{"route": [{"destination": {"host": "elsewhere"}}]}]}),
    );
    let objects =
        [group("deep", 130), group("deeper", 1000), split_by("by-deep", "deep"), large, annotated, virtual_service];
    create(&mesh, &objects)?;
    // Its schema takes anything there.
    let status = json!({"status": {"x": nested(130)}}).to_string();
    let patch =
        ["patch", "virtualservice", "-n", TENANT, "deep", "--subresource=status", "--type=merge", "-p", &status];
    mesh.kubectl(&patch)?;

    let told = || {
        let condition = mesh.wait_for_condition(TENANT, "by-deep", "Accepted", ("False", "Invalid"))?;
        let message = condition["message"].as_str().unwrap_or_default();
        assert!(message.contains("HTTPRouteGroup deep: spec: nests more than 127 levels deep"), "{message}");
        let condition = mesh.wait_for_condition(TENANT, "large", "Accepted", ("False", "Invalid"))?;
        assert_eq!(condition["message"], "the object has 201 KiB of JSON; the limit for a TrafficSplit is 128 KiB");
        Ok::<_, journeys::Error>(())
    };
    told()?;
    change(&mesh, "httpbin-v2")?;
    assert_short_log(&controller);
    assert_eq!(controller.metric("traffic_split_controller_watch_failures_total")?, 0.0);

    // All objects are in the first list of the next controller.
    drop(controller);
    let controller = mesh.controller(&guide, "controller-2")?;
    change(&mesh, "httpbin-v1")?;
    told()?;
    assert_short_log(&controller);
    for failures in ["failures_total", "watch_failures_total"] {
        assert_eq!(controller.metric(&format!("traffic_split_controller_{failures}"))?, 0.0, "{failures}");
    }

    // Repaired, they are served.
    mesh.apply(
        &of_tenant(
            "specs.smi-spec.io/v1alpha4",
            "HTTPRouteGroup",
            "deep",
            json!({"matches": [{"name": "m", "headers": {"h": "x"}}]}),
        )
        .to_string(),
    )?;
    mesh.wait_for_condition(TENANT, "by-deep", "Accepted", ("True", "Accepted"))?;
    mesh.kubectl(&["annotate", "trafficsplit", "-n", TENANT, "large", "traffic-split/junk-"])?;
    mesh.wait_for_condition(TENANT, "large", "Accepted", ("True", "Accepted"))?;
    Ok(())
}

/// 60 MB of annotations that nobody reads, and 60 splits that name one large group.
#[test]
fn what_planning_does_not_use_costs_no_memory() -> Result<()> {
    let (guide, _world, mesh) = with_the_guide()?;
    let _sidecar = mesh.sidecar("curl")?;
    mesh.kubectl(&["create", "namespace", TENANT])?;
    let services: Vec<_> = (0..300)
        .map(|number| {
            let mut service = journeys::mesh::service(&format!("s{number}"), TENANT);
            service["metadata"]["annotations"] = json!({"junk": "x".repeat(200 << 10)});
            service
        })
        .collect();
    for services in services.chunks(25) {
        create(&mesh, services)?;
    }
    let controller = mesh.controller(&guide, "controller-1")?;
    change(&mesh, "httpbin-v1")?;
    let figures = |what: &str| {
        let megabytes = controller.process.memory_resident().unwrap_or_default() / 1_000_000;
        let seconds = controller.metric("traffic_split_controller_last_pass_seconds")?;
        println!("{what}: the controller has {megabytes} MB; its last pass took {seconds:.3} s");
        Ok::<_, journeys::Error>(megabytes)
    };
    let megabytes = figures("300 Services with annotations of 200 KiB")?;
    let patterns: Vec<_> = (0..2000).map(|number| json!({format!("h{number}"): "a{2000}"})).collect();
    let group =
        of_tenant("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", "rx", json!({"matches": [{"headers": patterns}]}));
    let splits = (0..60).map(|number| split_by(&format!("rx{number}"), "rx"));
    create(&mesh, &[group].into_iter().chain(splits).collect::<Vec<_>>())?;
    change(&mesh, "httpbin-v2")?;
    figures("60 splits of one group of 2,000 patterns")?;
    assert!(megabytes < 60, "{megabytes} MB");
    Ok(())
}
