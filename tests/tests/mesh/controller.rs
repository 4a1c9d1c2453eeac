//! The controller on a real mesh: from `kubectl apply` to the sidecar's routing.

use e2e::client::{Client, Load};
use e2e::httpbin::{HttpbinFixture, OTHER, ROOT};
use e2e::mesh::{Mesh, PORT, split, start_with_guide, version_at, wait_for_all_threads, wait_for_filter};
use e2e::{Result, is_share, wait_for};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Returns the version that answers the guide's client.
fn version_now() -> Result<String> {
    version_of(ROOT)
}

/// Returns the version that answers at this host.
fn version_of(host: &str) -> Result<String> {
    version_at(PORT, host)
}

/// The commands of the guide under load.
#[test]
fn guide_applies_without_failed_requests_or_listener_changes() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    // The EnvoyFilter exists before the first split, so the split changes no listener.
    mesh.wait_for_envoy_filter()?;
    let sidecar = mesh.sidecar("curl")?;
    wait_for_filter(&sidecar)?;
    assert_eq!(version_now()?, "httpbin", "without a split, the root Service serves");
    let modified = sidecar.stat("listener_manager.listener_modified")?;

    let load = Load::start(PORT, ROOT, 2);
    load.more(200)?;
    let apply = |file: &str| mesh.kubectl(&["apply", "-f", &guide.objects.join(file).display().to_string()]);
    apply("trafficsplit-v1.yaml")?;
    mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;
    wait_for_all_threads("v1 to answer", || Ok(version_now()? == "httpbin-v1"))?;
    for _ in 0..10 {
        assert_eq!(version_now()?, "httpbin-v1");
    }

    let begun = Instant::now();
    apply("trafficsplit-50-50.yaml")?;
    let applied = begun.elapsed();
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    println!(
        "kubectl apply took {applied:.2?}, the first answer of v2 came {:.2?} after it",
        begun.elapsed() - applied
    );
    // Until all of Envoy's threads have the change.
    load.more(1000)?;
    let halves = load.more(2000)?;
    assert!(is_share(halves.of("httpbin-v2"), halves.total(), 0.5, 5.0), "{halves:?}");
    let described = mesh.kubectl(&["get", "trafficsplits", "-n", "httpbin"])?;
    assert!(described.contains("httpbin-v1 50, httpbin-v2 50"), "{described}");

    mesh.kubectl(&["delete", "trafficsplit", "-n", "httpbin", "http-split"])?;
    wait_for("the root to answer again", || Ok((version_now()? == "httpbin").then_some(())))?;
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert_eq!(sidecar.stat("listener_manager.listener_modified")?, modified);
    assert_eq!(version_of(OTHER)?, "other");
    assert_eq!(controller.metric("traffic_split_controller_failures_total")?, 0.0);
    println!("{} requests, 0 failed", tally.total());
    Ok(())
}

