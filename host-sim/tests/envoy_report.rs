//! Runs the guest `probe` in the simulator, and compares the results of every host function in every callback with those in
//! a real Envoy. `DIFFERENCES.md` lists all that may differ. The end-to-end tests check the recorded results in Envoy.

#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod report;

use host_sim::{Builder, Error, FailurePolicy, Headers, LogLevel, Module, Outcome, Response, Simulator};
use report::{Asked, CONNECTIONS, ENVOY_REPORT, FORBIDDEN, Report, SCENARIOS, Shape, Step, probe};
use std::net::SocketAddr;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A documented difference.
struct Known {
    call: String,
    callbacks: Vec<String>,
    line: String,
    /// The number of calls that differ so.
    met: usize,
}

impl Known {
    /// Returns the table in `DIFFERENCES.md`: calls and callbacks, in which `*` stands for any characters.
    fn table() -> Vec<Known> {
        let rows = include_str!("../DIFFERENCES.md").lines().filter(|line| line.starts_with("| `"));
        rows.map(|line| {
            let mut columns = line.trim_matches('|').split(" | ").map(|column| column.trim().trim_matches('`'));
            let call = columns.next().unwrap_or_default().to_owned();
            let callbacks = columns.next().unwrap_or_default().split("`, `").map(str::to_owned).collect();
            Known { call, callbacks, line: line.to_owned(), met: 0 }
        })
        .collect()
    }

    fn is_of(&self, (callback, call): &Asked) -> bool {
        matches(&self.call, call) && self.callbacks.iter().any(|pattern| matches(pattern, callback))
    }
}

/// Returns whether a text matches a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    true
}

/// Returns the upstream's response as the filters of Envoy receive it.
fn response() -> Response {
    answer("text/plain").trailer("x-trailer", "end")
}

fn answer(kind: &str) -> Response {
    Response::status_only(200)
        .header("content-type", kind)
        .header("x-pod", "backend")
        .header("date", "Thu, 01 Jan 2026 00:00:00 GMT")
        .header("content-length", "6")
        .body("answer")
}

/// Returns the response to a callout. Envoy's router adds a header to it.
fn callout_answer() -> Response {
    response().header("x-envoy-upstream-service-time", "0")
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| (Vec::from(*name), Vec::from(*value))).collect()
}

fn builder(module: &Module, configuration: &str) -> Builder {
    Simulator::builder(module)
        .configuration(configuration)
        .vm_configuration("the VM's")
        .vm_id("probe-vm")
        .environment_variable("PROBE", "1")
        .log_level(LogLevel::Warn)
        .clusters(&["backend", "refusing"])
        .node_metadata("NAMESPACE", "probe-namespace")
        .property(&["xds", "node", "id"], "probe-node")
        .property(&["plugin_name"], "probe")
        .property(&["plugin_root_id"], "probe-root")
}

fn start(module: &Module, configuration: &str, forbidden: Option<&str>) -> std::result::Result<Simulator, Error> {
    let mut builder = builder(module, configuration);
    if let Some(function) = forbidden {
        builder = builder.environment_variable("PROBE_FORBIDDEN", function);
    }
    builder.start()
}

/// Responds to the callouts of the first tick, as the backend does in Envoy.
fn answer_callouts(sim: &mut Simulator) {
    let token = sim.http_calls().first().map_or(0, |call| call.token);
    assert!(sim.respond_to_http_call(token, callout_answer()), "an HTTP callout");
    let call = sim.grpc_calls().into_iter().find(|call| !call.is_stream).map_or(0, |call| call.token);
    assert!(sim.grpc_message(call, "answer"), "a gRPC call");
    let stream = sim.grpc_calls().into_iter().find(|call| call.is_stream && call.ended).map_or(0, |call| call.token);
    let metadata = answer("application/grpc").header("x-envoy-upstream-service-time", "0").headers;
    assert!(sim.grpc_initial_metadata(stream, metadata), "a gRPC stream");
    assert!(sim.grpc_message(stream, "answer"));
    assert!(sim.grpc_trailing_metadata(stream, headers(&[("grpc-status", "0")])));
    assert!(sim.grpc_close(stream, 0, "via_upstream"));
}

