//! Command-line arguments and their checks.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Runs a Proxy-Wasm filter without Envoy, in a host that behaves as Envoy does.
#[derive(Parser)]
#[command(name = "host-sim", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Sends requests through a filter, and prints the outcome of each request.
    #[command(after_help = "\
Examples:
  host-sim run dist/traffic-split.wasm --config plugin.json \\
      --request 'GET http://httpbin.httpbin:14001/json' -n 10
  host-sim run filter.wasm --request 'POST http://shop/cart' -H 'x-user: 7' --body '{}' --json
  host-sim run filter.wasm --request 'GET http://shop/' --routes route_config.yaml

  # A filter that needs more than the default limits.
  host-sim run filter.wasm --request 'GET http://shop/' --fuel 1000000000000 --timeout 600 \\
      --max-memory-bytes 1073741824 --max-log-bytes 16777216

  # An untrusted filter: at most about one second and 16 MiB.
  host-sim run filter.wasm --request 'GET http://shop/' --fuel 100000000 --timeout 1 --max-memory-bytes 16777216

Exit codes:
  0  every request passed the filter without a trap
  1  a file cannot be read, or the filter does not start, refuses its configuration, traps or exceeds a limit
  2  the command line is invalid")]
    Run(Box<RunArguments>),
    /// Describes a module, and checks whether this host and Envoy start it.
    #[command(after_help = "\
Examples:
  host-sim inspect dist/traffic-split.wasm
  host-sim inspect target/wasm32-wasip1/release/filter.wasm --json | jq -r '.imports.env[]'

Exit codes:
  0  Envoy starts the module
  1  the file cannot be read or is not WebAssembly, or Envoy rejects the module
  2  the command line is invalid")]
    Inspect(InspectArguments),
}

#[derive(Args)]
pub(crate) struct InspectArguments {
    /// WebAssembly module in the binary format; `-` for standard input
    pub filter: PathBuf,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub(crate) struct RunArguments {
    /// Proxy-Wasm module in the binary format
    pub filter: PathBuf,
    /// File with the plugin configuration; `-` for standard input. Empty by default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the VM configuration
    #[arg(long, value_name = "FILE")]
    pub vm_config: Option<PathBuf>,
    /// Method and URL of the request
    #[arg(long, value_name = "'METHOD URL'", value_parser = method_and_url)]
    pub request: (String, String),
    /// Request header; repeatable. `host` sets the authority. As in Envoy, the filter sees the values of some repeated headers joined
    /// by commas, and does not see hop-by-hop headers
    #[arg(short = 'H', long, value_name = "'NAME: VALUE'", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// Send the request over HTTP/2: the filter sees repeated `cookie` headers joined
    #[arg(long)]
    pub http2: bool,
    /// Request body
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,
    /// Number of times to send the request
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Namespace of the node: the node metadata NAMESPACE, as Istio sets it
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// String in the node metadata; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = |text: &str| pair(text, '='))]
    pub metadata: Vec<(String, String)>,
    /// Property as text, with dots between the parts of the path; repeatable
    #[arg(long, value_name = "PATH=VALUE", value_parser = |text: &str| pair(text, '='))]
    pub property: Vec<(String, String)>,
    /// File with Envoy's RouteConfiguration, as YAML or JSON. Unsupported fields are errors
    #[arg(long, value_name = "FILE")]
    pub routes: Option<PathBuf>,
    /// Port that the client connected to
    #[arg(long, value_name = "PORT")]
    pub destination_port: Option<u16>,
    /// Seed of random bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten, next_help_heading = "Limits (exceeding one ends the run with an error)")]
    pub limits: Limits,
}

#[derive(Args)]
pub(crate) struct Limits {
    /// Maximum fuel of one callback; an instruction takes about one unit
    #[arg(long, value_name = "UNITS", default_value_t = 10_000_000_000)]
    pub fuel: u64,
    /// Maximum memory of the VM
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20)]
    pub max_memory_bytes: usize,
    /// Maximum log messages during the start, and for each part of a request
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub max_log_bytes: usize,
    /// Maximum bytes passed to host functions during the start, and for each part of a request
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub max_host_bytes: usize,
    /// Maximum real time for the start, and for each request
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// Parses a method and an absolute URL, as a client would send them.
fn method_and_url(text: &str) -> Result<(String, String), String> {
    let example = "expected a method and a URL, such as 'GET http://httpbin.httpbin:14001/json'";
    let (method, url) = text.trim().split_once(' ').ok_or(example)?;
    let url = url.trim_start();
    if !is_token(method) {
        return Err(format!("{method} is not a method"));
    }
    if let Some(char) = url.chars().find(|char| char.is_whitespace() || char.is_control()) {
        return Err(format!("the URL contains {char:?}; percent-encode it"));
    }
    if url.contains('#') {
        return Err("the URL has a fragment, which clients do not send; remove # and what follows".to_owned());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !["http", "https"].contains(&scheme) {
        return Err(format!("unknown URL scheme {scheme}; use http or https"));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // A colon within the brackets of an IPv6 address precedes no port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() {
        return Err("the URL has no host".to_owned());
    }
    if host.contains('@') {
        return Err(format!("the URL has user information: {authority}; use only a host and a port"));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(format!("the port of the URL is not a number from 0 to 65535: {authority}"));
    }
    Ok((method.to_owned(), url.to_owned()))
}

/// Parses a header. Returns its name in lower case.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text, ':')?;
    if !is_token(&name) {
        return Err(format!("{name:?} is not a header name"));
    }
    if let Some(char) = value.chars().find(|&char| char.is_control() && char != '\t') {
        return Err(format!("the value contains {char:?}; header values have no control characters"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_end().to_owned()))
}

/// Returns whether a text is an HTTP token (RFC 9110), as methods and header names are.
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

fn pair(text: &str, separator: char) -> Result<(String, String), String> {
    match text.split_once(separator) {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim_start().to_owned())),
        _ => Err(format!("expected a name and a `{separator}`")),
    }
}
