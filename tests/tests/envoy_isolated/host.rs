//! The guest `probe` of `host-sim` in a real Envoy: Envoy's answers to every host function in every callback must be
//! those of the recorded report, which is also the reference for the simulator.

use e2e::client::Client;
use e2e::envoy::Envoy;
use e2e::report::{CONNECTIONS, FORBIDDEN, Report, SCENARIOS, Shape, Step, probe};
use e2e::scratch::{Scratch, replace};
use e2e::{Result, WAIT_TIMEOUT, wait_for};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const TCP_WASM: &str = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";
const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const UPSTREAM: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// An HTTP/2 server. It answers with a body and trailers, and gRPC calls with a message. It records the body and the
/// trailers of each scenario's request.
struct Backend {
    address: SocketAddr,
    seen: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Backend {
    fn start(runtime: &Runtime) -> Result<Backend> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let backend = Backend { address: listener.local_addr()?, seen: Arc::default() };
        let seen = backend.seen.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request| answer(request, seen.clone()));
                tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(backend)
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<BTreeMap<String, String>>>,
) -> std::result::Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/slow" {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let grpc = head.uri.path().starts_with("/probe.Probe/");
    let body = if grpc { None } else { body.collect().await.ok() };
    if let (Some(scenario), Some(body)) = (head.headers.get("x-probe"), body) {
        let trailers = body.trailers().cloned().unwrap_or_default();
        let bytes = body.to_bytes();
        let names = ["x-trailer", "x-added"].into_iter();
        let trailers = names.filter_map(|name| Some(format!(" {name}={}", trailers.get(name)?.to_str().ok()?)));
        let added = head.headers.get("x-added").map_or("", |_| " with x-added");
        let text = format!("\"{}\"{}{added}", bytes.escape_ascii(), trailers.collect::<String>());
        let scenario = String::from_utf8_lossy(scenario.as_bytes()).into_owned();
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(scenario, text);
    }
    let (content_type, body, trailer) = match grpc {
        true => ("application/grpc", &b"\0\0\0\0\x06answer"[..], ("grpc-status", "0")),
        false => ("text/plain", &b"answer"[..], ("x-trailer", "end")),
    };
    let trailers = HeaderMap::from_iter([(
        hyper::header::HeaderName::from_static(trailer.0),
        HeaderValue::from_static(trailer.1),
    )]);
    let mut response = Response::new(Full::new(Bytes::from_static(body)).with_trailers(async { Some(Ok(trailers)) }));
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response.headers_mut().insert("x-pod", HeaderValue::from_static("backend"));
    Ok(response)
}

/// Returns a bootstrap whose filter is the extension configuration in a file.
fn http_bootstrap(backend: SocketAddr, extension: &Path) -> Value {
    let filter = json!({
        "name": "probe",
        "config_discovery": {
            "config_source": {
                "path_config_source": {"path": extension, "watched_directory": {"path": extension.parent()}},
                "resource_api_version": "V3",
            },
            "type_urls": [WASM],
        },
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "probe",
        // Requests then have the same headers as in the simulator.
        "generate_request_id": false,
        "http_protocol_options": {"enable_trailers": true},
        "route_config": {
            "name": "routes",
            "virtual_hosts": [{
                "name": "any",
                "domains": ["*"],
                "routes": [{"name": "the-route", "match": {"prefix": "/path"}, "route": {"cluster": "backend"}}],
            }],
        },
        "http_filters": [filter, {
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                "suppress_envoy_headers": true,
            },
        }],
    });
    let manager = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    bootstrap(json!([listener("probe", json!([manager]))]), vec![cluster("backend", backend, true)])
}

