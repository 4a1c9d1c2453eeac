//! Safety properties in a real Envoy: no client selects its own cluster, no request stops the filter, no
//! configuration stops traffic, and no reload leaks memory.

use e2e::bootstrap::{Bootstrap, ROOT_CLUSTER, TRAPPING, Wasm};
use e2e::client::{Answer, Client, Load};
use e2e::envoy::Envoy;
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::{HttpbinFixture, OTHER, ROOT};
use e2e::pod::Pod;
use e2e::scratch::Scratch;
use e2e::{Error, Result};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) const V1: &str = "outbound|14001||httpbin-v1.httpbin.svc.cluster.local";
pub(crate) const V2: &str = "outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
/// A host without its own cluster; [`Bare`] serves it from the root cluster.
const UNSPLIT: &str = "unsplit.httpbin:14001";

/// Envoy without the early header removal, with the guide's pods: the client's headers reach the filter.
pub(crate) struct Bare {
    pub(crate) envoy: Envoy,
    pub(crate) httpbin: HttpbinFixture,
    pub(crate) port: u16,
    _scratch: Scratch,
}

impl Bare {
    pub(crate) fn start(wasm: Wasm) -> Result<Bare> {
        let (httpbin, scratch) = (HttpbinFixture::start()?, Scratch::new()?);
        let pods = [&httpbin.v1, &httpbin.v2, &httpbin.root, &httpbin.other];
        let names = [V1, V2, ROOT_CLUSTER, "other.httpbin"];
        let bootstrap = Bootstrap {
            namespace: "curl",
            listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            clusters: names.map(str::to_owned).into_iter().zip(pods.map(Pod::address)).collect(),
            hosts: vec!["other.httpbin"],
            strips: false,
            wasm,
        };
        let envoy = Envoy::start(&bootstrap.text(), scratch.path())?;
        let port = envoy.listener_port("outbound-0")?;
        Ok(Bare { envoy, httpbin, port, _scratch: scratch })
    }
}

/// Returns the plugin configuration of the guide's TrafficSplit with these weights.
pub(crate) fn weights(v1: i64, v2: i64) -> Value {
    json!({
        "trafficSplits": [{
            "apiVersion": "split.smi-spec.io/v1alpha2",
            "kind": "TrafficSplit",
            "metadata": {"name": "http-split", "namespace": "httpbin"},
            "spec": {
                "service": "httpbin.httpbin.svc.cluster.local",
                "backends": [{"service": "httpbin-v1", "weight": v1}, {"service": "httpbin-v2", "weight": v2}],
            },
        }],
    })
}

/// Replaces the plugin configuration in an extension configuration by one that the command would not render.
pub(crate) fn with_configuration(ecds: &str, configuration: &str) -> String {
    let line = ecds.lines().find(|line| line.trim_start().starts_with("value: ")).expect("a plugin configuration");
    // A JSON string is a YAML string.
    ecds.replace(line.trim_start(), &format!("value: {}", Value::from(configuration)))
}

