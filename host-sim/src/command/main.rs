//! `host-sim`: a filter in the simulator, from the command line.

mod route_configuration;
mod terminal;
mod watchdog;

use clap::{Args, Parser, Subcommand};
use host_sim::{Error, Headers, Inspection, Limit, Log, Metric, Module, Outcome, RoutedRequest, Simulator, Value};
use serde_json::{Map, Value as Json, json};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use terminal::{escape_json, log_lines, write_lines};
use watchdog::Watchdog;

/// Runs a Proxy-Wasm filter without Envoy, in a host that answers as Envoy answers.
#[derive(Parser)]
#[command(name = "host-sim", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends requests through a filter, and shows what it made of them.
    #[command(after_help = "\
Examples:
  host-sim run dist/traffic-split.wasm --config plugin.json \\
      --request 'GET http://httpbin.httpbin:14001/json' -n 10
  host-sim run filter.wasm --request 'POST http://shop/cart' -H 'x-user: 7' --body '{}' --json
  host-sim run filter.wasm --request 'GET http://shop/' --routes route_config.yaml

  # A filter that needs more than the default limits.
  host-sim run filter.wasm --request 'GET http://shop/' --fuel 1000000000000 --timeout 600 \\
      --max-memory-bytes 1073741824 --max-log-bytes 16777216

  # A filter that you don't trust: at most about a second and 16 MiB.
  host-sim run filter.wasm --request 'GET http://shop/' --fuel 100000000 --timeout 1 --max-memory-bytes 16777216

Exit codes: 0 every request went through the filter; 1 a file can't be read, the filter doesn't start, refuses its
configuration, traps or exceeds a limit; 2 the call is wrong.")]
    Run(Box<Run>),
    /// Says what a module is made of, and whether this host and Envoy would start it.
    #[command(after_help = "\
Examples:
  host-sim inspect dist/traffic-split.wasm
  host-sim inspect target/wasm32-wasip1/release/filter.wasm --json | jq -r '.imports.env[]'

Exit codes: 0 Envoy starts it; 1 the file can't be read, is no WebAssembly or Envoy refuses it; 2 the call is wrong.")]
    Inspect(Inspect),
}

#[derive(Args)]
struct Inspect {
    /// The filter: a WebAssembly module, as binary; `-` is standard input
    filter: PathBuf,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Run {
    /// The filter: a Proxy-Wasm module, as binary
    filter: PathBuf,
    /// The plugin's configuration, a file; `-` is standard input; empty unless given
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The VM's configuration, a file
    #[arg(long, value_name = "FILE")]
    vm_config: Option<PathBuf>,
    /// The request: a method and a URL
    #[arg(long, value_name = "'METHOD URL'", value_parser = method_and_url)]
    request: (String, String),
    /// A header of the request; may be given again. `host` is its authority
    #[arg(short = 'H', long, value_name = "'NAME: VALUE'", value_parser = header)]
    header: Vec<(String, String)>,
    /// The body of the request
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// How many times the request is sent
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The node's namespace: its metadata NAMESPACE, as Istio gives it
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// A string in the node's metadata; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = |text: &str| pair(text, '='))]
    metadata: Vec<(String, String)>,
    /// A property, its path's parts separated by dots, as text; may be given again
    #[arg(long, value_name = "PATH=VALUE", value_parser = |text: &str| pair(text, '='))]
    property: Vec<(String, String)>,
    /// Where requests go: Envoy's RouteConfiguration, YAML or JSON, of the fields that the simulator knows
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// The port that the client connected to
    #[arg(long, value_name = "PORT")]
    destination_port: Option<u16>,
    /// What random bytes follow from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Limits, which end the run with an error")]
    limits: Limits,
}

#[derive(Args)]
struct Limits {
    /// Most fuel for one callback of the filter; an instruction takes about one unit
    #[arg(long, value_name = "UNITS", default_value_t = 10_000_000_000)]
    fuel: u64,
    /// Most memory of the filter's VM
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20)]
    max_memory_bytes: usize,
    /// Most log messages of the filter while it starts, or for each part of a request
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_log_bytes: usize,
    /// Most bytes that the filter passes to host functions while it starts, or for each part of a request
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_host_bytes: usize,
    /// Most time for the start, and for each request
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let done = match Cli::parse().command {
        Command::Run(run) => run.write(&mut out),
        Command::Inspect(inspect) => inspect.write(&mut out),
    };
    match done.and_then(|fine| Ok(out.flush().map(|()| fine)?)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Who stops reading has read enough.
        Err(Failure::Output(why)) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            let logs = if let Failure::Module(_, logs) = &why { &logs[..] } else { &[] };
            let lines = logs.iter().flat_map(|log| log_lines("  ", log));
            // That nobody can read it changes nothing.
            _ = write_lines(&mut io::stderr().lock(), std::iter::once(format!("error: {why}")).chain(lines));
            ExitCode::FAILURE
        }
    }
}

