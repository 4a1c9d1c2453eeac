//! The counters by split, backend and reason, as Prometheus scrapes them from a plain Envoy and from Istio's sidecar.

use e2e::bootstrap::{Bootstrap, ROOT_CLUSTER, Wasm};
use e2e::client::Client;
use e2e::envoy::Envoy;
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::{HttpbinFixture, OTHER, ROOT};
use e2e::scratch::Scratch;
use e2e::{Error, Result, wait_for};
use fixtures::TrafficSplit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Returns a TrafficSplit with this name, weights 50/50, an override header and stickiness.
fn split(name: &str) -> Value {
    TrafficSplit::new(name, "httpbin")
        .namespace("httpbin")
        .annotation("override-header", "x-version")
        .annotation("sticky-header", "x-user")
        .annotation("sticky-cookie", "version-of")
        .backends(&[("httpbin-v1", 50), ("httpbin-v2", 50)])
        .build()
}

/// Sends requests of each kind. Returns the expected lines of Prometheus, sorted.
fn ask(port: u16, split: &str) -> Result<Vec<String>> {
    let mut client = Client::new(port);
    let mut counts = BTreeMap::new();
    let mut ask = |reason: &'static str, headers: &[(&str, &[u8])]| -> Result<()> {
        let answer = client.get(ROOT, "/json", headers)?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        *counts.entry((answer.version(), reason)).or_insert(0) += 1;
        Ok(())
    };
    for number in 0..30 {
        let user = format!("user-{number}");
        ask("sticky", &[("x-user", user.as_bytes())])?;
        // The first visit sets the cookie; the second one sends it.
        ask("sticky", &[])?;
        ask("sticky", &[("cookie", format!("version-of={user}").as_bytes())])?;
    }
    for (number, version) in [(7, "httpbin-v1"), (5, "httpbin-v2")] {
        for _ in 0..number {
            ask("override", &[("x-version", version.as_bytes()), ("x-user", b"ann")])?;
        }
    }
    // Requests that are not split are not counted.
    assert_eq!(client.get(OTHER, "/json", &[])?.status, 200);
    let line = |((backend, reason), count): ((String, &str), u64)| {
        let labels = format!(r#"split="httpbin/{split}",backend="{backend}",reason="{reason}""#);
        format!("traffic_split_requests{{{labels}}} {count}")
    };
    let lines: Vec<String> = counts.into_iter().map(line).collect();
    assert_eq!(lines.len(), 4, "each version was asked for each reason: {lines:?}");
    Ok(lines)
}

