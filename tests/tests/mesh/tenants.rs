//! The controller on a real mesh with a hostile tenant: unreadable objects and large objects.

use e2e::client::Load;
use e2e::httpbin::ROOT;
use e2e::mesh::{Controller, Mesh, PORT, split, start_with_guide, version_at};
use e2e::{Result, wait_for};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// Changes a split of another namespace and waits until the sidecar has the change.
fn change(mesh: &Mesh, version: &str) -> Result<()> {
    let begun = Instant::now();
    mesh.apply(&split("http-split", "httpbin", &[(version, 1)]))?;
    wait_for(&format!("{version} to answer"), || Ok((version_at(PORT, ROOT)? == version).then_some(())))?;
    println!("another namespace's change to {version} was out {:.1?} after kubectl began", begun.elapsed());
    Ok(())
}

/// Removes the schema of a match's headers, which rejects deep nesting. A cluster may hold objects older than the
/// schema, or another definition of the kind.
fn accept_any_headers(mesh: &Mesh) -> Result<()> {
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    let patch = |(version, matches): (usize, &str)| {
        let path =
            format!("/spec/versions/{version}/schema/openAPIV3Schema/properties/{matches}/items/properties/headers");
        json!({"op": "replace", "path": path, "value": anything})
    };
    let places = (0..3).flat_map(|version| [(version, "spec/properties/matches"), (version, "matches")]);
    let patches = Value::Array(places.map(patch).collect()).to_string();
    let definition = "httproutegroups.specs.smi-spec.io";
    mesh.kubectl(&["patch", "customresourcedefinition", definition, "--type=json", "-p", &patches])?;
    Ok(())
}

#[track_caller]
fn assert_short_log(controller: &Controller) {
    let log = controller.process.log();
    let longest = log.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 4000, "a log line has {longest} bytes");
}

#[test]
fn unreadable_object_affects_only_itself() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    accept_any_headers(&mesh)?;
    let group = |name, levels| {
        let spec = json!({"matches": [{"headers": {"h": nested(levels)}}]});
        of_tenant("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", name, spec)
    };
    mesh.kubectl(&["create", "namespace", TENANT])?;
    // The API server applies the definition after a delay.
    wait_for("the deep group to be accepted", || Ok(create(&mesh, &[group("deep", 130)]).is_ok().then_some(())))?;
    mesh.kubectl(&["delete", "httproutegroup", "-n", TENANT, "deep"])?;

    let controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    change(&mesh, "httpbin-v1")?;

    let mut large = split_by("large", "deep");
    large["metadata"]["annotations"] = json!({"traffic-split/junk": "x".repeat(200 << 10)});
    let mut annotated = e2e::mesh::service("annotated", TENANT);
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
    // The schema accepts any value there.
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
        Ok::<_, e2e::Error>(())
    };
    told()?;
    change(&mesh, "httpbin-v2")?;
    assert_short_log(&controller);
    assert_eq!(controller.metric("traffic_split_controller_watch_failures_total")?, 0.0);

    // The first list of the next controller contains all these objects.
    drop(controller);
    let controller = mesh.controller(&guide, "controller-2")?;
    change(&mesh, "httpbin-v1")?;
    told()?;
    assert_short_log(&controller);
    for failures in ["failures_total", "watch_failures_total"] {
        assert_eq!(controller.metric(&format!("traffic_split_controller_{failures}"))?, 0.0, "{failures}");
    }

    // Repaired objects are served.
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

/// 60 MB of unused annotations, and 60 splits that name one large group.
#[test]
fn fields_unused_by_planning_use_no_memory() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let _sidecar = mesh.sidecar("curl")?;
    mesh.kubectl(&["create", "namespace", TENANT])?;
    let services: Vec<_> = (0..300)
        .map(|number| {
            let mut service = e2e::mesh::service(&format!("s{number}"), TENANT);
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
        Ok::<_, e2e::Error>(megabytes)
    };
    let megabytes = figures("300 Services with annotations of 200 KiB")?;
    let patterns = |first: usize| (first..first + 100).map(|number| (format!("h{number}"), json!("a{2000}")));
    let matches = (0..20).map(|part| json!({"headers": patterns(100 * part).collect::<serde_json::Map<_, _>>()}));
    let spec = json!({"matches": matches.collect::<Vec<_>>()});
    let group = of_tenant("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", "rx", spec);
    let splits = (0..60).map(|number| split_by(&format!("rx{number}"), "rx"));
    create(&mesh, &[group].into_iter().chain(splits).collect::<Vec<_>>())?;
    change(&mesh, "httpbin-v2")?;
    let with_patterns = figures("60 splits of one group of 2,000 patterns")?;
    assert!(megabytes < 60 && with_patterns < 80, "{megabytes} and {with_patterns} MB");
    let condition = mesh.wait_for_condition(TENANT, "rx7", "Accepted", ("False", "Invalid"))?;
    let message = condition["message"].as_str().unwrap_or_default();
    assert!(message.contains("has 4012000 units of pattern size, above the limit of 16384"), "{message}");
    Ok(())
}