/// Why a command came to no end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What it was given.
    #[error("{0}")]
    Input(String),
    /// What a module did, and what it logged before.
    #[error("{0}")]
    Module(String, Vec<Log>),
    /// What it wrote to.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

// === impl Inspect ===

impl Inspect {
    /// Writes what the module is made of; whether Envoy starts it.
    fn write(&self, out: &mut impl Write) -> Result<bool, Failure> {
        let inspection = Inspection::of_bytes(read(&self.filter)?)
            .map_err(|why| Failure::Input(format!("{}: {why}", self.filter.display())))?;
        if self.json {
            out.write_all(escape_json(&inspection_in_json(&inspection)).as_bytes())?;
        } else {
            write_lines(out, inspection_in_words(&self.filter, &inspection))?;
        }
        Ok(inspection.refused_by_envoy.is_empty())
    }
}

// === impl Run ===

impl Run {
    /// Writes what becomes of each request as it ends, however many there are; whether none met a trap.
    fn write(&self, out: &mut impl Write) -> Result<bool, Failure> {
        let watchdog = Watchdog::start(Duration::from_secs(self.limits.timeout));
        let mut simulator = watchdog.watch(&self.filter.display().to_string(), || self.start())?;
        let started = simulator.logs();
        if self.json {
            let logs = escape_json(&json!(logs_in_json(started)).to_string());
            write!(out, "{{\n\"logs\": {logs},\n\"requests\": [")?;
        } else {
            write_lines(out, started.iter().flat_map(|log| log_lines("", log)))?;
        }
        let mut fine = true;
        let mut exceeded = None;
        for n in 1..=self.count {
            // The watchdog ends the process without writing what is buffered.
            out.flush()?;
            let outcome = watchdog.watch(&format!("request {n}"), || self.send(&mut simulator));
            // The outcome has them.
            simulator.forget_logs();
            fine &= outcome.trap.is_none();
            if self.json {
                let separator = if n == 1 { "" } else { "," };
                write!(out, "{separator}\n  {}", escape_json(&outcome_in_json(&outcome).to_string()))?;
            } else {
                write_lines(out, outcome_in_words(n, &outcome))?;
            }
            exceeded = simulator.exceeded_limit().map(|limit| format!("request {n}: {}", remedied(limit)));
            if exceeded.is_some() {
                break;
            }
        }
        if self.json {
            let metrics = escape_json(&metrics_in_json(simulator.metrics()).to_string());
            writeln!(out, "\n],\n\"metrics\": {metrics}\n}}")?;
        } else {
            write_lines(out, metrics_in_words(simulator.metrics()))?;
        }
        match exceeded {
            Some(why) => {
                out.flush()?;
                Err(Failure::Module(why, Vec::new()))
            }
            None => Ok(fine),
        }
    }