/// Returns the filter's lines in the Prometheus output, sorted.
fn scrape(envoy: &Envoy) -> Result<Vec<String>> {
    let metrics = envoy.admin("/stats/prometheus")?;
    let ours = metrics.lines().filter(|line| line.starts_with("traffic_split_requests"));
    let mut lines: Vec<String> = ours.map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn each_reason_has_its_own_counter() -> Result<()> {
    let (guide, name) = (Guide::built()?, "http-split");
    let sidecar = Sidecar::start_with(&guide, &split(name).to_string(), &[])?;
    let expected = ask(sidecar.port, name)?;
    assert_eq!(scrape(&sidecar.envoy)?, expected);

    // More than the weights change, so the configuration gets another VM, and Envoy drops the counters of the old VM.
    let mut by_chance = split(name);
    by_chance["metadata"]["annotations"] = json!({});
    by_chance["spec"]["backends"][1]["weight"] = 0.into();
    let ask_twenty = || -> Result<()> {
        for _ in 0..20 {
            assert_eq!(Client::new(sidecar.port).get(ROOT, "/json", &[])?.version(), "httpbin-v1");
        }
        Ok(())
    };
    let of_chance = |count: u32| {
        let labels = r#"split="httpbin/http-split",backend="httpbin-v1",reason="random""#;
        vec![format!("traffic_split_requests{{{labels}}} {count}")]
    };
    sidecar.apply_objects(&guide, &by_chance.to_string())?;
    ask_twenty()?;
    let expected = of_chance(20);
    wait_for("the old VM's counters to go", || Ok((scrape(&sidecar.envoy)? == expected).then_some(())))?;

    // Only weights change, so the counters continue.
    by_chance["spec"]["backends"][0]["weight"] = 7.into();
    sidecar.apply_objects(&guide, &by_chance.to_string())?;
    ask_twenty()?;
    assert_eq!(scrape(&sidecar.envoy)?, of_chance(40));
    Ok(())
}

/// Returns the stats settings in the bootstrap of an Istio sidecar that affect the filter's counter, for a pod with
/// `sidecar.istio.io/extraStatTags: split,backend,reason`.
///
/// Source of the tags: istio/istio, `tools/packaging/common/envoy_bootstrap.json`, in its order. The rule of an extra
/// tag is built from its name; the other rules are those that are not anchored to the beginning of another stat's
/// name. Source of the inclusion list: the same file, and `requiredEnvoyStatsMatcherInclusionPrefixes` in
/// `pkg/bootstrap/config.go`. The counter's name begins with `wasmcustom.`, so the prefix `wasm` includes it.
fn istio() -> Value {
    let rule = |name: &str, regex: &str| json!({"tag_name": name, "regex": regex});
    let extra = ["split", "backend", "reason"].map(|tag| rule(tag, &format!(r"({tag}=\.=(.*?);\.;)")));
    let mut tags = vec![
        rule("cluster_name", r"^cluster(\.(.+);)"),
        rule("response_code", r"_rq(_(\d{3}))$"),
        rule("response_code_class", r"_rq(_(\dxx))$"),
    ];
    tags.extend(extra);
    tags.extend([
        rule("cache", r"(cache\.(.+?)\.)"),
        rule("component", r"(component\.(.+?)\.)"),
        rule("tag", r"(tag\.(.+?);\.)"),
        rule("wasm_filter", r"(wasm_filter\.(.+?)\.)"),
        rule("authz_enforce_result", r"rbac(\.(allowed|denied))"),
        rule("authz_dry_run_action", r"(\.istio_dry_run_(allow|deny)_)"),
        rule("authz_dry_run_result", r"(\.shadow_(allowed|denied))"),
    ]);
    let prefixes = ["reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm"];
    let prefixes = prefixes.into_iter().chain(["component", "istio"]);
    json!({
        "use_all_default_tags": false,
        "stats_tags": tags,
        "stats_matcher": {
            "inclusion_list": {"patterns": prefixes.map(|prefix| json!({"prefix": prefix})).collect::<Vec<_>>()},
        },
    })
}

#[test]
fn istio_stats_rules_give_the_same_labels() -> Result<()> {
    let (guide, httpbin, scratch) = (Guide::built()?, HttpbinFixture::start()?, Scratch::new()?);
    let name = "http-split";
    let configuration = json!({"trafficSplits": [split(name)]});
    let cluster = |service: &str| format!("outbound|14001||{service}.httpbin.svc.cluster.local");
    let bootstrap = Bootstrap {
        namespace: "curl",
        listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        clusters: vec![
            (cluster("httpbin-v1"), httpbin.v1.address()),
            (cluster("httpbin-v2"), httpbin.v2.address()),
            (ROOT_CLUSTER.to_owned(), httpbin.root.address()),
        ],
        hosts: Vec::new(),
        strips: true,
        wasm: Wasm::new(&guide.wasm, &configuration.to_string()),
    };
    let text = bootstrap.text();
    let mut bootstrap: Value = serde_json::from_str(&text).map_err(|error| Error(error.to_string()))?;
    bootstrap["stats_config"] = istio();
    let envoy = Envoy::start(&bootstrap.to_string(), scratch.path())?;
    let expected = ask(envoy.listener_port("outbound-0")?, name)?;
    assert_eq!(scrape(&envoy)?, expected);
    // Stats outside of the list are excluded.
    assert_eq!(envoy.find_stat(&format!("cluster.{ROOT_CLUSTER}.upstream_rq_total"))?, None);
    Ok(())
}
