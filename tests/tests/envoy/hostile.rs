//! Hostile requests and configurations in a real Envoy, compared with an Envoy without the filter. No VM fails.

use crate::safety::{Bare, V1, V2, trapping, weights, with_configuration};
use e2e::bootstrap::{Bootstrap, ROOT_CLUSTER, Wasm};
use e2e::client::{Client, TIMEOUT};
use e2e::envoy::Envoy;
use e2e::guide::{Guide, Sidecar};
use e2e::hostile::{HostileRequest, OWN_HEADERS, configuration_of_requests, configurations, raw_requests, requests};
use e2e::httpbin::{HttpbinFixture, OTHER, ROOT};
use e2e::pod::{Pod, version};
use e2e::scratch::Scratch;
use e2e::{Error, Result};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Envoys with the same pods: without the filter; with the filter; and with the filter, but without the removal of the
/// filter's headers from client requests.
struct Envoys {
    plain: Proxy,
    filtered: Proxy,
    bare: Proxy,
    httpbin: HttpbinFixture,
}

struct Proxy {
    envoy: Envoy,
    port: u16,
    _scratch: Scratch,
}

/// The response to a hostile request. The defaults mean that Envoy closed the connection.
#[derive(Debug, Default, PartialEq)]
struct Response {
    status: u16,
    /// The deployment that answered; empty if Envoy answered.
    version: String,
    set_cookies: Vec<String>,
    /// The request as the pod received it, without the random id.
    received: Value,
}

impl Envoys {
    fn start() -> Result<Envoys> {
        let (guide, httpbin) = (Guide::built()?, HttpbinFixture::start()?);
        let start = |strips, has_filter: bool| {
            let pods = [&httpbin.v1, &httpbin.v2, &httpbin.root, &httpbin.other];
            let names = [V1, V2, ROOT_CLUSTER, "other.httpbin"];
            let bootstrap = Bootstrap {
                namespace: "curl",
                listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
                clusters: names.map(str::to_owned).into_iter().zip(pods.map(Pod::address)).collect(),
                hosts: vec!["other.httpbin"],
                strips,
                wasm: Wasm::new(&guide.wasm, &configuration_of_requests()),
            };
            let mut bootstrap: Value =
                serde_json::from_str(&bootstrap.text()).map_err(|error| Error(error.to_string()))?;
            let manager =
                &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
            if !has_filter {
                manager["http_filters"].as_array_mut().expect("filters").remove(0);
            }
            // More requests reach the filter.
            manager["max_request_headers_kb"] = 96.into();
            manager["http_protocol_options"] = json!({"accept_http_10": true, "allow_absolute_url": true});
            manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]);
            let scratch = Scratch::new()?;
            let envoy = Envoy::start(&bootstrap.to_string(), scratch.path())?;
            let port = envoy.listener_port("outbound-0")?;
            Ok::<_, Error>(Proxy { envoy, port, _scratch: scratch })
        };
        Ok(Envoys { plain: start(true, false)?, filtered: start(true, true)?, bare: start(false, true)?, httpbin })
    }
}

impl Proxy {
    /// Sends bytes on a new connection and reads the response, or up to the end of the connection.
    fn exchange(&self, request: &[u8]) -> Result<Response> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        // Envoy may respond and close the connection before it has read all bytes.
        _ = stream.write_all(request);
        let (mut bytes, mut part) = (Vec::new(), [0; 65_536]);
        while !Response::is_complete(&bytes)
            && let Ok(size @ 1..) = stream.read(&mut part)
        {
            bytes.extend_from_slice(&part[..size]);
        }
        Ok(Response::parse(&bytes))
    }
}

impl Response {
    /// Reports whether the bytes contain the whole body. A response without a length ends with the connection.
    fn is_complete(bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        length.is_some_and(|length| bytes.len() >= head.len() + 4 + length)
    }

    fn parse(bytes: &[u8]) -> Response {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let values = |name: &str| -> Vec<String> {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
        };
        let mut received: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(headers) = received["headers"].as_array_mut() {
            headers.retain(|header| header[0] != "x-request-id");
        }
        Response {
            status: head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default(),
            version: values("pod").first().map(|pod| version(pod).to_owned()).unwrap_or_default(),
            set_cookies: values("set-cookie"),
            received,
        }
    }

    fn received(&self, name: &str) -> usize {
        self.received["headers"]
            .as_array()
            .map_or(0, |headers| headers.iter().filter(|header| header[0] == name).count())
    }
}

/// Returns each row as bytes for a host, with its name and whether its authority is that host.
fn rows(host: &str) -> Vec<(String, Vec<u8>, bool)> {
    let valid = requests(V2).into_iter().map(|row| (row.about.clone(), row.to_http1(host), row.authority.is_none()));
    let raw = raw_requests(host).into_iter().map(|(about, bytes)| (about.to_owned(), bytes, false));
    valid.chain(raw).collect()
}