    fn start(&self) -> Result<Simulator, Failure> {
        let module = Module::from_file(&self.filter).map_err(|why| match why {
            Error::Read { .. } => Failure::Input(why.to_string()),
            why => Failure::Input(format!("{}: {why}", self.filter.display())),
        })?;
        let Limits { fuel, max_memory_bytes, max_log_bytes, max_host_bytes, .. } = self.limits;
        let mut builder = Simulator::builder(&module)
            .seed(self.seed)
            .fuel(fuel)
            .memory_limit(max_memory_bytes)
            .log_limit(max_log_bytes)
            .host_limit(max_host_bytes);
        if let Some(file) = &self.config {
            builder = builder.configuration(read(file)?);
        }
        if let Some(file) = &self.vm_config {
            builder = builder.vm_configuration(read(file)?);
        }
        if let Some(namespace) = &self.namespace {
            builder = builder.node_metadata("NAMESPACE", namespace);
        }
        for (key, value) in &self.metadata {
            builder = builder.node_metadata(key, value);
        }
        for (path, value) in &self.property {
            builder = builder.property(&path.split('.').collect::<Vec<_>>(), value);
        }
        if let Some(file) = &self.routes {
            let routes = route_configuration::read(&read(file)?);
            builder = builder.routes(routes.map_err(|why| Failure::Input(format!("{}: {why}", file.display())))?);
        }
        builder.start().map_err(|why| {
            // What is refused is the configuration, so that is the file to look at.
            let file = match (&why, &self.config) {
                (Error::Refused { .. }, Some(config)) => config.display().to_string(),
                (Error::Refused { .. }, None) => format!("{} without --config", self.filter.display()),
                _ => self.filter.display().to_string(),
            };
            let what = match &why {
                Error::Refused { callback, .. } => format!("{callback} refused the configuration"),
                Error::Trapped { callback, limit: Some(limit), .. } => format!("{callback}: {}", remedied(*limit)),
                Error::Trapped { callback, why, .. } => format!("the module trapped in {callback}: {why}"),
                Error::Limit { limit, .. } => remedied(*limit),
                why => why.to_string(),
            };
            Failure::Module(format!("{file}: {what}"), why.logs().to_vec())
        })
    }

    fn send(&self, simulator: &mut Simulator) -> Outcome {
        let (method, url) = &self.request;
        let mut request = simulator.request().method(method, url);
        for (name, value) in &self.header {
            // As curl has it, and as HTTP/1 puts it.
            request = if name == "host" { request.authority(value) } else { request.header(name, value) };
        }
        if let Some(body) = &self.body {
            request = request.body(body);
        }
        if let Some(port) = self.destination_port {
            request = request.destination_port(port);
        }
        request.send()
    }
}

/// What a limit is, and the option that raises it.
fn remedied(limit: Limit) -> String {
    let option = match limit {
        Limit::Fuel(_) => "--fuel",
        Limit::Memory(_) => "--max-memory-bytes",
        Limit::Log(_) => "--max-log-bytes",
        Limit::Host(_) => "--max-host-bytes",
        _ => return limit.to_string(),
    };
    format!("{limit}; raise it with `{option}`")
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    bytes.map_err(|why| Failure::Input(format!("{}: {why}", file.display())))
}

