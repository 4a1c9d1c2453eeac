//! The further targets of `traffic-split render` for Istio on a real mesh: a WasmPlugin, an EnvoyFilter of one
//! namespace or of some pods, and gateways.

use e2e::client::{Client, Load};
use e2e::envoy::{Envoy, free_port};
use e2e::guide::Guide;
use e2e::httpbin::{OTHER, ROOT};
use e2e::mesh::{Mesh, PORT, start_with_guide, version_at, wait_for_all_threads};
use e2e::{Result, is_share, wait_for};
use serde_json::json;
use std::ffi::OsString;
use std::fs;

/// Returns the output of `traffic-split render` for the guide's split with these weights.
fn render(guide: &Guide, mesh: &Mesh, to: &str, options: &[&str], (v1, v2): (u32, u32)) -> Result<String> {
    let split = guide.traffic_split(&mesh.scratch, v1, v2)?;
    let wasm = ["--wasm".into(), fs::canonicalize(&guide.wasm)?.into()];
    let options: Vec<OsString> = wasm.into_iter().chain(options.iter().map(OsString::from)).collect();
    guide.render(to, &options, &split)
}

fn has_filter(proxy: &Envoy) -> Result<bool> {
    Ok(proxy.admin("/config_dump?resource=dynamic_listeners")?.contains("traffic-split"))
}

/// The output of `render wasmplugin` is applied unchanged; its documented limits hold.
#[test]
fn rendered_wasm_plugin_splits_and_an_invalid_one_makes_new_proxies_answer_500() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let rendered = |weights| render(&guide, &mesh, "wasmplugin", &["--response-header", "x-served-by"], weights);
    let sidecar = mesh.sidecar("curl")?;
    assert_eq!(version_at(PORT, ROOT)?, "httpbin");
    mesh.apply(&rendered((100, 0))?)?;
    wait_for_all_threads("v1 to answer", || Ok(version_at(PORT, ROOT)? == "httpbin-v1"))?;
    let served_by = Client::new(PORT).get(ROOT, "/json", &[])?.headers_named("x-served-by");
    assert_eq!(served_by, ["httpbin-v1"]);
    let modified = sidecar.stat("listener_manager.listener_modified")?;

    let load = Load::start(PORT, ROOT, 2);
    load.more(200)?;
    mesh.apply(&rendered((90, 10))?)?;
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    // Until both of the load's connections have the change.
    load.more(500)?;
    let tenth = load.more(2000)?;
    assert!(is_share(tenth.of("httpbin-v2"), tenth.total(), 0.1, 4.0), "{tenth:?}");
    mesh.apply(&rendered((0, 100))?)?;
    wait_for("all to go to v2", || Ok((load.more(100)?.of("httpbin-v1") == 0).then_some(())))?;
    let tally = load.stop();
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert_eq!(sidecar.stat("listener_manager.listener_modified")?, modified);
    assert_eq!(version_at(PORT, OTHER)?, "other");
    println!("{} requests, 0 failed", tally.total());

    // A running proxy keeps its configuration; a new proxy has none.
    let good = mesh.get("wasmplugin", "istio-system", "traffic-split")?["spec"]["pluginConfig"].clone();
    let set = |configuration: &serde_json::Value| {
        let patch = json!([{"op": "replace", "path": "/spec/pluginConfig", "value": configuration}]).to_string();
        mesh.kubectl(&["patch", "wasmplugin", "-n", "istio-system", "traffic-split", "--type=json", "-p", &patch])
    };
    let mut bad = good.clone();
    bad["trafficSplits"][0]["spec"]["backends"] = json!([]);
    set(&bad)?;
    wait_for("the bad configuration to be refused", || {
        Ok(sidecar.extension_stat("update_rejected").ok().filter(|refused| *refused > 0))
    })?;
    assert_eq!((version_at(PORT, ROOT)?, version_at(PORT, OTHER)?), ("httpbin-v2".into(), "other".into()));
    drop(sidecar);
    let sidecar = mesh.sidecar("curl")?;
    for host in [ROOT, OTHER] {
        assert_eq!(Client::new(PORT).get(host, "/json", &[])?.status, 500, "{host}");
    }
    set(&good)?;
    wait_for_all_threads("both to be served", || {
        Ok((version_at(PORT, ROOT)?, version_at(PORT, OTHER)?) == ("httpbin-v2".into(), "other".into()))
    })?;
    drop(sidecar);
    Ok(())
}

/// Proxies that the EnvoyFilter does not select are not changed.
#[test]
fn envoy_filter_applies_only_to_its_namespace_or_pods() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    mesh.kubectl(&["create", "namespace", "elsewhere"])?;
    for (options, named, others) in [
        (["--namespace", "curl"], ("curl", "shell"), ("elsewhere", "curl")),
        (["--selector", "app=curl"], ("elsewhere", "curl"), ("curl", "shell")),
    ] {
        let filter = render(&guide, &mesh, "envoyfilter", &options, (100, 0))?;
        mesh.apply(&filter)?;
        // The sidecars bind the same port, so they run one after the other.
        let sidecar = mesh.sidecar_of(named.0, named.1)?;
        wait_for(&format!("{options:?} to be in force for {named:?}"), || {
            Ok((version_at(PORT, ROOT)? == "httpbin-v1").then_some(()))
        })?;
        assert!(has_filter(&sidecar)?);
        drop(sidecar);
        // The second sidecar starts with the configuration that the first one has by now.
        let sidecar = mesh.sidecar_of(others.0, others.1)?;
        assert!(!has_filter(&sidecar)?, "{options:?} should leave {others:?} alone");
        let load = Load::start(PORT, ROOT, 1);
        let seen = load.more(100)?;
        assert_eq!(seen.of("httpbin"), seen.total(), "{options:?} {others:?}: {seen:?}");
        drop((load, sidecar));
        mesh.kubectl_with_input(&["delete", "-f", "-"], &filter)?;
    }
    Ok(())
}