#[test]
fn hostile_requests_fail_no_vm_and_change_nothing_at_other_hosts() -> Result<()> {
    let envoys = Envoys::start()?;
    let stats = |proxy: &Proxy| proxy.envoy.stat("wasm.envoy.wasm.runtime.v8.created");
    let created = (stats(&envoys.filtered)?, stats(&envoys.bare)?);
    let mut served = 0;
    for (about, bytes, _) in rows(OTHER) {
        let (plain, filtered) = (envoys.plain.exchange(&bytes)?, envoys.filtered.exchange(&bytes)?);
        assert_eq!(filtered, plain, "{about}");
        let bare = envoys.bare.exchange(&bytes)?;
        assert_eq!((bare.status, &bare.version), (plain.status, &plain.version), "{about}");
        served += usize::from(!plain.version.is_empty());
    }
    assert!(served > 80, "only {served} hostile requests reached a pod");
    // Upgrades and raw requests are compared at the other host only: their responses need not have a body to compare.
    let names_connection = |row: &HostileRequest| row.headers.iter().any(|(name, _)| name == "connection");
    for row in requests(V2).into_iter().filter(|row| !names_connection(row)) {
        let (about, bytes, is_root) = (row.about.clone(), row.to_http1(ROOT), row.authority.is_none());
        let plain = envoys.plain.exchange(&bytes)?;
        for proxy in [&envoys.filtered, &envoys.bare] {
            let response = proxy.exchange(&bytes)?;
            assert_eq!(response.status, plain.status, "{about}: {response:?}");
            let is_split = response.version == "httpbin-v1";
            assert!(is_split || !(is_root && plain.version == "httpbin"), "{about}: {response:?}");
            assert!(is_split || response.version == plain.version, "{about}: {response:?}");
            if is_split {
                assert!(response.set_cookies.iter().all(|cookie| cookie.starts_with("user=")), "{about}: {response:?}");
                let own = [response.received(OWN_HEADERS[0]), response.received(OWN_HEADERS[1])];
                assert_eq!(own, [0, 0], "{about}");
                assert_eq!(response.received(OWN_HEADERS[3]), 1, "{about}: {response:?}");
            }
            assert_eq!(proxy.exchange(&requests("")[0].to_http1(ROOT))?.version, "httpbin-v1", "after {about}");
        }
    }
    assert_eq!((stats(&envoys.filtered)?, stats(&envoys.bare)?), created, "no VM was started");
    assert_eq!(envoys.filtered.envoy.vm_failures()?, Vec::<String>::new());
    assert_eq!(envoys.bare.envoy.vm_failures()?, Vec::<String>::new());
    assert_eq!(envoys.httpbin.v2.requests(), 0, "no forged cluster or mirror was used");
    Ok(())
}

#[test]
fn hostile_configurations_fail_no_vm_and_no_request() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 100, 0)?;
    let good = guide.ecds(&guide.traffic_split(&sidecar.scratch, 100, 0)?)?;
    let mut client = Client::new(sidecar.port);
    for row in configurations() {
        let result = sidecar.replace(&with_configuration(&good, &row.text));
        assert_eq!(result.is_ok(), row.is_valid, "{}: {result:?}", row.about);
        for (host, version) in [(ROOT, "httpbin-v1"), (OTHER, "other")] {
            let answer = client.get(host, "/json", &[])?;
            assert_eq!((answer.status, answer.version().as_str()), (200, version), "{}: {host}", row.about);
            assert_eq!(answer.received("x-evil"), Vec::<String>::new(), "{}", row.about);
        }
    }
    let metrics = sidecar.envoy.admin("/stats/prometheus")?;
    assert!(metrics.contains("traffic_split_requests{") && !metrics.contains("evil"), "{metrics}");
    assert_eq!(sidecar.envoy.vm_failures()?, Vec::<String>::new());
    assert_eq!((client.connections(), sidecar.httpbin.v2.requests()), (1, 0));
    Ok(())
}

#[test]
fn vm_failures_are_seen_in_envoys_stats_and_log() -> Result<()> {
    let scratch = Scratch::new()?;
    let bare = Bare::start(Wasm::new(&trapping(&scratch)?, &weights(100, 0).to_string()))?;
    assert_eq!(bare.envoy.vm_failures()?, Vec::<String>::new());
    assert_eq!(Client::new(bare.port).get(ROOT, "/json", &[])?.status, 503);
    bare.envoy.wait_for_log("Uncaught RuntimeError")?;
    assert!(!bare.envoy.vm_failures()?.is_empty());
    Ok(())
}