fn inspection_in_words(file: &Path, found: &Inspection) -> Vec<String> {
    let abi = found.abi.map_or("no known ABI".to_owned(), |abi| format!("ABI {abi}"));
    let names = if found.function_names { "with" } else { "without" };
    let mut lines = vec![format!("{}: {abi}, {} bytes, {names} function names", file.display(), found.size)];
    let none = || "none".to_owned();
    lines.push(format!(
        "memory: {}",
        found.memory.map_or_else(none, |memory| {
            let max = memory.max.map_or("no limit".to_owned(), |max| format!("at most {max}"));
            let imported = if memory.imported { ", imported" } else { "" };
            format!("{} pages of 64 KiB, {max}{imported}", memory.min)
        })
    ));
    lines.push(format!("called first: {}", found.initializer.unwrap_or("nothing")));
    lines.push(format!("allocator: {}", found.allocator.unwrap_or("none")));
    let mut list = |what: &str, names: &[String]| {
        if !names.is_empty() {
            lines.push(format!("{what} ({}):", names.len()));
            lines.extend(names.iter().map(|name| format!("  {name}")));
        }
    };
    let owned = |names: &[&str]| -> Vec<_> { names.iter().map(|name| (*name).to_owned()).collect() };
    list("callbacks", &owned(&found.callbacks));
    list("callbacks not exported", &owned(&found.callbacks_not_exported));
    list("other exports", &found.other_exports);
    for (module, names) in &found.imports {
        list(&format!("imports from {module}"), names);
    }
    list("warnings", &found.warnings);
    let mut verdict = |who: &str, refused: &[String]| {
        let what = if refused.is_empty() { "accepts it" } else { "rejects it:" };
        lines.push(format!("{who} {what}"));
        lines.extend(refused.iter().map(|why| format!("  {why}")));
    };
    verdict("this host", &found.refused_here);
    verdict("Envoy", &found.refused_by_envoy);
    lines
}

fn inspection_in_json(found: &Inspection) -> String {
    let memory = found.memory.map(|memory| json!({"min": memory.min, "max": memory.max, "imported": memory.imported}));
    let report = json!({
        "abi": found.abi,
        "size": found.size,
        "functionNames": found.function_names,
        "memory": memory,
        "initializer": found.initializer,
        "allocator": found.allocator,
        "callbacks": found.callbacks,
        "callbacksNotExported": found.callbacks_not_exported,
        "otherExports": found.other_exports,
        "imports": found.imports,
        "unserved": found.unserved,
        "warnings": found.warnings,
        "refusedHere": found.refused_here,
        "refusedByEnvoy": found.refused_by_envoy,
    });
    format!("{report:#}\n")
}

/// What became of a request, by its number.
fn outcome_in_words(n: u32, outcome: &Outcome) -> Vec<String> {
    let message = |indent: &str, headers: &Headers, body: &[u8]| -> Vec<String> {
        let headers = headers.iter().filter(|(name, _)| name != b":status");
        let body = (!body.is_empty()).then(|| format!("{indent}{} bytes of body", body.len()));
        headers.map(|(name, value)| format!("{indent}{}: {}", readable(name), readable(value))).chain(body).collect()
    };
    let mut lines = vec![format!("request {n}: {}", fate(outcome))];
    lines.extend(outcome.route.as_ref().map(route_in_words));
    lines.extend(message("  ", &outcome.request_headers, &outcome.request_body));
    if let Some(status) = outcome.status() {
        lines.push(format!("  the client gets {status}"));
        lines.extend(message("    ", &outcome.response.headers, &outcome.response.body));
    }
    lines.extend(outcome.logs.iter().flat_map(|log| log_lines("  ", log)));
    lines
}

fn fate(outcome: &Outcome) -> String {
    let fate = match (&outcome.trap, &outcome.local_response) {
        (Some(trap), _) => format!("trap in {trap}"),
        (None, Some(response)) => format!("answered {} by the filter", response.status),
        (None, None) if outcome.paused => "held back by the filter".to_owned(),
        (None, None) => "goes on".to_owned(),
    };
    if outcome.route_cache_cleared { fate + ", its route looked for again" } else { fate }
}

fn route_in_words(routed: &RoutedRequest) -> String {
    let cluster = match &routed.cluster {
        Some(cluster) => format!("the cluster {}", readable(cluster)),
        None => "no cluster".to_owned(),
    };
    let mirrors: String =
        routed.mirrors.iter().map(|mirror| format!(", copied to {}", readable(&mirror.cluster))).collect();
    let route = if routed.route.is_empty() { "a route without a name" } else { &routed.route };
    format!("  to {cluster}{mirrors}, by {route} of the virtual host {}", routed.virtual_host)
}

