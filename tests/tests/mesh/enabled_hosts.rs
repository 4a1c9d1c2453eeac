//! The filter runs only in the virtual hosts of roots.

use e2e::client::{Client, Load};
use e2e::envoy::Envoy;
use e2e::httpbin::{OTHER, ROOT};
use e2e::mesh::{Mesh, PORT, split, start_with_guide, version_at, wait_for_all_threads, wait_for_filter};
use e2e::{Result, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// A port whose protocol the Service does not declare, so Istio detects it.
const UNDECLARED: u16 = PORT + 1;

/// Returns the names of the virtual hosts of a proxy that enable the filter.
fn enabled(proxy: &Envoy) -> Result<BTreeSet<String>> {
    Ok(enabled_hosts(proxy)?.iter().filter_map(|host| Some(host["name"].as_str()?.to_owned())).collect())
}

fn enabled_hosts(proxy: &Envoy) -> Result<Vec<Value>> {
    let dump: Value = serde_json::from_str(&proxy.admin("/config_dump?resource=dynamic_route_configs")?)
        .map_err(|error| e2e::Error(error.to_string()))?;
    let configs = dump["configs"].as_array().into_iter().flatten();
    let hosts = configs.flat_map(|config| config["route_config"]["virtual_hosts"].as_array().into_iter().flatten());
    let enabled = hosts.filter(|host| {
        host["typed_per_filter_config"]["istio-system.traffic-split"]["is_optional"] == Value::Bool(true)
    });
    Ok(enabled.cloned().collect())
}

fn wait_for_enabled(proxy: &Envoy, names: &[&str]) -> Result<()> {
    let wanted: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut last = BTreeSet::new();
    wait_for(&format!("the filter to be enabled in {names:?}"), || {
        last = enabled(proxy)?;
        Ok((last == wanted).then_some(()))
    })
    .map_err(|error| e2e::Error(format!("{error}; enabled in {last:?}")))
}

#[test]
fn splits_and_roots_come_and_go_without_failed_requests_or_listener_changes() -> Result<()> {
    const HTTPBIN: &str = "httpbin.httpbin.svc.cluster.local:14001";
    const SECOND: &str = "other.httpbin.svc.cluster.local:14001";
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let _controller = mesh.controller(&guide, "controller-1")?;
    mesh.wait_for_envoy_filter()?;
    let sidecar = mesh.sidecar("curl")?;
    wait_for_filter(&sidecar)?;
    wait_for_enabled(&sidecar, &[])?;
    let modified = sidecar.stat("listener_manager.listener_modified")?;

    let loads = [ROOT, OTHER].map(|host| Load::start(PORT, host, 2));
    let delete = |name: &str| mesh.kubectl(&["delete", "trafficsplit", "-n", "httpbin", name]);
    for _ in 0..3 {
        mesh.apply(&split("first", "httpbin", &[("httpbin-v1", 1)]))?;
        wait_for_all_threads("v1 to answer", || Ok(version_at(PORT, ROOT)? == "httpbin-v1"))?;
        wait_for_enabled(&sidecar, &[HTTPBIN])?;
        mesh.apply(&split("second", "other", &[("httpbin-v2", 1)]))?;
        wait_for_all_threads("v2 to answer", || Ok(version_at(PORT, OTHER)? == "httpbin-v2"))?;
        wait_for_enabled(&sidecar, &[HTTPBIN, SECOND])?;
        delete("first")?;
        wait_for_all_threads("the root to answer", || Ok(version_at(PORT, ROOT)? == "httpbin"))?;
        wait_for_enabled(&sidecar, &[SECOND])?;
        assert_eq!(version_at(PORT, OTHER)?, "httpbin-v2");
        delete("second")?;
        wait_for_all_threads("the other root to answer", || Ok(version_at(PORT, OTHER)? == "other"))?;
        wait_for_enabled(&sidecar, &[])?;
    }
    for load in loads {
        let tally = load.stop();
        assert_eq!(tally.failed, 0, "{tally:?}");
        println!("{} requests, 0 failed", tally.total());
    }
    assert_eq!(sidecar.stat("listener_manager.listener_modified")?, modified);
    Ok(())
}

/// Headers that a client forges.
const FORGED: [(&str, &[u8]); 4] = [
    ("x-traffic-split-cluster", b"outbound|14001||httpbin-v2.httpbin.svc.cluster.local"),
    ("x-traffic-split-mirror", b"outbound|14001||httpbin-v2.httpbin.svc.cluster.local"),
    ("x-traffic-split-backend", b"forged"),
    ("x-traffic-split-set-cookie", b"forged=1"),
];

#[test]
fn forged_headers_have_no_effect_where_the_filter_is_disabled() -> Result<()> {
    let (guide, httpbin, mesh) = start_with_guide()?;
    let _controller = mesh.controller(&guide, "controller-1")?;
    mesh.wait_for_envoy_filter()?;
    let sidecar = mesh.sidecar("curl")?;
    mesh.apply(&split("first", "httpbin", &[("httpbin-v1", 1)]))?;
    wait_for_all_threads("v1 to answer", || Ok(version_at(PORT, ROOT)? == "httpbin-v1"))?;
    for (host, version) in [(OTHER, "other"), ("httpbin-v1.httpbin:14001", "httpbin-v1"), (ROOT, "httpbin-v1")] {
        let answer = Client::new(PORT).get(host, "/json", &FORGED)?;
        assert_eq!((answer.status, answer.version().as_str()), (200, version), "{host}");
        for (header, _) in FORGED.iter().filter(|(header, _)| *header != "x-traffic-split-backend" || host != ROOT) {
            assert_eq!(answer.received(header), Vec::<String>::new(), "{host}: {header}");
        }
        assert_eq!(answer.header("set-cookie"), None, "{host}");
    }
    assert_eq!(httpbin.v2.requests(), 0, "neither called nor mirrored to");
    drop(sidecar);
    Ok(())
}

/// Istio gives such a port a route configuration of its own, whose virtual host has the domain `*`.
#[test]
fn port_whose_protocol_istio_detects_is_split() -> Result<()> {
    let (guide, httpbin, mesh) = start_with_guide()?;
    for (name, pod) in [("detected", &httpbin.root), ("detected-v1", &httpbin.v1)] {
        add_undeclared(&mesh, name, pod.address())?;
    }
    let _controller = mesh.controller(&guide, "controller-1")?;
    mesh.wait_for_envoy_filter()?;
    let sidecar = mesh.sidecar("curl")?;
    let host = format!("detected.httpbin:{UNDECLARED}");
    wait_for("the root to answer", || {
        Ok(version_at(UNDECLARED, &host).is_ok_and(|version| version == "httpbin").then_some(()))
    })?;
    mesh.apply(&split("detected", "detected", &[("detected-v1", 1)]))?;
    wait_for_all_threads("v1 to answer", || Ok(version_at(UNDECLARED, &host)? == "httpbin-v1"))?;
    let hosts = enabled_hosts(&sidecar)?;
    let names: Vec<_> = hosts.iter().map(|host| (&host["name"], &host["domains"])).collect();
    assert_eq!(json!(names), json!([[format!("detected.httpbin.svc.cluster.local:{UNDECLARED}"), ["*"]]]));
    Ok(())
}

/// Creates a Service with the port [`UNDECLARED`] and its address.
fn add_undeclared(mesh: &Mesh, name: &str, address: SocketAddr) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "httpbin"},
        "spec": {"ports": [{"name": "undeclared", "port": UNDECLARED}]},
    });
    let entry = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "httpbin"},
        "spec": {
            "hosts": [format!("{name}.httpbin.svc.cluster.local")],
            "ports": [{"number": UNDECLARED, "name": "undeclared"}],
            "resolution": "STATIC",
            "location": "MESH_INTERNAL",
            "endpoints": [{"address": address.ip(), "ports": {"undeclared": address.port()}}],
        },
    });
    mesh.apply(&service.to_string())?;
    mesh.apply(&entry.to_string()).map(|_| ())
}