/// Returns a bootstrap with a listener for each connection scenario: the guest and a TCP proxy to the upstream.
fn tcp_bootstrap(backend: SocketAddr, upstream: SocketAddr, module: &Path) -> Value {
    let scenarios = CONNECTIONS.iter().map(|(scenario, _)| {
        let (vm_id, policy) = match scenario.strip_prefix("tcp-trap-") {
            // These scenarios end their VM.
            Some(trap) if trap.ends_with("open") => (*scenario, "FAIL_OPEN"),
            Some(_) => (*scenario, "FAIL_CLOSED"),
            None => ("probe-vm", "FAIL_CLOSED"),
        };
        let mut plugin = plugin(module, vm_id, "the VM's", &format!("tcp {scenario}"), environment());
        plugin["failure_policy"] = policy.into();
        let filter = json!({"name": "probe", "typed_config": {"@type": TCP_WASM, "config": plugin}});
        let proxy = json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "probe",
                "cluster": "upstream",
            },
        });
        listener(scenario, json!([filter, proxy]))
    });
    let clusters = vec![cluster("backend", backend, true), cluster("upstream", upstream, false)];
    bootstrap(scenarios.collect(), clusters)
}

fn bootstrap(listeners: Value, mut clusters: Vec<Value>) -> Value {
    // No program serves port 1 (tcpmux).
    clusters.push(cluster("refusing", SocketAddr::from(([127, 0, 0, 1], 1)), true));
    json!({
        "node": {"id": "probe-node", "cluster": "probe-cluster", "metadata": {"NAMESPACE": "probe-namespace"}},
        "admin": {"address": socket(ANY)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

fn listener(name: &str, filters: Value) -> Value {
    json!({
        "name": name,
        "stat_prefix": name,
        "address": socket(ANY),
        // Consecutive connections use the same worker.
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [{"filters": filters}],
    })
}

fn cluster(name: &str, address: SocketAddr, http2: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}],
        },
    });
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({UPSTREAM: {
            "@type": format!("type.googleapis.com/{UPSTREAM}"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
    }
    cluster
}

/// Returns an extension configuration with the guest, these configurations and this environment.
fn extension(module: &Path, vm: &str, configuration: &str, environment: Value) -> String {
    json!({
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "probe",
            "typed_config": {"@type": WASM, "config": plugin(module, "probe-vm", vm, configuration, environment)},
        }],
    })
    .to_string()
}

/// Returns a plugin with the guest, these configurations and this environment.
fn plugin(module: &Path, vm_id: &str, vm: &str, configuration: &str, environment: Value) -> Value {
    json!({
        "name": "probe",
        "root_id": "probe-root",
        "vm_config": {
            "vm_id": vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}},
            "configuration": {"@type": STRING, "value": vm},
            "environment_variables": {"key_values": environment},
        },
        "configuration": {"@type": STRING, "value": configuration},
    })
}

/// Envoy with the guest and a backend.
struct ProbeRun {
    envoy: Envoy,
    backend: Backend,
    port: u16,
    client: Client,
    module: PathBuf,
    extension: PathBuf,
    report: Report,
    _runtime: Runtime,
    _scratch: Scratch,
}

impl ProbeRun {
    fn start() -> Result<ProbeRun> {
        let runtime = Runtime::new()?;
        let (backend, scratch, module) =
            (Backend::start(&runtime)?, Scratch::new()?, probe(env!("CARGO_TARGET_TMPDIR"))?);
        std::fs::create_dir(scratch.join("extensions"))?;
        let path = scratch.join("extensions").join("probe.json");
        replace(&path, &extension(&module, "the VM's", "first: takes a tick", environment()))?;
        let envoy = Envoy::start(&http_bootstrap(backend.address, &path).to_string(), scratch.path())?;
        let port = envoy.listener_port("probe")?;
        let (client, report) = (Client::new(port), Report::new());
        Ok(ProbeRun {
            envoy,
            backend,
            port,
            client,
            module,
            extension: path,
            report,
            _runtime: runtime,
            _scratch: scratch,
        })
    }

    /// Waits until a callback has made its last call.
    fn wait_for_callback(&self, callback: &str) -> Result<()> {
        self.envoy.wait_for_log(&format!(": probe {callback} poll_oneoff(NOWHERE)")).map(|_| ())
    }