fn metrics_in_words(metrics: Vec<(String, Metric)>) -> impl Iterator<Item = String> {
    metrics.into_iter().map(|(name, metric)| match metric.value {
        Value::Counter(value) | Value::Gauge(value) => format!("{name}: {value}"),
        Value::Histogram(values) => format!("{name}: {values:?}"),
    })
}

fn logs_in_json(logs: &[Log]) -> Vec<Json> {
    logs.iter().map(|log| json!({"level": log.level.to_string(), "message": log.message})).collect()
}

fn outcome_in_json(outcome: &Outcome) -> Json {
    let pairs = |headers: &Headers| -> Vec<_> {
        headers.iter().map(|(name, value)| json!([readable(name), readable(value)])).collect()
    };
    json!({
        "requestHeaders": pairs(&outcome.request_headers),
        "requestBody": readable(&outcome.request_body),
        "routeCacheCleared": outcome.route_cache_cleared,
        "route": outcome.route.as_ref().map(|routed| json!({
            "virtualHost": routed.virtual_host,
            "name": routed.route,
            "cluster": routed.cluster.as_deref().map(readable),
            "mirrors": routed.mirrors.iter().map(|mirror| readable(&mirror.cluster)).collect::<Vec<_>>(),
        })),
        "responseHeaders": pairs(&outcome.response.headers),
        "responseBody": readable(&outcome.response.body),
        "localResponse": outcome.local_response.as_ref().map(|response| json!({
            "status": response.status,
            "details": readable(&response.details),
            "headers": pairs(&response.headers),
            "body": readable(&response.body),
            "grpcStatus": response.grpc_status,
        })),
        "paused": outcome.paused,
        "trap": outcome.trap,
        "logs": logs_in_json(&outcome.logs),
    })
}

fn metrics_in_json(metrics: Vec<(String, Metric)>) -> Json {
    let metrics: Map<_, _> = metrics
        .into_iter()
        .map(|(name, metric)| {
            let value = match metric.value {
                Value::Counter(value) => json!({"counter": value}),
                Value::Gauge(value) => json!({"gauge": value}),
                Value::Histogram(values) => json!({"histogram": values}),
            };
            (name, value)
        })
        .collect();
    Json::Object(metrics)
}

/// Text as it is; a byte that isn't UTF-8 as `\xNN`.
fn readable(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &chunk.invalid().escape_ascii().to_string()).collect()
}

/// A method and an absolute URL, as a client would send them.
fn method_and_url(text: &str) -> Result<(String, String), String> {
    let example = "it should be a method and a URL: 'GET http://httpbin.httpbin:14001/json'";
    let (method, url) = text.trim().split_once(' ').ok_or(example)?;
    let url = url.trim_start();
    if !is_token(method) {
        return Err(format!("{method} is no method"));
    }
    if let Some(odd) = url.chars().find(|odd| odd.is_whitespace() || odd.is_control()) {
        return Err(format!("the URL has {odd:?} in it, which should be percent-encoded"));
    }
    if url.contains('#') {
        return Err("no client sends what stands behind # in a URL".to_owned());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !["http", "https"].contains(&scheme) {
        return Err(format!("the URL's scheme is http or https, not {scheme}"));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // The colons within an IPv6 address are none before a port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || host.contains('@') {
        return Err(format!("the URL has no host, or more than a host and a port: {authority}"));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("the URL's port is no number up to 65535: {authority}"));
    }
    Ok((method.to_owned(), url.to_owned()))
}

/// A header, its name in lower case.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text, ':')?;
    if !is_token(&name) {
        return Err(format!("{name:?} is no header's name"));
    }
    if let Some(odd) = value.chars().find(|&odd| odd.is_control() && odd != '\t') {
        return Err(format!("the value has {odd:?} in it"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_end().to_owned()))
}

/// Whether it is a token of HTTP's, as methods and headers' names are.
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

fn pair(text: &str, separator: char) -> Result<(String, String), String> {
    match text.split_once(separator) {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim_start().to_owned())),
        _ => Err(format!("there should be a name and a `{separator}`")),
    }
}