/// One team's invalid split must not affect another team.
#[test]
fn invalid_split_is_excluded_with_an_event_while_others_change() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;

    // The schema accepts this object; a second one is in another namespace.
    let wrong = split("wrong", "other", &[("httpbin-v1", 0)]);
    mesh.apply(&wrong.replace(r#""namespace":"httpbin""#, r#""namespace":"curl""#))?;
    mesh.wait_for_condition("curl", "wrong", "Accepted", ("False", "Invalid"))?;
    mesh.apply(&wrong)?;
    let condition = mesh.wait_for_condition("httpbin", "wrong", "Accepted", ("False", "Invalid"))?;
    assert_eq!(condition["message"], "spec.backends: the weights sum to 0; give at least one backend a weight above 0");
    let described = wait_for("the event", || {
        let described = mesh.kubectl(&["describe", "trafficsplit", "-n", "httpbin", "wrong"])?;
        Ok(described
            .split_once("Events:")
            .map(|(_, events)| events.to_owned())
            .filter(|events| events.contains("Invalid")))
    })?;
    assert!(described.contains("Warning") && described.contains("weights sum to 0"), "{described}");
    assert_eq!(version_of(OTHER)?, "other");

    for backend in ["httpbin-v1", "httpbin-v2"] {
        mesh.apply(&split("http-split", "httpbin", &[(backend, 1)]))?;
        wait_for(&format!("{backend} to answer"), || Ok((version_now()? == backend).then_some(())))?;
    }

    // A split that becomes invalid is served in its last valid version, even by a controller that has never seen that
    // version.
    mesh.apply(&split("http-split", "httpbin", &[("httpbin-v1", 0)]))?;
    mesh.wait_for_condition("httpbin", "http-split", "Accepted", ("False", "Invalid"))?;
    controller.process.terminate()?;
    let _controller = mesh.controller(&guide, "controller-2")?;
    mesh.apply(&split("wrong", "other", &[("httpbin-v1", 1)]))?;
    wait_for("the other split", || Ok((version_of(OTHER)? == "httpbin-v1").then_some(())))?;
    assert_eq!(version_now()?, "httpbin-v2");

    // A manual change of the EnvoyFilter is reverted.
    let broken = json!({"spec": {"configPatches": []}}).to_string();
    mesh.kubectl(&["patch", "envoyfilter", "-n", "istio-system", "traffic-split", "--type=merge", "-p", &broken])?;
    // Not with the patches of `httpbin`: the last valid version of its split was in the EnvoyFilter only.
    let parts = ["NETWORK_FILTER", "HTTP_FILTER", "HTTP_ROUTE", "EXTENSION_CONFIG", "other.httpbin.svc.cluster.local"];
    wait_for("the EnvoyFilter to be restored", || {
        let patches = mesh.get("envoyfilter", "istio-system", "traffic-split")?["spec"]["configPatches"].to_string();
        Ok(parts.iter().all(|part| patches.contains(part)).then_some(()))
    })?;
    Ok(())
}

/// Another replica replaces the killed leader and continues the rollout.
#[test]
fn rollout_continues_after_the_leader_is_killed() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let first = mesh.controller(&guide, "controller-1")?;
    wait_for("the first replica to lead", || {
        Ok((first.metric("traffic_split_controller_leader")? == 1.0).then_some(()))
    })?;
    let second = mesh.controller(&guide, "controller-2")?;
    assert_eq!(second.metric("traffic_split_controller_leader")?, 0.0);
    let _sidecar = mesh.sidecar("curl")?;
    let ramp = |v2: u32| mesh.apply(&split("http-split", "httpbin", &[("httpbin-v1", 100 - v2), ("httpbin-v2", v2)]));
    let load = Load::start(PORT, ROOT, 1);
    ramp(0)?;
    load.wait_until("v1 to answer", |tally| tally.of("httpbin-v1") > 0)?;

    // As in a node failure, the lease is not released.
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

/// The objects of canary tools, written whole by PUT during a rollout.
#[test]
fn flagger_and_argo_rollouts_objects_shift_traffic() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let _controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    // The tool, its API version, its root, and the stable backend. The canary is httpbin-v2 and comes first.
    for (tool, version, root, stable) in [
        ("Flagger", "v1alpha1", "httpbin", "httpbin-v1"),
        ("Flagger", "v1alpha2", "httpbin.httpbin.svc.cluster.local", "httpbin-v1"),
        ("Flagger", "v1alpha3", "httpbin", "httpbin-v1"),
        ("Argo Rollouts", "v1alpha1", "httpbin", "httpbin-v1"),
        ("Argo Rollouts, without a root", "v1alpha3", "httpbin", "httpbin"),
    ] {
        let load = Load::start(PORT, ROOT, 1);
        for (step, canary) in [0, 20, 40, 60, 80, 100, 0].into_iter().enumerate() {
            let weight = |weight: u32| match version {
                "v1alpha1" => json!(weight.to_string()),
                _ => json!(weight),
            };
            let object = json!({
                "apiVersion": format!("split.smi-spec.io/{version}"),
                "kind": "TrafficSplit",
                "metadata": {"name": "httpbin", "namespace": "httpbin"},
                "spec": {"service": root, "backends": [
                    {"service": "httpbin-v2", "weight": weight(canary)},
                    {"service": stable, "weight": weight(100 - canary)},
                ]},
            });
            let verb = if step == 0 { "create" } else { "replace" };
            mesh.kubectl_with_input(&[verb, "-f", "-"], &object.to_string())?;
            mesh.wait_for_condition("httpbin", "httpbin", "Programmed", ("True", "Programmed"))?;
            wait_for(&format!("{tool} {version}: {canary} % to go to the canary"), || {
                let seen = load.more(300)?;
                let share = f64::from(canary) / 100.0;
                let both = seen.of("httpbin-v2") + seen.of(stable) == seen.total();
                Ok((both && is_share(seen.of("httpbin-v2"), seen.total(), share, 4.0)).then_some(()))
            })?;
            let seen = load.more(500)?;
            let is_so = is_share(seen.of("httpbin-v2"), seen.total(), f64::from(canary) / 100.0, 5.0);
            assert!(is_so, "{tool} {version} at {canary} %: {seen:?}");
        }
        mesh.kubectl(&["delete", "trafficsplit", "-n", "httpbin", "httpbin"])?;
        wait_for("the root to serve again", || Ok((version_now()? == "httpbin").then_some(())))?;
        let tally = load.stop();
        assert_eq!(tally.failed, 0, "{tool} {version}: {tally:?}");
    }
    Ok(())
}