    /// Sends a scenario's request, and reports the client's response and the backend's request.
    fn run(&mut self, scenario: &str, shape: Shape) -> Result<()> {
        let path = if scenario == "unrouted" { "/unrouted" } else { "/path?query" };
        let (method, rest) = match shape {
            Shape::Headers => ("GET", "\r\n"),
            Shape::Body => ("POST", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            Shape::Trailers => ("POST", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-trailer: end\r\n\r\n"),
        };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: probe.test\r\nx-probe: {scenario}\r\n{rest}");
        // A VM probes on_context_create at its first stream, which must have a route. The scenario without a route
        // therefore reuses a connection, and with it a worker, that already had a stream.
        if scenario != "unrouted" {
            self.client = Client::new(self.port);
        }
        let answer = match self.client.send_raw(request.as_bytes()) {
            Ok(answer) => {
                let local = answer.headers_named("x-local").join(",");
                let local = if local.is_empty() { local } else { format!(" x-local={local}") };
                let kind = answer.header("content-type").unwrap_or_default();
                format!("{} \"{}\" {kind}{local}", answer.status, answer.body.escape_ascii())
            }
            Err(_) => "none".to_owned(),
        };
        self.report.add(&format!("{scenario}/client"), "answer()", &answer);
        if scenario == "all" {
            self.wait_for_callback("on_delete(stream)")?;
        } else {
            let callback = format!(": probe {scenario}/");
            wait_for(&format!("the end of {scenario}"), || {
                let log = self.envoy.log();
                let mut lines = log.lines().filter(|line| line.contains(&callback));
                Ok(lines.any(|line| line.contains("-on_delete(stream)")).then_some(()))
            })?;
        }
        let seen = self.backend.seen.lock().unwrap_or_else(PoisonError::into_inner).get(scenario).cloned();
        self.report.add(&format!("{scenario}/backend"), "request()", seen.as_deref().unwrap_or("none"));
        Ok(())
    }

    /// Calls a function during `_initialize`; the VM then fails to start.
    fn forbidden(&mut self, function: &str) -> Result<()> {
        let mut environment = environment();
        environment["PROBE_FORBIDDEN"] = function.into();
        let before = self.envoy.extension_stat("update_rejected")?;
        replace(&self.extension, &extension(&self.module, function, "forbidden", environment))?;
        wait_for("Envoy to refuse the VM", || {
            Ok((self.envoy.extension_stat("update_rejected")? > before).then_some(()))
        })?;
        let returned = self.envoy.log().contains(&format!("probe _initialize {function}() -> returned"));
        let answer = if returned { "returned" } else { "the VM's end" };
        self.report.add("_initialize(forbidden)", &format!("{function}()"), answer);
        Ok(())
    }

    /// Returns the reports of the guest, the client and the backend.
    fn finish(mut self) -> Report {
        read_log(&self.envoy, &mut self.report);
        self.report
    }
}

/// Adds the guest's report from the log.
fn read_log(envoy: &Envoy, report: &mut Report) {
    for line in envoy.log().lines() {
        if let Some((_, message)) = line.split_once(": probe ") {
            report.read_line(&format!("probe {message}"));
        }
    }
}

/// A connection through Envoy; the test holds both ends.
struct Connection<'a> {
    envoy: &'a Envoy,
    upstreams: &'a std::net::TcpListener,
    scenario: &'a str,
    client: Option<TcpStream>,
    upstream: Option<TcpStream>,
    /// The number of calls of each data callback.
    callback_counts: BTreeMap<&'static str, usize>,
}

impl Connection<'_> {
    fn run(&mut self, steps: &[Step], runtime: &Runtime) -> Result<()> {
        for step in steps {
            match step {
                Step::Client(text) | Step::Early(text) => self.client()?.write_all(text.as_bytes())?,
                Step::ClientEnds => self.client()?.shutdown(Shutdown::Write)?,
                Step::ClientResets => reset(self.client.take(), runtime)?,
                Step::Upstream(text) => self.upstream()?.write_all(text.as_bytes())?,
                Step::UpstreamEnds => self.upstream()?.shutdown(Shutdown::Write)?,
                Step::UpstreamResets => {
                    self.upstream()?;
                    reset(self.upstream.take(), runtime)?;
                }
                // The backend answers without a request.
                Step::Callout => {}
            }
            match step {
                // No end is left to observe.
                _ if self.scenario.starts_with("tcp-trap-") => {}
                Step::Client(_) | Step::ClientEnds => self.wait_for("on_downstream_data")?,
                Step::Upstream(_) | Step::UpstreamEnds => self.wait_for("on_upstream_data")?,
                Step::Callout => {
                    let last =
                        "/on_http_call_response proxy_get_buffer_bytes(UpstreamData of the connection that goes on)";
                    self.envoy.wait_for_log(&format!(": probe {}{last}", self.scenario))?;
                }
                Step::Early(_) | Step::ClientResets | Step::UpstreamResets => {}
            }
        }
        Ok(())
    }