/// A tenant exceeds all limits and changes ten objects a second.
#[test]
fn tenant_at_all_limits_delays_no_change_or_request_of_others() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let sidecar = mesh.sidecar("curl")?;
    change(&mesh, "httpbin-v1")?;
    let memory = || {
        let megabytes = |bytes: Option<u64>| bytes.unwrap_or_default() / 1_000_000;
        (megabytes(sidecar.memory_resident()), megabytes(controller.process.memory_resident()))
    };
    let before = memory();

    mesh.kubectl(&["create", "namespace", TENANT])?;
    let names = |kind: &'static str, count: usize| (0..count).map(move |number| format!("{kind}{number}"));
    let group = |name: &str, matches: Vec<Value>| {
        of_tenant("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", name, json!({"matches": matches}))
    };
    // Each object is near the limit of one root; together they have five times the limit of a namespace.
    let patterns = names("patterns", 40).map(|name| group(&name, vec![json!({"pathRegex": "(?:.*a){15}b"}); 80]));
    let conditions = names("conditions", 40).map(|name| group(&name, vec![json!({"methods": vec!["GET"; 30]}); 60]));
    let backends = names("backends", 160).map(|name| {
        let backends = names("b", 256).map(|backend| json!({"service": backend, "weight": 1}));
        let spec = json!({"service": name, "backends": backends.collect::<Vec<_>>()});
        of_tenant("split.smi-spec.io/v1alpha4", "TrafficSplit", &name, spec)
    });
    let of_groups = names("patterns", 40).chain(names("conditions", 40)).map(|name| split_by(&name, &name));
    let objects: Vec<_> = patterns.chain(conditions).chain(of_groups).chain(backends).collect();
    for objects in objects.chunks(40) {
        create(&mesh, objects)?;
    }
    mesh.wait_for_condition(TENANT, "backends159", "Programmed", ("False", "TooLarge"))?;

    // The load is paced, because the whole mesh shares this machine with the measurement.
    let load = Load::paced(PORT, ROOT, 2, Duration::from_millis(5));
    load.more(50)?;
    let (_process, mut api) = mesh.api()?;
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut latencies = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let (group, name, patch) = match number % 2 {
                    0 => {
                        let patch = json!({"spec": {"matches": [{"pathRegex": format!("/{number}(?:.*a){{15}}")}]}});
                        ("specs.smi-spec.io", format!("httproutegroups/patterns{}", number % 40), patch)
                    }
                    _ => {
                        let patch = json!({"spec": {"backends": [{"service": "v1", "weight": number}]}});
                        ("split.smi-spec.io", format!("trafficsplits/backends{}", number % 160), patch)
                    }
                };
                let path = format!("/apis/{group}/v1alpha4/namespaces/{TENANT}/{name}");
                if api.send_body("PATCH", &path, "application/merge-patch+json", &patch.to_string()).is_ok() {
                    changes.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let mut latencies = Vec::new();
        let changed = (|| {
            for version in ["httpbin-v2", "httpbin-v1"].into_iter().cycle().take(10) {
                let object = split("http-split", "httpbin", &[(version, 1)]);
                mesh.apply(&object)?;
                let begun = Instant::now();
                wait_for(&format!("{version} to answer"), || Ok((version_at(PORT, ROOT)? == version).then_some(())))?;
                latencies.push(begun.elapsed());
            }
            Ok::<_, e2e::Error>(())
        })();
        stop.store(true, Ordering::Relaxed);
        changed.map(|()| latencies)
    })?;
    latencies.sort();
    let tally = load.stop();
    let after = memory();
    println!(
        "beside a tenant at all limits that made {} changes: ten changes of another namespace were out {:.2?} (median), \
         {:.2?} (most) after kubectl; {} of {} requests failed; the sidecar has {} MB, before {}; the controller {} MB, \
         before {}; its last pass took {:.3} s",
        changes.load(Ordering::Relaxed),
        latencies[5],
        latencies[9],
        tally.failed,
        tally.total(),
        after.0,
        before.0,
        after.1,
        before.1,
        controller.metric("traffic_split_controller_last_pass_seconds")?,
    );
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert!(changes.load(Ordering::Relaxed) > 20);
    assert!(after.0 < before.0 + 300 && after.1 < 250, "{after:?} MB, before {before:?}");
    for failures in ["failures_total", "watch_failures_total"] {
        assert_eq!(controller.metric(&format!("traffic_split_controller_{failures}"))?, 0.0, "{failures}");
    }
    Ok(())
}