/// Deleting a Service without weight affects no request. Deleting one with weight fails requests until the sidecar
/// knows.
#[test]
fn deleted_backend_fails_requests_only_briefly_and_only_with_weight() -> Result<()> {
    let (guide, httpbin, mesh) = start_with_guide()?;
    let _controller = mesh.controller(&guide, "controller-1")?;
    let sidecar = mesh.sidecar("curl")?;
    let weights = |v1: u32, v2: u32| {
        mesh.apply(&split("http-split", "httpbin", &[("httpbin-v1", v1), ("httpbin-v2", v2)]))?;
        mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))
    };
    let delete = || mesh.kubectl(&["delete", "service,serviceentry", "-n", "httpbin", "httpbin-v2"]);
    let cluster = "outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
    let is_there = || Ok::<_, e2e::Error>(sidecar.admin("/clusters")?.contains(cluster));
    weights(100, 0)?;
    let load = Load::start(PORT, ROOT, 1);
    load.wait_until("v1 to answer", |tally| tally.of("httpbin-v1") > 0)?;
    delete()?;
    wait_for("its cluster to be gone", || Ok((!is_there()?).then_some(())))?;
    load.more(100)?;
    mesh.apply(&e2e::mesh::service("httpbin-v2", "httpbin").to_string())?;
    mesh.set_address("httpbin-v2.httpbin", httpbin.v2.address())?;
    wait_for("its cluster to be back", || Ok(is_there()?.then_some(())))?;
    weights(50, 50)?;
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    assert_eq!(load.tally().failed, 0, "{:?}", load.tally());

    let without_cluster = || {
        let stats = sidecar.admin("/stats?filter=no_cluster")?;
        let counts = stats.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok());
        Ok::<_, e2e::Error>(counts.sum::<u64>())
    };
    let (before, without_before) = (load.tally(), without_cluster()?);
    let begun = Instant::now();
    delete()?;
    mesh.wait_for_condition("httpbin", "http-split", "ResolvedRefs", ("False", "RefNotFound"))?;
    wait_for("all to go to v1", || {
        let seen = load.more(100)?;
        Ok((seen.of("httpbin-v1") == seen.total()).then_some(()))
    })?;
    let window = begun.elapsed();
    let seen = load.stop().since(&before);
    println!("deleted with half of the weight: {} of {} failed, within {window:.1?}", seen.failed, seen.total());
    // Only requests with the flag NC fail.
    let refused = seen.statuses.get(&503).copied().unwrap_or_default();
    assert_eq!((seen.failed, without_cluster()? - without_before), (refused, refused), "{seen:?}");
    Ok(())
}