    fn client(&mut self) -> Result<&mut TcpStream> {
        Ok(self.client.as_mut().ok_or("the client has broken off")?)
    }

    /// Returns the upstream's end after Envoy has connected.
    fn upstream(&mut self) -> Result<&mut TcpStream> {
        if self.upstream.is_none() {
            let stream = wait_for(&format!("the upstream of {}", self.scenario), || accepted(self.upstreams))?;
            self.upstream = Some(stream);
        }
        Ok(self.upstream.as_mut().ok_or("the upstream has broken off")?)
    }

    /// Waits until a callback is called once more.
    fn wait_for(&mut self, callback: &'static str) -> Result<()> {
        let count = self.callback_counts.entry(callback).or_default();
        *count += 1;
        let is_it = |line: &str| match self.scenario {
            "tcp-all" => {
                line.contains(&format!(": probe {callback}")) && line.contains(" proxy_get_property(connection.id)")
            }
            scenario => line.contains(&format!(": probe {scenario}/")) && line.contains(&format!("-{callback}")),
        };
        wait_for(&format!("{callback} of {}", self.scenario), || {
            Ok((self.envoy.log().lines().filter(|line| is_it(line)).count() >= *count).then_some(()))
        })
    }

    /// Waits until Envoy has closed the connection, and reports the bytes at both ends.
    fn finish(mut self, report: &mut Report, which: &str) -> Result<()> {
        let mut client = Vec::new();
        if let Some(stream) = &mut self.client {
            read_to_end(stream, &mut client)?;
        }
        if !self.scenario.starts_with("tcp-trap-") {
            let callback = if self.scenario == "tcp-all" { ": probe " } else { &format!(": probe {}/", self.scenario) };
            wait_for(&format!("the end of {}", self.scenario), || {
                let log = self.envoy.log();
                let mut lines = log.lines().filter(|line| line.contains(callback));
                Ok(lines.any(|line| line.contains("on_delete(connection) ")).then_some(()))
            })?;
        }
        let mut upstream = Vec::new();
        self.upstream = self.upstream.take().or(accepted(self.upstreams)?);
        if let Some(stream) = &mut self.upstream {
            read_to_end(stream, &mut upstream)?;
        }
        let answer = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
        report.add(&format!("{}/{which}client", self.scenario), "received()", &answer(&client));
        report.add(&format!("{}/{which}upstream", self.scenario), "received()", &answer(&upstream));
        Ok(())
    }
}

/// Accepts a connection from a non-blocking listener; `None` if no connection waits.
fn accepted(listener: &std::net::TcpListener) -> Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads until the other end closes or resets the connection.
fn read_to_end(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
    match stream.read_to_end(bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(()),
    }
}

/// Resets the connection.
fn reset(stream: Option<TcpStream>, runtime: &Runtime) -> Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    stream.set_nonblocking(true)?;
    let _guard = runtime.enter();
    Ok(tokio::net::TcpStream::from_std(stream)?.set_zero_linger()?)
}

