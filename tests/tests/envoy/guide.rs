//! The canary guide in a real Envoy with the built filter and command.

use e2e::client::{Client, Load};
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::{OTHER, ROOT};
use e2e::pod::{Pod, version};
use e2e::{Error, Result, is_share};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;

/// Sends ten requests to the root on ten connections, as ten runs of curl do. Returns the versions.
fn ten(sidecar: &Sidecar) -> Result<Vec<String>> {
    (0..10)
        .map(|_| {
            let answer = Client::new(sidecar.port).get(ROOT, "/json", &[])?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            Ok(answer.version())
        })
        .collect()
}

#[test]
fn all_ten_requests_are_answered_by_v1() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 100, 0)?;
    assert_eq!(ten(&sidecar)?, ["httpbin-v1"; 10]);
    assert_eq!(sidecar.httpbin.root.requests(), 0);
    Ok(())
}

#[test]
fn weights_change_under_load_without_failed_requests() -> Result<()> {
    let guide = Guide::built()?;
    let mut sidecar = Sidecar::start(&guide, 100, 0)?;
    let load = Load::start(sidecar.port, ROOT, 4);
    let other = Load::start(sidecar.port, OTHER, 1);
    let before = load.more(500)?;
    assert_eq!(before.of("httpbin-v1"), before.total(), "{before:?}");

    for (v1, v2) in [(50, 50), (90, 10), (0, 100), (100, 0), (50, 50)] {
        sidecar.apply(&guide, v1, v2)?;
        // Each worker applies a change on its own; requests until then are not counted.
        load.more(1000)?;
        let after = load.more(2000)?;
        let share = f64::from(v1) / f64::from(v1 + v2);
        assert!(is_share(after.of("httpbin-v1"), after.total(), share, 5.0), "{v1}/{v2}: {after:?}");
        assert_eq!(after.of("httpbin-v1") + after.of("httpbin-v2"), after.total(), "{after:?}");
    }

    let (tally, others) = (load.stop(), other.stop());
    assert_eq!(tally.failed, 0, "{:?}", tally.errors);
    assert_eq!(tally.connections, 4, "no connection was closed");
    assert_eq!(sidecar.httpbin.root.requests(), 0);
    assert_eq!(sidecar.envoy.stat("listener_manager.listener_modified")?, 0);
    assert_eq!(sidecar.extension_stat("update_success")?, 6);
    sidecar.envoy.check_running()?;

    assert!(others.total() > 0);
    assert_eq!(others.of("other"), others.total(), "{others:?}");
    assert_eq!(sidecar.httpbin.other.requests(), others.total());
    Ok(())
}

/// Returns the numbers of v1 and v2 for 4,000 requests of four clients.
fn four_thousand(sidecar: &Sidecar) -> Result<[u64; 2]> {
    let before = [sidecar.httpbin.v1.requests(), sidecar.httpbin.v2.requests()];
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new(sidecar.port)).collect();
    for number in 0..4000 {
        assert_eq!(clients[number % 4].get(ROOT, "/json", &[])?.status, 200);
    }
    Ok([sidecar.httpbin.v1.requests() - before[0], sidecar.httpbin.v2.requests() - before[1]])
}

#[test]
fn each_version_answers_half_of_4000_requests() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 50, 50)?;
    // Four standard deviations are 126. A correct share fails once in 7,000 runs, so a second attempt is allowed.
    let is_half = |answers: [u64; 2]| answers.iter().all(|count| (1880..=2120).contains(count));
    let answers = four_thousand(&sidecar)?;
    assert_eq!(answers[0] + answers[1], 4000);
    if !is_half(answers) {
        let again = four_thousand(&sidecar)?;
        assert!(is_half(again), "{answers:?}, and then {again:?}");
    }
    Ok(())
}

/// Sends requests for `host` at once over one HTTP/2 connection. Returns the responses by version.
async fn over_http2(port: u16, host: &'static str, requests: usize) -> Result<BTreeMap<String, u64>> {
    let failed = |error: hyper::Error| Error(format!("over HTTP/2: {error}"));
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let under_way: Vec<_> = (0..requests)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let request = hyper::Request::get(format!("http://{host}/json"));
                let request = request.body(String::new()).map_err(|error| error.to_string())?;
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await.map_err(failed)
            })
        })
        .collect();
    let mut answers = BTreeMap::new();
    for answer in under_way {
        let answer = answer.await.map_err(|error| error.to_string())??;
        assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
        let pod = answer.headers().get("pod").and_then(|pod| pod.to_str().ok()).unwrap_or_default();
        *answers.entry(version(pod).to_owned()).or_default() += 1;
    }
    connection.abort();
    Ok(answers)
}

#[test]
fn http2_client_gets_the_same_split() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 50, 50)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(over_http2(sidecar.port, ROOT, 1000))?;
    let [v1, v2] = ["httpbin-v1", "httpbin-v2"].map(|version| answers.get(version).copied().unwrap_or(0));
    assert_eq!(v1 + v2, 1000, "{answers:?}");
    assert!(is_share(v1, 1000, 0.5, 5.0), "{answers:?}");
    assert_eq!(runtime.block_on(over_http2(sidecar.port, OTHER, 10))?, [("other".to_owned(), 10)].into());

    // The port is named http, so the backends need not speak HTTP/2.
    let to_v1 = "cluster.outbound|14001||httpbin-v1.httpbin.svc.cluster.local.upstream_cx_http";
    assert_eq!(sidecar.envoy.stat(&format!("{to_v1}2_total"))?, 0);
    assert!(sidecar.envoy.stat(&format!("{to_v1}1_total"))? > 0);
    Ok(())
}

#[test]
fn prometheus_shows_requests_by_split_backend_and_reason() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 50, 50)?;
    let mut client = Client::new(sidecar.port);
    for _ in 0..200 {
        client.get(ROOT, "/json", &[])?;
        client.get(OTHER, "/json", &[])?;
    }
    let metrics = sidecar.envoy.admin("/stats/prometheus")?;
    let requests: Vec<&str> = metrics.lines().filter(|line| line.contains("traffic_split_requests")).collect();
    let counter = |backend, pod: &Pod| {
        let labels = format!(r#"split="httpbin/http-split",backend="{backend}",reason="random""#);
        format!("traffic_split_requests{{{labels}}} {}", pod.requests())
    };
    let (v1, v2) = (&sidecar.httpbin.v1, &sidecar.httpbin.v2);
    let expected = ["# TYPE traffic_split_requests counter", &counter("httpbin-v1", v1), &counter("httpbin-v2", v2)];
    assert_eq!(requests, expected);
    assert_eq!(v1.requests() + v2.requests(), 200);
    Ok(())
}