/// Ends the callouts that fail, as Envoy does.
fn fail_callouts(sim: &mut Simulator) {
    let refused = sim.http_calls().into_iter().find(|call| call.cluster == "refusing").map_or(0, |call| call.token);
    let text = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
    let failed = Response::status_only(503)
        .header("content-length", text.len().to_string())
        .header("content-type", "text/plain")
        .body(text);
    assert!(sim.respond_to_http_call(refused, failed), "an HTTP callout");
    let refused = sim.grpc_calls().into_iter().find(|call| call.upstream == b"refusing").map_or(0, |call| call.token);
    assert!(sim.grpc_close(refused, 14, text), "a gRPC call");
    // The timeout of the third callout is 50 ms.
    sim.advance(Duration::from_millis(60));
}

/// Sends the request of a scenario, continues it where it pauses, and reports the outcome.
fn run(sim: &mut Simulator, report: &mut Report, scenario: &str, shape: Shape) {
    let (method, path) = if shape == Shape::Headers { ("GET", "path?query") } else { ("POST", "path?query") };
    let path = if scenario == "unrouted" { "unrouted" } else { path };
    let mut request = sim
        .request()
        .method(method, &format!("http://probe.test/{path}"))
        .header("x-probe", scenario)
        .header("x-forwarded-proto", "http")
        .property(&["xds", "cluster_name"], "backend")
        .property(&["xds", "route_name"], "the-route");
    if shape != Shape::Headers {
        request = request.body("hello");
    }
    let id = match shape {
        Shape::Headers => request.open(),
        Shape::Body => {
            let id = request.incomplete().open();
            sim.stream(id).body("", true);
            id
        }
        Shape::Trailers => request.trailer("x-trailer", "end").open(),
    };
    let resume = |sim: &mut Simulator| {
        let paused = sim.stream(id).is_paused();
        if paused {
            let token = sim.http_calls().into_iter().map(|call| call.token).max().unwrap_or(0);
            assert!(sim.respond_to_http_call(token, callout_answer()), "{scenario}: a callout");
        }
        paused
    };
    resume(sim);
    let unrouted = scenario == "unrouted";
    sim.stream(id).respond(if unrouted { Response::status_only(404) } else { response() });
    resume(sim);
    let outcome = sim.stream(id).finish();
    report.add(&format!("{scenario}/client"), "answer()", &got(&outcome));
    report.add(&format!("{scenario}/backend"), "request()", &seen(&outcome, shape, unrouted));
}

/// Returns what the client received.
fn got(outcome: &Outcome) -> String {
    let (false, Some(status)) = (outcome.reset, outcome.status()) else { return "none".to_owned() };
    let value = |name: &str| {
        let values = outcome.response.headers.get_all(name).map(String::from_utf8_lossy);
        values.collect::<Vec<_>>().join(",")
    };
    let local = value("x-local");
    let local = if local.is_empty() { local } else { format!(" x-local={local}") };
    format!("{status} \"{}\" {}{local}", outcome.response.body.escape_ascii(), value("content-type"))
}

/// Returns what the backend received.
fn seen(outcome: &Outcome, shape: Shape, unrouted: bool) -> String {
    if unrouted || shape != Shape::Headers && outcome.request_body.is_empty() {
        return "none".to_owned();
    }
    let names = ["x-trailer", "x-added"].into_iter();
    let trailers = names.filter_map(|name| {
        let value = outcome.request_trailers.get(name)?;
        Some(format!(" {name}={}", String::from_utf8_lossy(value)))
    });
    let added = outcome.request_header("x-added").map_or("", |_| " with x-added");
    format!("\"{}\"{}{added}", outcome.request_body.escape_ascii(), trailers.collect::<String>())
}

/// Runs the connections of a scenario.
fn connections(module: &Module, report: &mut Report, scenario: &str, steps: &[Step]) -> Result<()> {
    let trap = scenario.strip_prefix("tcp-trap-");
    let open = trap.is_some_and(|trap| trap.ends_with("open"));
    let policy = if open { FailurePolicy::Open } else { FailurePolicy::Closed };
    let sim = builder(module, &format!("tcp {scenario}")).failure_policy(policy).start();
    let mut sim = sim.map_err(|error| error.to_string())?;
    if trap.is_some() {
        connect(&mut sim, report, &format!("{scenario}/first-"), &[Step::Early("hello")]);
    }
    connect(&mut sim, report, &format!("{scenario}/"), steps);
    sim.logs().iter().for_each(|log| report.read_line(&log.message));
    Ok(())
}