/// A cluster with 1,000 splits: 500 change at once, then one changes.
#[test]
fn thousand_splits_in_hundred_namespaces_are_programmed() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let list = |items: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let namespace = |number: usize| format!("team-{number}");
    let namespaces = (0..100)
        .map(|number| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}}));
    mesh.kubectl_with_input(&["create", "-f", "-"], &list(namespaces.collect()))?;
    let of_each = |object: &dyn Fn(usize, &str) -> Value| {
        (0..100)
            .flat_map(|number| (0..10).map(move |one| (one, number)))
            .map(|(one, number)| object(one, &namespace(number)))
            .collect::<Vec<_>>()
    };
    let services = of_each(&|one, namespace| e2e::mesh::service(&format!("s{one}"), namespace));
    mesh.kubectl_with_input(&["create", "-f", "-"], &list(services))?;
    let writes = || controller.metric("traffic_split_controller_envoyfilter_writes_total");
    let before = writes()?;
    let begun = Instant::now();
    let splits = |canary: u32| {
        of_each(&|one, namespace| {
            json!({
                "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
                "metadata": {"name": format!("split-{one}"), "namespace": namespace},
                "spec": {"service": format!("s{one}"), "backends": [
                    {"service": format!("s{one}"), "weight": 100 - canary},
                    {"service": format!("s{}", (one + 1) % 10), "weight": canary},
                ]},
            })
        })
    };
    mesh.kubectl_with_input(&["create", "-f", "-"], &list(splits(10)))?;
    let created = begun.elapsed();
    wait_for("all to be served", || {
        let [all, without, statuses] = ["trafficsplits", "trafficsplits_not_programmed", "status_writes_total"]
            .map(|name| controller.metric(&format!("traffic_split_controller_{name}")));
        Ok((all? == 1000.0 && without? == 0.0 && statuses? >= 1000.0).then_some(()))
    })?;
    let converged = begun.elapsed();
    let filter = mesh.get("envoyfilter", "istio-system", "traffic-split")?.to_string().len();
    println!(
        "1,000 splits created in {created:.1?}, all served and reported {:.1?} later, in {} EnvoyFilters; the last has {filter} \
         bytes; the controller has {} MB; its last pass took {:.3} s",
        converged - created,
        writes()? - before,
        controller.process.memory_resident().unwrap_or_default() / 1_000_000,
        controller.metric("traffic_split_controller_last_pass_seconds")?,
    );

    let (_process, mut api) = mesh.api()?;
    let before = writes()?;
    let begun = Instant::now();
    for split in &splits(20)[..500] {
        let [namespace, name] = ["namespace", "name"].map(|key| split["metadata"][key].as_str().unwrap_or_default());
        let path = format!("/apis/split.smi-spec.io/v1alpha4/namespaces/{namespace}/trafficsplits/{name}");
        let patch = json!({"spec": split["spec"]}).to_string();
        api.send_body("PATCH", &path, "application/merge-patch+json", &patch)?;
    }
    let changed = begun.elapsed();
    wait_for("the changes to be served", || {
        let filter = mesh.get("envoyfilter", "istio-system", "traffic-split")?.to_string();
        Ok((filter.matches(r#"\"weight\":20"#).count() == 500).then_some(()))
    })?;
    let (writes_for_burst, served) = (writes()? - before, begun.elapsed());
    println!(
        "500 splits changed in {changed:.1?}, all served {:.1?} later, in {writes_for_burst} EnvoyFilters",
        served - changed
    );
    // At most two writes per second, plus the first one.
    assert!(writes_for_burst <= 2.0 * served.as_secs_f64() + 1.0, "{writes_for_burst} in {served:?}");

    let sidecar = mesh.sidecar("curl")?;
    let one = |backend| mesh.apply(&split("http-split", "httpbin", &[(backend, 1)]));
    one("httpbin-v1")?;
    wait_for("v1 to answer", || Ok((version_now()? == "httpbin-v1").then_some(())))?;
    wait_for("the controller to write all statuses", || {
        let listed = mesh.kubectl(&["get", "trafficsplits", "-A"])?;
        Ok((listed.matches("80, s").count() == 500 && listed.matches("90, s").count() == 500).then_some(()))
    })?;
    let mut after = Vec::new();
    for backend in ["httpbin-v2", "httpbin-v1", "httpbin-v2"] {
        one(backend)?;
        let begun = Instant::now();
        wait_for("the change to reach the sidecar", || Ok((version_now()? == backend).then_some(())))?;
        after.push(begun.elapsed());
    }
    println!(
        "among a thousand, one change is out {after:.2?} after kubectl; the last pass took {:.3} s",
        controller.metric("traffic_split_controller_last_pass_seconds")?
    );
    drop(sidecar);
    Ok(())
}

/// Uninstalling removes objects in an order that fails no request.
#[test]
fn uninstall_returns_traffic_to_the_root_without_failed_requests() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let sidecar = mesh.sidecar("curl")?;
    mesh.kubectl(&["apply", "-f", &guide.objects.join("trafficsplit-v1.yaml").display().to_string()])?;
    let load = Load::start(PORT, ROOT, 2);
    load.wait_until("v1 to answer", |tally| tally.of("httpbin-v1") > 0)?;
    // The controller ends, as after deleting its Deployment; the EnvoyFilter stays in force.
    controller.process.terminate()?;
    let without = load.more(200)?;
    assert_eq!(without.of("httpbin-v1"), without.total(), "{without:?}");

    mesh.uninstall(&guide)?;
    load.wait_until("the root to answer", |tally| tally.of("httpbin") > 0)?;
    wait_for("the route to be removed", || {
        let routes = sidecar.admin("/config_dump?resource=dynamic_route_configs")?;
        Ok((!routes.contains("x-traffic-split-cluster")).then_some(()))
    })?;
    load.more(200)?;
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert!(mesh.get("envoyfilter", "istio-system", "traffic-split").is_err());
    // A second run has no work and succeeds.
    mesh.uninstall(&guide)
}

/// The split's conditions report Istio objects that affect it.
#[test]
fn conflicting_istio_objects_are_reported_on_the_split() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let _controller = mesh.controller(&guide, "controller-1")?;
    mesh.kubectl(&["apply", "-f", &guide.objects.join("trafficsplit-50-50.yaml").display().to_string()])?;
    for kind in ["RulesApply", "Reachable"] {
        mesh.wait_for_condition("httpbin", "http-split", kind, ("True", kind))?;
    }
    let istio = |kind: &str, namespace: &str, spec: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": kind,
            "metadata": {"name": "theirs", "namespace": namespace}, "spec": spec,
        })
        .to_string()
    };
    let routes = json!([{"timeout": "5s", "route": [{"destination": {"host": "httpbin"}}]}]);
    mesh.apply(&istio("VirtualService", "httpbin", json!({"hosts": ["httpbin"], "http": routes})))?;
    mesh.wait_for_condition("httpbin", "http-split", "RulesApply", ("False", "RulesBypassed"))?;
    let hosts = json!(["httpbin/httpbin.httpbin.svc.cluster.local", "httpbin/httpbin-v1.httpbin.svc.cluster.local"]);
    mesh.apply(&istio("Sidecar", "curl", json!({"egress": [{"hosts": hosts}]})))?;
    mesh.wait_for_condition("httpbin", "http-split", "Reachable", ("False", "BackendHidden"))?;
    // Requests to the hidden backend get 503.
    let _sidecar = mesh.sidecar("curl")?;
    wait_for("responses of v1 and 503", || {
        let load = Load::start(PORT, ROOT, 1);
        let seen = load.more(50)?;
        Ok((seen.of("httpbin-v1") > 0 && seen.statuses.contains_key(&503)).then_some(()))
    })?;
    mesh.kubectl(&["delete", "sidecar", "-n", "curl", "theirs"])?;
    mesh.wait_for_condition("httpbin", "http-split", "Reachable", ("True", "Reachable"))?;
    Ok(())
}

