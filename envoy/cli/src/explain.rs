//! `traffic-split explain`.

use crate::usage_error;
use clap::Args;
use std::process::ExitCode;
use traffic_split::is_token;
use traffic_split_cli::input::{InputArgs, check_namespace, note_no_splits};
use traffic_split_cli::options::parse_namespace;
use traffic_split_cli::output::print_stdout;
use traffic_split_envoy::{Header, RequestDescription, explain};

/// Explain how the filter routes a request: which split, which match, which backends, and why.
///
/// Runs the filter's own decision code. The exit code is also 0 for a request that goes to the root Service.
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

    /// Host of the request, as in the `Host` header, with or without a port
    #[arg(long, value_parser = parse_host)]
    host: String,

    /// Method of the request
    #[arg(long, default_value = "GET", value_parser = parse_method)]
    method: String,

    /// Path of the request, with its query
    #[arg(long, default_value = "/", value_parser = parse_path)]
    path: String,

    /// Request header; may be repeated. As in Envoy, the values of some repeated headers, such as `accept`, `user-agent` and
    /// `x-forwarded-for`, are joined by commas. Of other repeated headers, the filter reads only the first value, so write all
    /// cookies in one header
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<Header>,

    /// Explain the request as HTTP/2 or HTTP/3: Envoy then joins repeated `cookie` headers
    #[arg(long)]
    http2: bool,

    /// Destination port of the client's connection
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// The client's namespace, in which a bare Service name is a root [default: `namespace` of --config, else unknown]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespace: Option<String>,

    /// Print one JSON object
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
            usage_error(EXPLAIN, &format!("--header `{own}`: Envoy removes this header from client requests; omit it"));
        }
        note_no_splits(configuration);
        let Self { host, method, path, headers, http2, port, namespace, .. } = self;
        let request = RequestDescription { method, path, host, headers, http2, port, namespace };
        let explanation = explain(&input, &request);
        if self.json {
            let json =
                serde_json::to_string_pretty(&explanation).expect("an explanation consists of strings and numbers");
            return print_stdout(&format!("{json}\n"));
        }
        print_stdout(&explanation.to_string())
    }
}

fn parse_host(text: &str) -> Result<String, String> {
    let is_invalid = |char: char| char.is_whitespace() || char.is_control() || "/?#@".contains(char);
    match text {
        "" => Err("the host is empty".into()),
        _ if text.contains(is_invalid) => {
            Err("a host is a name or an IP address with an optional port, not a URL".into())
        }
        _ => Ok(text.into()),
    }
}

fn parse_method(text: &str) -> Result<String, String> {
    is_token(text).then(|| text.into()).ok_or_else(|| "not a valid HTTP method".into())
}

fn parse_path(text: &str) -> Result<String, String> {
    let is_valid = text.starts_with('/') && !text.contains(|char: char| char.is_whitespace() || char.is_control());
    is_valid.then(|| text.into()).ok_or_else(|| "a path begins with `/` and contains no spaces".into())
}