/// A gateway splits external requests only for the host names that the operator configures for a root.
#[test]
fn gateway_splits_only_hosts_that_the_operator_lists() -> Result<()> {
    const SHOP: &str = "shop.example.com";
    let (guide, _httpbin, mesh) = start_with_guide()?;
    mesh.kubectl(&["create", "namespace", "ingress"])?;
    let port = free_port()?;
    let istio = |kind: &str, namespace: &str, spec: serde_json::Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": kind,
            "metadata": {"name": "shop", "namespace": namespace}, "spec": spec,
        })
        .to_string()
    };
    let server = json!({
        "port": {"number": port, "name": "http", "protocol": "HTTP"},
        "bind": "127.0.0.1",
        "hosts": ["*"],
    });
    mesh.apply(&istio("Gateway", "ingress", json!({"selector": {"app": "ingress"}, "servers": [server]})))?;
    let routes = |host: &str| json!([{"route": [{"destination": {"host": format!("{host}.httpbin.svc.cluster.local"), "port": {"number": PORT}}}]}]);
    let spec = json!({"hosts": [SHOP], "gateways": ["ingress/shop"], "http": routes("httpbin")});
    mesh.apply(&istio("VirtualService", "httpbin", spec))?;
    let gateway = mesh.gateway("ingress", "ingress", port)?;
    wait_for("the root to answer", || Ok((version_at(port, SHOP)? == "httpbin").then_some(())))?;

    let config = mesh.scratch.join("config.yaml");
    fs::write(&config, format!("hosts:\n  {SHOP}: httpbin/httpbin\n"))?;
    let config = config.display().to_string();
    // An EnvoyFilter for sidecars does not affect the gateway.
    let own_port = port.to_string();
    let rendered = |context, weights| {
        let mut options = vec!["--config", &config, "--context", context];
        if context != "sidecar" {
            options.extend(["--gateway-port", &own_port]);
        }
        render(&guide, &mesh, "envoyfilter", &options, weights)
    };
    mesh.apply(&rendered("sidecar", (100, 0))?)?;
    let sidecar = mesh.sidecar("curl")?;
    wait_for("v1 to answer the sidecar", || Ok((version_at(PORT, ROOT)? == "httpbin-v1").then_some(())))?;
    assert_eq!((version_at(port, SHOP)?, has_filter(&gateway)?), ("httpbin".into(), false));

    for context in ["both", "gateway"] {
        mesh.apply(&rendered(context, (100, 0))?)?;
        wait_for("v1 to answer the gateway", || Ok((version_at(port, SHOP)? == "httpbin-v1").then_some(())))?;
        let wanted = if context == "both" { "httpbin-v1" } else { "httpbin" };
        wait_for("the sidecar to follow", || Ok((version_at(PORT, ROOT)? == wanted).then_some(())))?;
        let load = Load::start(port, SHOP, 2);
        load.more(200)?;
        mesh.apply(&rendered(context, (50, 50))?)?;
        load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
        // Until both of the load's connections have the change.
        load.more(500)?;
        let halves = load.more(1000)?;
        assert!(is_share(halves.of("httpbin-v2"), halves.total(), 0.5, 4.0), "{context}: {halves:?}");
        let tally = load.stop();
        assert_eq!(tally.failed, 0, "{context}: {tally:?}");
    }
    // The port in a client's Host is the listener's, or missing: no other port of the Service can be reached.
    let answer = version_at(port, &format!("SHOP.example.com:{port}"))?;
    assert!(["httpbin-v1", "httpbin-v2"].contains(&answer.as_str()), "{answer}");
    for other in [80, 9090, PORT] {
        assert_eq!(version_at(port, &format!("{SHOP}:{other}"))?, "httpbin", "{other}");
    }
    // External clients select no cluster and reach no Service by its internal name, whether the gateway routes all
    // hosts or none.
    let cluster: (&str, &[u8]) = ("x-traffic-split-cluster", b"outbound|14001||httpbin-v1.httpbin.svc.cluster.local");
    let ask = |host: &str| Client::new(port).get(host, "/json", &[cluster]);
    let all = json!({"hosts": ["*"], "gateways": ["ingress/shop"], "http": routes("other")});
    mesh.apply(&istio("VirtualService", "httpbin", all))?;
    wait_for_all_threads("other to answer", || Ok(ask("nobody.example.com")?.version() == "other"))?;
    for host in ["httpbin.httpbin", ROOT, "httpbin.httpbin.svc.cluster.local", "a.shop.example.com", "shopxexample.com"]
    {
        assert_eq!(ask(host)?.version(), "other", "{host}");
    }
    wait_for("both versions to answer", || {
        let load = Load::start(port, SHOP, 1);
        let seen = load.more(50)?;
        Ok((seen.of("httpbin-v1") > 0 && seen.of("httpbin-v2") > 0).then_some(()))
    })?;
    mesh.kubectl(&["delete", "virtualservice", "-n", "httpbin", "shop"])?;
    wait_for_all_threads("the gateway to route nothing", || Ok(ask("nobody.example.com")?.status == 404))?;
    for host in ["httpbin.httpbin", ROOT, SHOP] {
        assert_eq!(ask(host)?.status, 404, "{host}");
    }
    drop(sidecar);
    Ok(())
}