/// Returns plugin configurations that the filter rejects, each with a part of the log message.
fn broken() -> Vec<(String, &'static str)> {
    let mut unknown_key = weights(100, 0);
    unknown_key["trafficSplit"] = json!([]);
    let whole = weights(100, 0).to_string();
    vec![
        (whole[..whole.len() - 1].to_owned(), "configuration: is not valid JSON"),
        (weights(-5, 100).to_string(), "http-split: spec.backends[0].weight: -5 is negative; use 0 or more"),
        (weights(0, 0).to_string(), "http-split: spec.backends: the weights sum to 0"),
        (unknown_key.to_string(), r#"the key "trafficSplit" is unknown"#),
        (String::new(), "configuration: is empty"),
    ]
}

fn assert_served(answer: &Answer, version: &str) {
    assert_eq!((answer.status, answer.version().as_str()), (200, version), "{}", answer.text());
}

/// Sends the cluster header to `host` in each possible form. Only `version` may answer, and without the header.
fn ask_for_v2(client: &mut Client, host: &str, version: &str) -> Result<()> {
    let v2 = V2.as_bytes();
    let ways: &[&[(&str, &[u8])]] = &[
        &[("x-traffic-split-cluster", v2)],
        &[("x-traffic-split-cluster", v2), ("x-traffic-split-cluster", v2)],
        &[("X-TRAFFIC-SPLIT-CLUSTER", v2)],
        &[("x-traffic-split-cluster", v2), ("X-Traffic-Split-Cluster", v2)],
        &[("x-traffic-split-cluster", b""), ("x-traffic-split-cluster", v2)],
        &[("x-traffic-split-cluster", b"")],
        &[("x-traffic-split-cluster", b"\xff")],
    ];
    for way in ways {
        let answer = client.get(host, "/json", way)?;
        assert_eq!((answer.status, answer.version().as_str()), (200, version), "{host} {way:?} {}", answer.text());
        let received = answer.received("x-traffic-split-cluster");
        assert!(received.is_empty(), "{host} {way:?} {received:?}");
    }
    Ok(())
}

#[test]
fn client_cluster_header_does_not_change_routing() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 100, 0)?;
    assert!(sidecar.envoy.admin("/clusters")?.contains(V2), "v2 exists");
    let mut client = Client::new(sidecar.port);
    for (host, version) in [(ROOT, "httpbin-v1"), ("httpbin-v1.httpbin:14001", "httpbin-v1"), (OTHER, "other")] {
        ask_for_v2(&mut client, host, version)?;
    }
    assert_eq!(client.get(OTHER, "/json", &[("x-traffic-split-mirror", V2.as_bytes())])?.version(), "other");
    assert_eq!(sidecar.httpbin.v2.requests(), 0);
    assert_eq!(client.connections(), 1);
    Ok(())
}

#[test]
fn filter_removes_the_cluster_header_when_envoy_does_not() -> Result<()> {
    let bare = Bare::start(Wasm::new(&Guide::built()?.wasm, &weights(100, 0).to_string()))?;
    let mut client = Client::new(bare.port);
    for (host, version) in [(ROOT, "httpbin-v1"), (OTHER, "other"), (UNSPLIT, "httpbin")] {
        ask_for_v2(&mut client, host, version)?;
    }
    assert_eq!(bare.httpbin.v2.requests(), 0);
    assert_eq!(client.connections(), 1);
    Ok(())
}

#[test]
fn filter_removes_forged_mirror_and_cookie_when_envoy_does_not() -> Result<()> {
    let guide = Guide::built()?;
    let forged: &[(&str, &[u8])] = &[
        ("x-traffic-split-mirror", V2.as_bytes()),
        ("X-Traffic-Split-Mirror", V2.as_bytes()),
        ("x-traffic-split-set-cookie", b"session=forged"),
        ("x-traffic-split-set-cookie", b""),
    ];
    // A copy starts before the original is answered, so without a connection no copy was sent.
    let connections_to_v2 = |bare: &Bare| bare.envoy.stat(&format!("cluster.{V2}.upstream_cx_total"));

    let bare = Bare::start(Wasm::new(&guide.wasm, &weights(100, 0).to_string()))?;
    let mut client = Client::new(bare.port);
    for (host, version) in [(ROOT, "httpbin-v1"), (OTHER, "other"), (UNSPLIT, "httpbin")] {
        for headers in [forged, &forged[..1], &forged[2..3]] {
            let answer = client.get(host, "/json", headers)?;
            assert_served(&answer, version);
            assert!(answer.header("set-cookie").is_none(), "{host}: {:?}", answer.headers);
            // The route of requests that are not split ignores these headers.
            let received = ["x-traffic-split-mirror", "x-traffic-split-set-cookie"].map(|name| answer.received(name));
            assert!(host != ROOT || received.iter().all(Vec::is_empty), "{host}: {received:?}");
        }
    }
    assert_eq!((connections_to_v2(&bare)?, client.connections()), (0, 1));

    // The same bootstrap applies the filter's own headers despite the forged ones.
    let mut own = weights(100, 0);
    own["trafficSplits"][0]["metadata"]["annotations"] =
        json!({"traffic-split/mirror": "httpbin-v2=100", "traffic-split/sticky-cookie": "id"});
    let bare = Bare::start(Wasm::new(&guide.wasm, &own.to_string()))?;
    let to_other = ("x-traffic-split-mirror", &b"other.httpbin"[..]);
    let answer = Client::new(bare.port).get(ROOT, "/json", &[to_other, forged[2]])?;
    assert_served(&answer, "httpbin-v1");
    let set = answer.headers_named("set-cookie");
    assert!(set.len() == 1 && set[0].starts_with("id="), "{set:?}");
    assert_eq!((connections_to_v2(&bare)?, bare.httpbin.other.requests()), (1, 0));
    Ok(())
}

