//! `host-sim`: a filter in the simulator, from the command line.

use clap::{Args, Parser, Subcommand};
use host_sim::{Error, Inspection, Log, Module, Outcome, Simulator, Value};
use serde_json::{Map, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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

Exit codes: 0 every request went through the filter; 1 a file can't be read, the filter doesn't start, refuses its
configuration or traps; 2 the call is wrong.")]
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
    /// The filter: a Proxy-Wasm module of ABI 0.2.x, as binary
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
    /// A header of the request; may be given again
    #[arg(short = 'H', long, value_name = "'NAME: VALUE'", value_parser = |text: &str| pair(text, ':'))]
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
    /// The port that the client connected to
    #[arg(long, value_name = "PORT")]
    destination_port: Option<u16>,
    /// What random bytes follow from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let report = match Cli::parse().command {
        Command::Run(run) => run.report(),
        Command::Inspect(inspect) => inspect.report(),
    };
    match report {
        Ok(report) => print(&report.text, report.fine),
        Err(why) => fail(&why),
    }
}

/// Says why on standard error. That nobody can read it changes nothing.
fn fail(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {why}");
    ExitCode::FAILURE
}

/// What is printed, and whether all went well.
struct Report {
    text: String,
    fine: bool,
}

// === impl Inspect ===

impl Inspect {
    fn report(&self) -> Result<Report, String> {
        let inspection =
            Inspection::of_bytes(read(&self.filter)?).map_err(|why| format!("{}: {why}", self.filter.display()))?;
        let text =
            if self.json { inspection_in_json(&inspection) } else { inspection_in_words(&self.filter, &inspection) };
        Ok(Report { text, fine: inspection.refused_by_envoy.is_empty() })
    }
}

// === impl Run ===

impl Run {
    fn report(&self) -> Result<Report, String> {
        let module = Module::from_file(&self.filter).map_err(|why| match why {
            Error::Read { .. } => why.to_string(),
            why => format!("{}: {why}", self.filter.display()),
        })?;
        let mut builder = Simulator::builder(&module).seed(self.seed);
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
        let mut simulator = builder.start().map_err(|why| {
            // What is refused is the configuration, so that is the file to look at.
            let file = match (&why, &self.config) {
                (Error::Refused { .. }, Some(config)) => config.display().to_string(),
                (Error::Refused { .. }, None) => format!("{} without --config", self.filter.display()),
                _ => self.filter.display().to_string(),
            };
            format!("{file}: {why}")
        })?;
        let started = simulator.logs().to_vec();
        let outcomes: Vec<_> = (0..self.count).map(|_| self.send(&mut simulator)).collect();
        let fine = outcomes.iter().all(|outcome| outcome.trap.is_none());
        let text = if self.json {
            in_json(&started, &outcomes, &simulator)
        } else {
            in_words(&started, &outcomes, &simulator)
        };
        Ok(Report { text, fine })
    }

    fn send(&self, simulator: &mut Simulator) -> Outcome {
        let (method, url) = &self.request;
        let mut request = simulator.request().method(method, url);
        for (name, value) in &self.header {
            request = request.header(name, value);
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

fn read(file: &PathBuf) -> Result<Vec<u8>, String> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    bytes.map_err(|why| format!("{}: {why}", file.display()))
}

/// Writes to standard output; who stops reading has read enough.
fn print(text: &str, fine: bool) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => fail(&format!("standard output: {why}")),
        _ if fine => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn inspection_in_words(file: &Path, found: &Inspection) -> String {
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
        let what = if refused.is_empty() { "starts it" } else { "refuses it:" };
        lines.push(format!("{who} {what}"));
        lines.extend(refused.iter().map(|why| format!("  {why}")));
    };
    verdict("this host", &found.refused_here);
    verdict("Envoy", &found.refused_by_envoy);
    lines.join("\n") + "\n"
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

fn in_words(started: &[Log], outcomes: &[Outcome], simulator: &Simulator) -> String {
    let mut lines: Vec<_> = started.iter().map(Log::to_string).collect();
    for (n, outcome) in outcomes.iter().enumerate() {
        lines.push(format!("request {}: {}", n + 1, fate(outcome)));
        for (name, value) in outcome.request_headers.iter() {
            lines.push(format!("  {}: {}", readable(name), readable(value)));
        }
        if !outcome.request_body.is_empty() {
            lines.push(format!("  {} bytes of body", outcome.request_body.len()));
        }
        lines.extend(outcome.logs.iter().map(|log| format!("  {log}")));
    }
    let metrics = simulator.metrics().into_iter().map(|(name, metric)| match &metric.value {
        Value::Counter(value) | Value::Gauge(value) => format!("{name}: {value}"),
        Value::Histogram(values) => format!("{name}: {values:?}"),
    });
    lines.extend(metrics);
    lines.join("\n") + "\n"
}

fn fate(outcome: &Outcome) -> String {
    let fate = match (&outcome.trap, &outcome.local_response) {
        (Some(trap), _) => format!("trap in {trap}; the client gets 503"),
        (None, Some(response)) => format!("answered {} by the filter", response.status),
        (None, None) if outcome.paused => "held back by the filter".to_owned(),
        (None, None) => "goes on".to_owned(),
    };
    if outcome.route_cache_cleared { fate + ", its route looked for again" } else { fate }
}

fn in_json(started: &[Log], outcomes: &[Outcome], simulator: &Simulator) -> String {
    let logs = |logs: &[Log]| -> Vec<_> {
        logs.iter().map(|log| json!({"level": log.level.to_string(), "message": log.message})).collect()
    };
    let pairs = |headers: &host_sim::Headers| -> Vec<_> {
        headers.iter().map(|(name, value)| json!([readable(name), readable(value)])).collect()
    };
    let requests: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "requestHeaders": pairs(&outcome.request_headers),
                "requestBody": readable(&outcome.request_body),
                "routeCacheCleared": outcome.route_cache_cleared,
                "localResponse": outcome.local_response.as_ref().map(|response| json!({
                    "status": response.status,
                    "details": readable(&response.details),
                    "headers": pairs(&response.headers),
                    "body": readable(&response.body),
                    "grpcStatus": response.grpc_status,
                })),
                "paused": outcome.paused,
                "trap": outcome.trap,
                "logs": logs(&outcome.logs),
            })
        })
        .collect();
    let metrics: Map<_, _> = simulator
        .metrics()
        .into_iter()
        .map(|(name, metric)| {
            let value = match &metric.value {
                Value::Counter(value) => json!({"counter": value}),
                Value::Gauge(value) => json!({"gauge": value}),
                Value::Histogram(values) => json!({"histogram": values}),
            };
            (name, value)
        })
        .collect();
    let report = json!({"logs": logs(started), "requests": requests, "metrics": metrics});
    format!("{report:#}\n")
}

/// Text as it is; a byte that isn't UTF-8 as `\xNN`.
fn readable(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &chunk.invalid().escape_ascii().to_string()).collect()
}

fn method_and_url(text: &str) -> Result<(String, String), String> {
    match text.split_once(' ') {
        Some((method, url)) if !method.is_empty() && !url.trim().is_empty() => {
            Ok((method.to_owned(), url.trim().to_owned()))
        }
        _ => Err("it should be a method and a URL: 'GET http://httpbin.httpbin:14001/json'".to_owned()),
    }
}

fn pair(text: &str, separator: char) -> Result<(String, String), String> {
    match text.split_once(separator) {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim_start().to_owned())),
        _ => Err(format!("there should be a name and a `{separator}`")),
    }
}