/// While the API server is down, sidecars keep their configuration; later changes are applied.
#[test]
fn api_server_restart_loses_no_change() -> Result<()> {
    let (guide, _httpbin, mut mesh) = start_with_guide()?;
    let mut controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    let one = |backend| split("http-split", "httpbin", &[(backend, 1)]);
    mesh.apply(&one("httpbin-v1"))?;
    let load = Load::start(PORT, ROOT, 1);
    load.wait_until("v1 to answer", |tally| tally.of("httpbin-v1") > 0)?;
    mesh.stop_api();
    load.more(500)?;
    mesh.start_api()?;
    mesh.apply(&one("httpbin-v2"))?;
    wait_for("v2 to answer", || Ok((version_now()? == "httpbin-v2").then_some(())))?;
    assert_eq!(load.stop().failed, 0);
    controller.process.check_running()
}

/// A split above the limit waits, and the served splits are not affected.
#[test]
fn split_above_the_size_limit_is_reported_and_excluded_until_it_fits() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let one = |name, root, backend| mesh.apply(&split(name, root, &[(backend, 1)]));
    let controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    one("http-split", "httpbin", "httpbin-v1")?;
    wait_for("v1 to answer", || Ok((version_now()? == "httpbin-v1").then_some(())))?;
    let bytes = controller.metric("traffic_split_controller_configuration_bytes")?;
    controller.process.terminate()?;

    let limit = (bytes + 20.0).to_string();
    let _controller = mesh.controller_with(&guide, "controller-2", &["--max-bytes", &limit])?;
    let load = Load::start(PORT, ROOT, 1);
    one("second", "other", "httpbin-v1")?;
    mesh.wait_for_condition("httpbin", "second", "Programmed", ("False", "TooLarge"))?;
    wait_for("the event", || {
        let events = mesh.kubectl(&["get", "events", "-n", "httpbin", "--field-selector", "reason=TooLarge"])?;
        Ok(events.contains("second").then_some(()))
    })?;
    assert!(mesh.kubectl(&["get", "trafficsplits", "-n", "httpbin", "second"])?.contains("TooLarge"));
    assert_eq!(version_of(OTHER)?, "other");
    let seen = load.more(100)?;
    assert_eq!(seen.of("httpbin-v1"), seen.total(), "{seen:?}");
    // Served splits can still change within the limit.
    one("http-split", "httpbin", "httpbin-v2")?;
    mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;
    wait_for_all_threads("all to go to v2", || Ok(version_now()? == "httpbin-v2"))?;
    mesh.apply(&split("http-split", "httpbin", &[("httpbin-v1", 1), ("httpbin-v2", 1)]))?;
    wait_for("the state TooLarge", || {
        let state = mesh.get("trafficsplit", "httpbin", "http-split")?["status"]["state"].clone();
        Ok((state == "TooLarge").then_some(()))
    })?;
    let seen = load.more(100)?;
    assert_eq!(seen.of("httpbin-v2"), seen.total(), "{seen:?}");
    one("http-split", "httpbin", "httpbin-v2")?;

    // A deleted split frees space.
    mesh.kubectl(&["delete", "trafficsplit", "-n", "httpbin", "http-split"])?;
    mesh.wait_for_condition("httpbin", "second", "Programmed", ("True", "Programmed"))?;
    wait_for("the second to be served", || Ok((version_of(OTHER)? == "httpbin-v1").then_some(())))?;
    wait_for("the root to answer again", || Ok((version_now()? == "httpbin").then_some(())))?;
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    Ok(())
}