/// Runs all scenarios of TCP connections.
fn connections(report: &mut Report) -> Result<()> {
    let (runtime, scratch, module) = (Runtime::new()?, Scratch::new()?, probe(env!("CARGO_TARGET_TMPDIR"))?);
    let backend = Backend::start(&runtime)?;
    let upstreams = std::net::TcpListener::bind(ANY)?;
    upstreams.set_nonblocking(true)?;
    let bootstrap = tcp_bootstrap(backend.address, upstreams.local_addr()?, &module);
    let envoy = Envoy::start(&bootstrap.to_string(), scratch.path())?;
    let mut traps = 0;
    for (scenario, steps) in CONNECTIONS {
        let mut run = |which: &str, steps: &[Step]| {
            let client = Some(TcpStream::connect(("127.0.0.1", envoy.listener_port(scenario)?))?);
            let (upstreams, upstream, callback_counts) = (&upstreams, None, BTreeMap::new());
            let mut connection = Connection { envoy: &envoy, upstreams, scenario, client, upstream, callback_counts };
            connection.run(steps, &runtime)?;
            connection.finish(report, which)
        };
        if scenario.starts_with("tcp-trap-") {
            run("first-", &[Step::Early("hello")])?;
            traps += 1;
            wait_for(&format!("the trap of {scenario}"), || {
                let trapped = envoy.log().lines().filter(|line| line.contains(": unreachable")).count();
                Ok((trapped == traps).then_some(()))
            })?;
            // Otherwise the next connection goes to the other worker.
            envoy.wait_for_stat(&format!("listener.{scenario}.downstream_cx_active"), |active| active == 0)?;
        }
        run("", steps)?;
    }
    read_log(&envoy, report);
    Ok(())
}

fn environment() -> Value {
    json!({"PROBE": "1"})
}

/// Runs all scenarios: a VM starts, ticks and makes calls; requests of all scenarios; another configuration; VMs that
/// end during `_initialize`.
fn probe_run() -> Result<Report> {
    let mut probe_run = ProbeRun::start()?;
    for callback in [
        "on_configure",
        "on_tick",
        "on_queue_ready",
        "on_http_call_response",
        "on_grpc_receive_initial_metadata",
        "on_grpc_receive",
        "on_grpc_receive_trailing_metadata",
        "on_grpc_close",
    ] {
        probe_run.wait_for_callback(callback)?;
    }
    for (scenario, shape) in SCENARIOS {
        probe_run.run(scenario, shape)?;
    }
    let second = extension(&probe_run.module, "the VM's", "second", environment());
    probe_run.envoy.replace_extension(&probe_run.extension, &second)?;
    for callback in ["on_done(root)", "on_delete(root)"] {
        probe_run.wait_for_callback(callback)?;
    }
    probe_run.run("failing-callouts", Shape::Headers)?;
    for callback in ["refused/on_http_call_response", "refused/on_grpc_close", "timed-out/on_http_call_response"] {
        probe_run.envoy.wait_for_log(&format!(": probe {callback} proxy_get_buffer_bytes(HttpCallResponseBody)"))?;
    }
    for function in FORBIDDEN {
        probe_run.forbidden(function)?;
    }
    Ok(probe_run.finish())
}

/// `UPDATE_ENVOY_REPORT=1` rewrites the report.
#[test]
fn envoy_answers_every_hostcall_as_recorded() -> Result<()> {
    let mut report = probe_run()?;
    connections(&mut report)?;
    assert!(report.len() >= 200, "{} calls", report.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-sim/tests/envoy-1.40.report");
    if std::env::var_os("UPDATE_ENVOY_REPORT").is_some() {
        std::fs::write(&path, report.text())?;
    }
    let expected = Report::parse(&std::fs::read_to_string(&path)?)?;
    let differences = expected.differences(&report);
    let listed: Vec<String> = differences
        .iter()
        .map(|((callback, call), (recorded, answered))| {
            format!("{callback} {call}: recorded {recorded:?}, answered {answered:?}")
        })
        .collect();
    assert!(listed.is_empty(), "{} answers of Envoy differ:\n{}", listed.len(), listed.join("\n"));
    Ok(())
}