/// Runs the steps of a connection, and reports the outcome.
fn connect(sim: &mut Simulator, report: &mut Report, name: &str, steps: &[Step]) {
    let (client, listener) = (SocketAddr::from(([127, 0, 0, 1], 50_000)), SocketAddr::from(([127, 0, 0, 1], 14_001)));
    let connection = sim.connection().source_address(client).destination_address(listener);
    let id = connection.property(&["connection", "id"], 1_u64.to_le_bytes()).open();
    // Envoy sets the property when it selects the upstream.
    _ = sim.open_connection(id).property(&["xds", "cluster_name"], "upstream");
    let mut reset = false;
    for step in steps {
        let connection = sim.open_connection(id);
        match step {
            Step::Client(text) | Step::Early(text) => _ = connection.downstream_data(text, false),
            Step::ClientEnds => _ = connection.downstream_data("", true),
            // A reset is the last step, as `finish` is.
            Step::ClientResets => {}
            Step::Upstream(text) => _ = connection.upstream_data(text, false),
            Step::UpstreamEnds => _ = connection.upstream_data("", true),
            Step::UpstreamResets => {
                reset = true;
                _ = connection.reset_upstream();
            }
            Step::Callout => {
                let token = sim.http_calls().first().map_or(0, |call| call.token);
                assert!(sim.respond_to_http_call(token, callout_answer()), "{name}: a callout");
            }
        }
    }
    let outcome = sim.open_connection(id).finish();
    let received = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
    report.add(&format!("{name}client"), "received()", &received(&outcome.to_downstream));
    // The upstream that reset the connection reports nothing.
    let to_upstream = if reset { Vec::new() } else { outcome.to_upstream };
    report.add(&format!("{name}upstream"), "received()", &received(&to_upstream));
}

/// Runs all scenarios, as the test in Envoy does.
fn run_scenarios() -> Result<Report> {
    let module = Module::from_file(probe(env!("CARGO_TARGET_TMPDIR"))?).map_err(|error| error.to_string())?;
    let mut report = Report::new();
    let mut sim = start(&module, "first: takes a tick", None).map_err(|error| error.to_string())?;
    sim.advance(Duration::from_millis(20));
    answer_callouts(&mut sim);
    for (scenario, shape) in SCENARIOS {
        run(&mut sim, &mut report, scenario, shape);
    }
    sim.reconfigure("second").map_err(|error| error.to_string())?;
    sim.advance(Duration::from_millis(20));
    run(&mut sim, &mut report, "failing-callouts", Shape::Headers);
    fail_callouts(&mut sim);
    for function in FORBIDDEN {
        let answer = match start(&module, "forbidden", Some(function)) {
            Ok(_) => "returned",
            Err(_) => "the VM's end",
        };
        report.add("_initialize(forbidden)", &format!("{function}()"), answer);
    }
    for log in sim.logs() {
        report.read_line(&log.message);
    }
    for (scenario, steps) in CONNECTIONS {
        connections(&module, &mut report, scenario, steps)?;
    }
    Ok(report)
}

#[test]
fn every_call_returns_what_envoy_returns_except_documented_differences() -> Result<()> {
    let envoy = Report::parse(ENVOY_REPORT)?;
    let report = run_scenarios()?;
    assert!(report.len() >= 200, "{} calls", report.len());
    let mut known = Known::table();
    let mut undocumented = Vec::new();
    for (asked, (envoy, simulator)) in envoy.differences(&report) {
        match known.iter_mut().find(|known| known.is_of(&asked)) {
            Some(known) => known.met += 1,
            None => {
                let [envoy, simulator] = [envoy, simulator].map(|answer| answer.unwrap_or("not called".to_owned()));
                undocumented.push(format!("{} {}: Envoy {envoy}, simulator {simulator}", asked.1, asked.0));
            }
        }
    }
    undocumented.sort();
    assert!(undocumented.is_empty(), "{} differences:\n{}", undocumented.len(), undocumented.join("\n"));
    let stale: Vec<&str> = known.iter().filter(|known| known.met == 0).map(|known| known.line.as_str()).collect();
    assert!(stale.is_empty(), "documented differences that no longer exist; remove them:\n{}", stale.join("\n"));
    Ok(())
}