/// Two teams with one root, and an excluded namespace.
#[test]
fn older_split_wins_a_root_and_excluded_namespaces_are_not_split() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let sidecar = mesh.sidecar("curl")?;
    let one = |name, backend| mesh.apply(&split(name, "httpbin", &[(backend, 1)]));
    one("older", "httpbin-v1")?;
    mesh.wait_for_condition("httpbin", "older", "Programmed", ("True", "Programmed"))?;
    // creationTimestamp has a resolution of one second, and the name of the other split sorts first.
    std::thread::sleep(Duration::from_millis(1100));
    one("newer", "httpbin-v2")?;
    let condition = mesh.wait_for_condition("httpbin", "newer", "Accepted", ("False", "Conflict"))?;
    assert!(condition["message"].as_str().is_some_and(|message| message.contains("httpbin/older")), "{condition}");
    mesh.wait_for_condition("httpbin", "newer", "Programmed", ("False", "NotServed"))?;
    wait_for("the event", || {
        let events = mesh.kubectl(&["get", "events", "-n", "httpbin", "--field-selector", "reason=Conflict"])?;
        Ok((events.contains("newer") && events.contains("Warning")).then_some(()))
    })?;
    wait_for_all_threads("all to go to v1", || Ok(version_now()? == "httpbin-v1"))?;
    let load = Load::start(PORT, ROOT, 1);
    assert_eq!(controller.metric("traffic_split_controller_trafficsplits_not_programmed")?, 1.0);
    mesh.kubectl(&["delete", "trafficsplit", "-n", "httpbin", "older"])?;
    mesh.wait_for_condition("httpbin", "newer", "Accepted", ("True", "Accepted"))?;
    mesh.wait_for_condition("httpbin", "newer", "Programmed", ("True", "Programmed"))?;
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    assert_eq!(load.tally().of("httpbin"), 0, "the root always had a split: {:?}", load.tally());

    // The label takes effect immediately, and so does its removal.
    mesh.kubectl(&["label", "namespace", "curl", "traffic-split/exclude=true"])?;
    load.wait_until("the root to answer", |tally| tally.of("httpbin") > 0)?;
    mesh.kubectl(&["label", "namespace", "curl", "traffic-split/exclude-"])?;
    wait_for("all to go to v2", || {
        let seen = load.more(100)?;
        Ok((seen.of("httpbin-v2") == seen.total()).then_some(()))
    })?;
    mesh.kubectl(&["create", "namespace", "alone"])?;
    mesh.kubectl(&["label", "namespace", "alone", "traffic-split/exclude=true"])?;
    wait_for("the EnvoyFilter to exclude the namespace", || {
        let filter = mesh.get("envoyfilter", "istio-system", "traffic-split")?.to_string();
        Ok(filter.contains("alone").then_some(()))
    })?;
    let seen = load.more(100)?;
    assert_eq!(seen.of("httpbin-v2"), seen.total(), "another namespace's: {seen:?}");
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    drop(sidecar);
    let sidecar = mesh.sidecar("alone")?;
    wait_for_filter(&sidecar)?;
    let load = Load::start(PORT, ROOT, 1);
    let seen = load.more(100)?;
    assert_eq!(seen.of("httpbin"), seen.total(), "{seen:?}");
    Ok(())
}

/// Reports whether v2 receives this many requests within a short time.
fn wait_for_copies(httpbin: &HttpbinFixture, wanted: u64) -> bool {
    (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        httpbin.v2.requests() >= wanted
    })
}