/// Writes the guest that traps to a file.
pub(crate) fn trapping(scratch: &Scratch) -> Result<PathBuf> {
    let module = wat::parse_str(TRAPPING);
    let path = scratch.join("trapping.wasm");
    std::fs::write(&path, module.map_err(|error| error.to_string())?)?;
    Ok(path)
}

/// Returns a client whose worker's VM has just trapped: its first request got 503. Later requests on the connection
/// stay with the worker and bypass the filter.
fn after_a_trap(envoy: &Envoy, port: u16) -> Result<Client> {
    let mut client = Client::new(port);
    let answer = client.get(ROOT, "/json", &[])?;
    assert_eq!((answer.status, answer.pod().as_str()), (503, ""), "{}", answer.text());
    envoy.wait_for_log("unreachable")?;
    Ok(client)
}

#[test]
fn client_cluster_header_has_no_effect_after_a_trap() -> Result<()> {
    let (guide, scratch) = (Guide::built()?, Scratch::new()?);
    let trapping = trapping(&scratch)?;

    let options = ["--wasm".into(), trapping.clone().into(), "--failure-policy".into(), "open".into()];
    let ecds = guide.render("ecds", &options, &guide.traffic_split(&scratch, 100, 0)?)?;
    let sidecar = Sidecar::start_on(&guide, 100, 0, |_| ecds)?;
    sidecar.envoy.wait_for_extension([0; 3])?;
    let mut client = after_a_trap(&sidecar.envoy, sidecar.port)?;
    for (host, version) in [(ROOT, "httpbin"), (OTHER, "other")] {
        ask_for_v2(&mut client, host, version)?;
    }
    assert_eq!((client.connections(), sidecar.httpbin.v2.requests()), (1, 0));

    // This result depends on the early header removal: without it, the client's header has an effect.
    let bare = Bare::start(Wasm { failure_policy: "FAIL_OPEN", ..Wasm::new(&trapping, "") })?;
    let mut client = after_a_trap(&bare.envoy, bare.port)?;
    let answer = client.get(OTHER, "/json", &[("x-traffic-split-cluster", V2.as_bytes())])?;
    assert_served(&answer, "httpbin-v2");
    Ok(())
}

/// Sends many headers whose value is not UTF-8 to the root and to another host, with ordinary requests in between and
/// afterwards.
fn send_any_bytes(port: u16) -> Result<()> {
    let mut client = Client::new(port);
    let bytes: Vec<u8> = (0x80..=0xff).collect();
    for name in [
        "x-any",
        "cookie",
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
        "x-traffic-split-cluster",
        "x-traffic-split-backend",
        "x-traffic-split-mirror",
        "x-traffic-split-set-cookie",
    ] {
        for value in [&b"\xff"[..], b"\xc3\x28", b"a=\xed\xa0\x80; b", &bytes] {
            for (host, version) in [(ROOT, "httpbin-v1"), (OTHER, "other")] {
                let answer = client.get(host, "/json", &[(name, value), (name, value)])?;
                let seen = (answer.status, answer.version());
                assert_eq!(seen, (200, version.to_owned()), "{name}: {} {}", value.escape_ascii(), answer.text());
                assert_served(&client.get(host, "/json", &[])?, version);
            }
        }
    }
    assert_eq!(client.connections(), 1, "one connection, hence one worker and one VM");
    for _ in 0..20 {
        assert_served(&Client::new(port).get(ROOT, "/json", &[])?, "httpbin-v1");
    }
    Ok(())
}

