//! The canary guide on a real mesh: the Kubernetes API, Istiod, and the sidecar.

use e2e::bootstrap::TRAPPING;
use e2e::client::{Client, Load};
use e2e::httpbin::{OTHER, ROOT};
use e2e::mesh::{PORT, start_with_guide, version_at, wait_for_all_threads};
use e2e::{Result, is_share, wait_for};
use serde_json::json;
use std::fs;
use std::path::Path;

/// The output of `traffic-split render envoyfilter` is applied unchanged.
#[test]
fn rendered_envoy_filter_splits_and_updates_without_listener_change() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let sidecar = mesh.sidecar("curl")?;
    assert_eq!(version_at(PORT, ROOT)?, "httpbin");

    let wasm = fs::canonicalize(&guide.wasm)?;
    let options = ["--wasm".into(), wasm.into(), "--response-header".into(), "x-served-by".into()];
    let apply = |v1, v2| {
        let split = guide.traffic_split(&mesh.scratch, v1, v2)?;
        mesh.apply(&guide.render("envoyfilter", &options, &split)?)
    };
    apply(100, 0)?;
    wait_for_all_threads("v1 to answer", || Ok(version_at(PORT, ROOT)? == "httpbin-v1"))?;
    let modified = sidecar.stat("listener_manager.listener_modified")?;
    // Istiod drops a patch with an unknown field.
    let routes = sidecar.admin("/config_dump?resource=dynamic_route_configs")?;
    for setting in ["grpc_timeout_header_max", "disable_shadow_host_suffix_append", "request_headers_mutations"] {
        assert!(routes.contains(setting), "{setting}");
    }

    let load = Load::start(PORT, ROOT, 2);
    load.more(200)?;
    apply(50, 50)?;
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    // Until all of Envoy's threads have the change.
    load.more(1000)?;
    let halves = load.more(1000)?;
    let tally = load.stop();
    assert_eq!(tally.total() - tally.of("httpbin-v1") - tally.of("httpbin-v2"), 0, "{tally:?}");
    assert!(is_share(halves.of("httpbin-v2"), halves.total(), 0.5, 5.0), "{halves:?}");
    assert_eq!(sidecar.stat("listener_manager.listener_modified")?, modified);
    assert_eq!(version_at(PORT, OTHER)?, "other");
    Ok(())
}

/// A sidecar that starts with an invalid configuration, or without the filter, routes as without a filter until a
/// valid configuration arrives. The filter's headers in client requests have no effect: before, after, and when the
/// filter's VM has ended.
#[test]
fn invalid_configuration_dead_filter_and_forged_headers_misroute_no_request() -> Result<()> {
    const CLUSTER: &[u8] = b"outbound|14001||other.httpbin.svc.cluster.local";
    let (guide, httpbin, mesh) = start_with_guide()?;
    let split = guide.traffic_split(&mesh.scratch, 100, 0)?;
    let render = |wasm: &Path| {
        let options = ["--wasm".into(), wasm.into(), "--failure-policy".into(), "open".into()];
        guide.render("envoyfilter", &options, &split)
    };
    let good = render(&fs::canonicalize(&guide.wasm)?)?;
    let ask = |host: &str| {
        let headers: [(&str, &[u8]); 2] = [("x-traffic-split-cluster", CLUSTER), ("x-traffic-split-mirror", CLUSTER)];
        let answer = Client::new(PORT).get(host, "/json", &headers)?;
        assert_eq!((answer.status, answer.received("x-traffic-split-mirror")), (200, vec![]), "{host}");
        Ok::<_, e2e::Error>(answer.version())
    };
    let extension = "/spec/configPatches/2/patch/value/typed_config";
    for (path, value) in [
        (format!("{extension}/config/configuration/value"), json!("{")),
        // Istio's agent replaces a filter that it cannot fetch by one that denies all requests.
        (
            extension.to_owned(),
            json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules": {}}),
        ),
    ] {
        let patch = json!([{"op": "replace", "path": path, "value": value}]).to_string();
        let patch = ["patch", "--local", "-f", "-", "--type=json", "-o", "json", "-p", &patch];
        mesh.apply(&mesh.kubectl_with_input(&patch, &good)?)?;
        let sidecar = mesh.sidecar("curl")?;
        wait_for("Envoy to reject the invalid configuration", || {
            Ok(sidecar.extension_stat("update_rejected").ok().filter(|refused| *refused > 0))
        })?;
        assert_eq!((ask(ROOT)?, ask(OTHER)?), ("httpbin".into(), "other".into()));
    }

    let _sidecar = mesh.sidecar("curl")?;
    mesh.apply(&good)?;
    wait_for("v1 to answer", || Ok((ask(ROOT)? == "httpbin-v1").then_some(())))?;
    assert_eq!(ask(OTHER)?, "other");
    assert_eq!(httpbin.other.requests(), 3, "no copy was made");

    let trap = mesh.scratch.join("trap.wasm");
    fs::write(&trap, wat::parse_str(TRAPPING).map_err(|error| error.to_string())?)?;
    mesh.apply(&render(&trap)?)?;
    wait_for("the filter's VM to end", || {
        // The request that traps gets 503.
        let answer = Client::new(PORT).get(ROOT, "/json", &[("x-traffic-split-cluster", CLUSTER)])?;
        Ok((answer.version() == "httpbin").then_some(()))
    })?;
    Ok(())
}