/// Annotations and HTTPRouteGroups as in the examples.
#[test]
fn annotations_and_route_groups_apply_and_a_deleted_group_keeps_serving() -> Result<()> {
    let (guide, httpbin, mesh) = start_with_guide()?;
    let _controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    let example = |name: &str| {
        mesh.kubectl(&["apply", "-f", &guide.objects.join("..").join(name).display().to_string()])?;
        mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))
    };
    let ask = |path: &str, headers: &[(&str, &[u8])]| Client::new(PORT).get(ROOT, path, headers);
    let version = |headers: &[(&str, &[u8])]| Ok::<_, e2e::Error>(ask("/json", headers)?.version());

    example("override.yaml")?;
    wait_for_all_threads("the override", || Ok(version(&[("x-version", b"httpbin-v2")])? == "httpbin-v2"))?;
    assert_eq!((version(&[])?, version(&[("x-version", b"other")])?), ("httpbin-v1".into(), "httpbin-v1".into()));

    example("sticky.yaml")?;
    wait_for_all_threads("cookies to be set", || Ok(ask("/json", &[])?.header("set-cookie").is_some()))?;
    let cookie = ask("/json", &[])?.header("set-cookie").unwrap_or_default();
    let (pair, attributes) = cookie.split_once(';').ok_or("a cookie without attributes")?;
    assert!(pair.starts_with("canary=") && attributes.contains("Max-Age=86400"), "{cookie}");
    let first = ask("/json", &[("cookie", pair.as_bytes())])?;
    assert_eq!(first.header("set-cookie"), None);
    for _ in 0..20 {
        assert_eq!(version(&[("cookie", pair.as_bytes())])?, first.version());
    }
    // The same users get the same versions in each run, and some of them get the version with a tenth of the weight.
    let user = |number: u32| version(&[("x-user", format!("user-{number}").as_bytes())]);
    let users = (0..50).map(user).collect::<Result<Vec<_>>>()?;
    assert_eq!(users, (0..50).map(user).collect::<Result<Vec<_>>>()?);
    assert!(users.iter().any(|version| version == "httpbin-v2"), "{users:?}");

    example("mirror.yaml")?;
    let annotate = ["annotate", "trafficsplit", "-n", "httpbin", "http-split", "--overwrite"];
    mesh.kubectl(&[&annotate[..], &["traffic-split/mirror=httpbin-v2=100"]].concat())?;
    // All requests go to v1, so v2 receives only copies.
    wait_for_all_threads("all to go to v1", || Ok(version(&[])? == "httpbin-v1"))?;
    wait_for("v2 to get a copy of each", || {
        let before = httpbin.v2.requests();
        for _ in 0..20 {
            assert_eq!(version(&[])?, "httpbin-v1");
        }
        // Responses do not wait for copies.
        Ok(wait_for_copies(&httpbin, before + 20).then_some(()))
    })?;
    mesh.kubectl(&["delete", "trafficsplit", "-n", "httpbin", "http-split"])?;

    mesh.kubectl(&["apply", "-f", &guide.objects.join("../ab-test.yaml").display().to_string()])?;
    for name in ["insiders", "others"] {
        mesh.wait_for_condition("httpbin", name, "Programmed", ("True", "Programmed"))?;
    }
    wait_for_all_threads("the insiders' preview", || Ok(ask("/preview/", &[])?.version() == "httpbin-v2"))?;
    let android: [(&str, &[u8]); 2] =
        [("user-agent", b"Mozilla/5.0 (Linux; Android 14)"), ("cookie", b"a=b; type=insider")];
    assert_eq!(version(&android)?, "httpbin-v2");
    let load = Load::start(PORT, ROOT, 1);
    let others = load.more(1000)?;
    assert!(is_share(others.of("httpbin-v2"), others.total(), 0.1, 4.0), "{others:?}");

    // Only the group changes.
    mesh.apply(&split("others", "httpbin", &[("httpbin-v1", 1)]))?;
    let group = |path: &str| {
        let matches = json!({"spec": {"matches": [{"name": "preview", "pathRegex": path}]}}).to_string();
        mesh.kubectl(&["patch", "httproutegroup", "-n", "httpbin", "insiders", "--type=merge", "-p", &matches])
    };
    let is_beta = || {
        let versions = [ask("/beta/", &[])?.version(), ask("/preview/", &[])?.version(), version(&android)?];
        Ok(versions == ["httpbin-v2", "httpbin-v1", "httpbin-v1"])
    };
    group("/beta/")?;
    wait_for_all_threads("the new path of the group", is_beta)?;
    // The group becomes invalid, then it is deleted: the last valid version is served, and the condition reports it.
    group("/alpha/(")?;
    let condition = mesh.wait_for_condition("httpbin", "insiders", "ResolvedRefs", ("False", "RefNotFound"))?;
    assert!(condition["message"].as_str().is_some_and(|message| message.contains("last good")), "{condition}");
    assert!(is_beta()?);
    mesh.kubectl(&["delete", "httproutegroup", "-n", "httpbin", "insiders"])?;
    let condition = mesh.wait_for_condition("httpbin", "insiders", "Accepted", ("False", "Invalid"))?;
    assert!(condition["message"].as_str().is_some_and(|message| message.contains("insiders")), "{condition}");
    wait_for("the event", || {
        let events = mesh.kubectl(&["get", "events", "-n", "httpbin", "--field-selector", "reason=Invalid"])?;
        Ok(events.contains("insiders").then_some(()))
    })?;
    // Another split's change does not remove it.
    mesh.apply(&split("others", "httpbin", &[("httpbin-v1", 1), ("httpbin-v2", 0)]))?;
    mesh.wait_for_condition("httpbin", "others", "Programmed", ("True", "Programmed"))?;
    assert!(is_beta()?);
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    Ok(())
}

