//! `traffic-split explain`.

use crate::usage_error;
use clap::Args;
use std::process::ExitCode;
use traffic_split::is_token;
use traffic_split_cli::input::{InputArgs, check_namespace, note_no_splits};
use traffic_split_cli::options::parse_namespace;
use traffic_split_cli::output::print;
use traffic_split_envoy::{Header, RequestDescription, explain};

/// Say what becomes of a request: which split and match, which shares, what decides, and why.
///
/// The filter's own code decides. A request that goes to the root is a valid answer: exit code 0.
#[derive(Args)]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split explain envoy/examples/guide/trafficsplit-50-50.yaml --host httpbin.httpbin:14001

  dist/traffic-split explain envoy/examples/ab-test.yaml --host httpbin.httpbin:14001 --path /cart \\
    --header 'user-agent: Mozilla/5.0 (Linux; Android 14)' --header 'cookie: type=insider'

  dist/traffic-split explain envoy/examples/sticky.yaml --host httpbin --namespace httpbin --port 14001 \\
    --header 'x-user: alice' --json")]
pub(crate) struct Explain {
    #[command(flatten)]
    input: InputArgs,

    /// The host that the client asks for, as in `Host`: with a port or without
    #[arg(long, value_parser = parse_host)]
    host: String,

    /// The method
    #[arg(long, default_value = "GET", value_parser = parse_method)]
    method: String,

    /// The path, with its query
    #[arg(long, default_value = "/", value_parser = parse_path)]
    path: String,

    /// A header; may be repeated, but of one name only the first counts: several cookies go into one
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<Header>,

    /// The port that the client connects to
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// The client's namespace, where a Service's bare name means it
    /// [default: `namespace` of --config, else unknown]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespace: Option<String>,

    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

// === impl Explain ===

impl Explain {
    pub(crate) fn run(self) -> ExitCode {
        const EXPLAIN: &[&str] = &["explain"];
        self.input.check_stdin().unwrap_or_else(|why| usage_error(EXPLAIN, &why));
        let Some(input) = self.input.load() else { return ExitCode::FAILURE };
        let configuration = &input.configuration;
        check_namespace(configuration, self.namespace.as_deref()).unwrap_or_else(|why| usage_error(EXPLAIN, &why));
        let own = [&configuration.cluster_header, &configuration.mirror_header, &configuration.set_cookie_header];
        let mut own = own.into_iter().chain(&configuration.backend_header);
        if let Some(own) = own.find(|own| self.headers.iter().any(|header| header.name == **own)) {
            usage_error(
                EXPLAIN,
                &format!("--header {own} never comes from a client: Envoy strips it, and the filter sets it"),
            );
        }
        note_no_splits(configuration);
        let Self { host, method, path, headers, port, namespace, .. } = self;
        let answer = explain(&input, &RequestDescription { method, path, host, headers, port, namespace });
        if self.json {
            let json = serde_json::to_string_pretty(&answer).expect("texts and numbers are JSON");
            return print(&format!("{json}\n"));
        }
        print(&answer.to_string())
    }
}

fn parse_host(text: &str) -> Result<String, String> {
    let strange = |char: char| char.is_whitespace() || char.is_control() || "/?#@".contains(char);
    match text {
        "" => Err("it must not be empty".into()),
        _ if text.contains(strange) => Err("it must be a host, with a port or without, and not a URL".into()),
        _ => Ok(text.into()),
    }
}

fn parse_method(text: &str) -> Result<String, String> {
    is_token(text).then(|| text.into()).ok_or_else(|| "it must be an HTTP method, as GET".into())
}

fn parse_path(text: &str) -> Result<String, String> {
    let fine = text.starts_with('/') && !text.contains(|char: char| char.is_whitespace() || char.is_control());
    fine.then(|| text.into()).ok_or_else(|| "it must begin with / and have no spaces".into())
}