#[test]
fn non_utf8_headers_and_cookies_fail_no_request() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 100, 0)?;
    send_any_bytes(sidecar.port)?;
    assert!(!sidecar.envoy.log().contains("wasm"), "{}", sidecar.envoy.log());

    let mut configuration = weights(100, 0);
    configuration["backendHeader"] = "x-traffic-split-backend".into();
    let bare = Bare::start(Wasm::new(&guide.wasm, &configuration.to_string()))?;
    send_any_bytes(bare.port)?;
    assert!(!bare.envoy.log().contains("wasm"), "{}", bare.envoy.log());
    Ok(())
}

#[test]
fn invalid_configuration_is_rejected_and_the_last_valid_one_serves() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 0, 100)?;
    let good = guide.ecds(&guide.traffic_split(&sidecar.scratch, 0, 100)?)?;
    let load = Load::start(sidecar.port, ROOT, 2);
    for (number, (configuration, says)) in (1..).zip(broken()) {
        let refused = sidecar.replace(&with_configuration(&good, &configuration));
        let error = refused.expect_err("Envoy refuses it").to_string();
        assert!(error.contains("refused"), "{configuration}: {error}");
        sidecar.envoy.wait_for_log(says)?;
        assert_eq!(sidecar.extension_stat("update_rejected")?, number);
        load.more(200)?;
    }
    let tally = load.stop();
    assert_eq!((tally.failed, tally.connections), (0, 2), "{:?}", tally.errors);
    assert_eq!(tally.of("httpbin-v2"), tally.total(), "{tally:?}");

    sidecar.apply(&guide, 100, 0)?;
    assert_served(&Client::new(sidecar.port).get(ROOT, "/json", &[])?, "httpbin-v1");
    Ok(())
}

#[test]
fn envoy_started_with_an_invalid_configuration_serves_the_root_until_a_valid_one() -> Result<()> {
    let guide = Guide::built()?;
    let starts_on = |says: Option<&str>, alter: &dyn Fn(String) -> String| -> Result<()> {
        let sidecar = Sidecar::start_on(&guide, 100, 0, alter)?;
        if let Some(says) = says {
            sidecar.envoy.wait_for_log(says)?;
        }
        let mut client = Client::new(sidecar.port);
        for _ in 0..3 {
            assert_served(&client.get(ROOT, "/json", &[])?, "httpbin");
            assert_served(&client.get(OTHER, "/json", &[])?, "other");
            assert_served(&Client::new(sidecar.port).get(ROOT, "/json", &[])?, "httpbin");
        }
        sidecar.apply(&guide, 0, 100)?;
        assert_served(&client.get(ROOT, "/json", &[])?, "httpbin-v2");
        assert_served(&client.get(OTHER, "/json", &[])?, "other");
        assert_eq!(client.connections(), 1);
        Ok(())
    };
    let named = |name: &str, outcome: Result<()>| outcome.map_err(|error| Error(format!("{name}: {error}")));
    for (configuration, says) in broken() {
        named(says, starts_on(Some(says), &|ecds| with_configuration(&ecds, &configuration)))?;
    }
    named("an empty file", starts_on(None, &|_| String::new()))?;
    named("a file without it", starts_on(None, &|_| "resources: []\n".into()))?;
    named("half a file", starts_on(None, &|ecds| ecds[..ecds.len() / 2].to_owned()))
}

#[test]
fn envoy_names_the_missing_configuration_file() -> Result<()> {
    let (guide, scratch) = (Guide::built()?, Scratch::new()?);
    let missing = scratch.join("ecds.yaml");
    let options = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ecds"].map(Into::into).into_iter();
    let options: Vec<_> = options.chain([missing.clone().into()]).collect();
    let bootstrap = guide.render("envoy", &options, &guide.traffic_split(&scratch, 100, 0)?)?;
    // Envoy requires the file to exist; an empty one is enough.
    let error = Envoy::start(&bootstrap, scratch.path()).expect_err("it looks for the file").to_string();
    assert!(error.contains(&format!("'{}' does not exist", missing.display())), "{error}");
    Ok(())
}