/// Other writers change the EnvoyFilter repeatedly.
#[test]
fn foreign_writes_to_the_envoyfilter_are_reverted_without_failed_requests() -> Result<()> {
    const FILTER: [&str; 4] = ["envoyfilter", "-n", "istio-system", "traffic-split"];
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    mesh.apply(&split("http-split", "httpbin", &[("httpbin-v1", 1)]))?;
    mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;
    let _sidecar = mesh.sidecar("curl")?;
    wait_for("v1 to answer", || Ok((version_now()? == "httpbin-v1").then_some(())))?;
    // Except for the VM id, which can differ.
    let spec = || -> Result<Value> {
        let mut filter = mesh.get("envoyfilter", "istio-system", "traffic-split")?;
        if let Some(id) = filter.pointer_mut("/spec/configPatches/2/patch/value/typed_config/config/vm_config/vm_id") {
            *id = Value::Null;
        }
        Ok(filter["spec"].clone())
    };
    let wanted = spec()?;
    let is_restored = || spec().is_ok_and(|spec| spec == wanted);

    let configuration = "/spec/configPatches/2/patch/value/typed_config/config/configuration/value";
    let patch = |value: &str| {
        let patch = json!([{"op": "replace", "path": configuration, "value": value}]).to_string();
        let arguments: Vec<_> = [&["patch"], &FILTER[..], &["--type=json", "-p", &patch]].concat();
        mesh.kubectl(&arguments)
    };
    let applied = |spec: Value| {
        let object = json!({
            "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
            "metadata": {"name": "traffic-split", "namespace": "istio-system"}, "spec": spec,
        });
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-f", "-"];
        mesh.kubectl_with_input(&arguments, &object.to_string())
    };
    let theirs = json!({"workloadSelector": {"labels": {"app": "theirs"}}, "priority": 10, "configPatches": []});
    let write: [(&str, &dyn Fn() -> Result<String>); 4] = [
        ("no configuration", &|| patch("{")),
        ("no splits", &|| patch("{}")),
        // The controller has no permission to create the EnvoyFilter, so the manifest is applied again.
        ("none at all", &|| {
            mesh.kubectl(&[&["delete"], &FILTER[..]].concat())?;
            mesh.kubectl(&["apply", "-f", &e2e::mesh::manifests().join("envoyfilter.yaml").display().to_string()])
        }),
        ("their own", &|| applied(theirs.clone())),
    ];
    let load = Load::start(PORT, ROOT, 1);
    for (what, write) in write {
        let until = Instant::now() + Duration::from_secs(2);
        let mut times = 0;
        while times < 2 || Instant::now() < until {
            // The EnvoyFilter may not exist at this moment.
            times += u32::from(write().is_ok());
        }
        let begun = Instant::now();
        wait_for(&format!("the EnvoyFilter to be restored after {what}"), || Ok(is_restored().then_some(())))?;
        wait_for(&format!("all to go to v1 after {what}"), || {
            let seen = load.more(100)?;
            Ok((seen.of("httpbin-v1") == seen.total()).then_some(()))
        })?;
        println!("{what}, {times} times: restored {:.1?} after the last", begun.elapsed());
    }
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    // The controller stops writing.
    let writes = || controller.metric("traffic_split_controller_envoyfilter_writes_total");
    let before = writes()?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(writes()?, before);
    println!("{before} writes, {:?}", tally);
    Ok(())
}

/// The API server hangs, its connections go silent, or it loses the resourceVersions of the watches.
#[test]
fn hung_partitioned_or_compacted_api_server_loses_no_request_or_change() -> Result<()> {
    let (guide, _httpbin, mut mesh) = start_with_guide()?;
    let relay = mesh.relay_api()?;
    let mut controllers = ["controller-1", "controller-2"]
        .into_iter()
        .map(|name| mesh.controller(&guide, name))
        .collect::<Result<Vec<_>>>()?;
    let _sidecar = mesh.sidecar("curl")?;
    // Under load: a failure of the API server, then a change. The change reaches the sidecar, and one replica leads.
    let mut change = |what: &str, backend: &str, happens: &dyn Fn(&mut Mesh) -> Result<()>| {
        let load = Load::start(PORT, ROOT, 1);
        happens(&mut mesh)?;
        let begun = Instant::now();
        mesh.apply(&split("http-split", "httpbin", &[(backend, 1)]))?;
        let applied = begun.elapsed();
        load.wait_until(&format!("the change after {what}"), |tally| tally.of(backend) > 0)?;
        let out = begun.elapsed() - applied;
        mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;
        wait_for("one replica to lead", || {
            let leads = controllers.iter().map(|controller| controller.metric("traffic_split_controller_leader"));
            Ok((leads.sum::<Result<f64>>()? == 1.0).then_some(()))
        })?;
        let tally = load.stop();
        println!(
            "{what}: kubectl took {applied:.1?}, the change was out {out:.1?} after it; {} requests",
            tally.total()
        );
        assert_eq!(tally.failed, 0, "{what}: {tally:?}");
        Ok::<_, e2e::Error>(())
    };
    change("nothing", "httpbin-v1", &|_| Ok(()))?;
    change("halted", "httpbin-v2", &|mesh| {
        mesh.halt_api(true)?;
        // Longer than the duration of the lease.
        std::thread::sleep(Duration::from_secs(15));
        mesh.halt_api(false)
    })?;
    change("silent", "httpbin-v1", &|_| {
        let connections = relay.silence();
        assert!(connections >= 9, "each kind of object is watched: {connections}");
        Ok(())
    })?;
    // The API server restarts without the resourceVersions from which the controllers would watch.
    change("forgetful", "httpbin-v2", &|mesh| {
        mesh.stop_api();
        mesh.compact_etcd()?;
        mesh.start_api()
    })?;
    for controller in &mut controllers {
        controller.process.check_running()?;
        // Otherwise the test did not cover an expired resourceVersion.
        assert!(controller.process.log().contains("too old resource version"), "{}", controller.process.tail());
    }
    Ok(())
}
