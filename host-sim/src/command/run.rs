//! `host-sim run`: sends requests through a filter.

use crate::arguments::{Limits, RunArguments};
use crate::failure::{Failure, read};
use crate::outcome::{logs_to_json, metrics_to_json, metrics_to_lines, outcome_to_json, outcome_to_lines};
use crate::route_configuration;
use crate::terminal::{escape_json, log_lines, write_lines};
use crate::watchdog::Watchdog;
use host_sim::{Error, Limit, Module, Outcome, Simulator};
use serde_json::json;
use std::io::Write;
use std::time::Duration;

/// Writes the outcome of each request as soon as the request ends. Returns whether no request met a trap.
pub(crate) fn run(arguments: &RunArguments, out: &mut impl Write) -> Result<bool, Failure> {
    let watchdog = Watchdog::start(Duration::from_secs(arguments.limits.timeout));
    let mut simulator = watchdog.watch(&arguments.filter.display().to_string(), || start(arguments))?;
    let start_logs = simulator.logs();
    if arguments.json {
        let logs = escape_json(&json!(logs_to_json(start_logs)).to_string());
        write!(out, "{{\n\"logs\": {logs},\n\"requests\": [")?;
    } else {
        write_lines(out, start_logs.iter().flat_map(|log| log_lines("", log)))?;
    }
    let mut succeeded = true;
    let mut exceeded = None;
    for n in 1..=arguments.count {
        // The watchdog ends the process, which would lose buffered output.
        out.flush()?;
        let outcome = watchdog.watch(&format!("request {n}"), || send(arguments, &mut simulator));
        // The outcome keeps its log messages.
        simulator.forget_logs();
        succeeded &= outcome.trap.is_none();
        if arguments.json {
            let separator = if n == 1 { "" } else { "," };
            write!(out, "{separator}\n  {}", escape_json(&outcome_to_json(&outcome).to_string()))?;
        } else {
            write_lines(out, outcome_to_lines(n, &outcome))?;
        }
        exceeded = simulator.exceeded_limit().map(|limit| format!("request {n}: {}", with_option(limit)));
        if exceeded.is_some() {
            break;
        }
    }
    if arguments.json {
        let metrics = escape_json(&metrics_to_json(simulator.metrics()).to_string());
        writeln!(out, "\n],\n\"metrics\": {metrics}\n}}")?;
    } else {
        write_lines(out, metrics_to_lines(simulator.metrics()))?;
    }
    match exceeded {
        Some(why) => {
            out.flush()?;
            Err(Failure::Module(why, Vec::new()))
        }
        None => Ok(succeeded),
    }
}

fn start(arguments: &RunArguments) -> Result<Simulator, Failure> {
    let module = Module::from_file(&arguments.filter).map_err(|why| match why {
        Error::Read { .. } => Failure::Input(why.to_string()),
        why => Failure::Input(format!("{}: {why}", arguments.filter.display())),
    })?;
    let Limits { fuel, max_memory_bytes, max_log_bytes, max_host_bytes, .. } = arguments.limits;
    let mut builder = Simulator::builder(&module)
        .seed(arguments.seed)
        .fuel(fuel)
        .memory_limit(max_memory_bytes)
        .log_limit(max_log_bytes)
        .host_limit(max_host_bytes);
    if let Some(file) = &arguments.config {
        builder = builder.configuration(read(file)?);
    }
    if let Some(file) = &arguments.vm_config {
        builder = builder.vm_configuration(read(file)?);
    }
    if let Some(namespace) = &arguments.namespace {
        builder = builder.node_metadata("NAMESPACE", namespace);
    }
    for (key, value) in &arguments.metadata {
        builder = builder.node_metadata(key, value);
    }
    for (path, value) in &arguments.property {
        builder = builder.property(&path.split('.').collect::<Vec<_>>(), value);
    }
    if let Some(file) = &arguments.routes {
        let routes = route_configuration::read(&read(file)?);
        builder = builder.routes(routes.map_err(|why| Failure::Input(format!("{}: {why}", file.display())))?);
    }
    builder.start().map_err(|why| {
        // A refused configuration is a problem of the configuration's file, not of the module.
        let file = match (&why, &arguments.config) {
            (Error::Refused { .. }, Some(config)) => config.display().to_string(),
            (Error::Refused { .. }, None) => format!("{} without --config", arguments.filter.display()),
            _ => arguments.filter.display().to_string(),
        };
        let problem = match &why {
            Error::Refused { callback, .. } => format!("{callback} refused the configuration"),
            Error::Trapped { callback, limit: Some(limit), .. } => format!("{callback}: {}", with_option(*limit)),
            Error::Trapped { callback, why, .. } => format!("the module trapped in {callback}: {why}"),
            Error::Limit { limit, .. } => with_option(*limit),
            why => why.to_string(),
        };
        Failure::Module(format!("{file}: {problem}"), why.logs().to_vec())
    })
}

fn send(arguments: &RunArguments, simulator: &mut Simulator) -> Outcome {
    let (method, url) = &arguments.request;
    let mut request = simulator.request().method(method, url);
    for (name, value) in &arguments.header {
        // As in curl and in HTTP/1.
        request = if name == "host" { request.authority(value) } else { request.header(name, value) };
    }
    if arguments.http2 {
        request = request.http2();
    }
    if let Some(body) = &arguments.body {
        request = request.body(body);
    }
    if let Some(port) = arguments.destination_port {
        request = request.destination_port(port);
    }
    request.send()
}

/// Returns the error for an exceeded limit, with the option that raises it.
fn with_option(limit: Limit) -> String {
    let option = match limit {
        Limit::Fuel(_) => "--fuel",
        Limit::Memory(_) => "--max-memory-bytes",
        Limit::Log(_) => "--max-log-bytes",
        Limit::Host(_) => "--max-host-bytes",
        _ => return limit.to_string(),
    };
    format!("{limit}; raise it with `{option}`")
}
