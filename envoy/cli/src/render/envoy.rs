//! `traffic-split render envoy`.

use super::load;
use super::output_file::OutputArgs;
use crate::unknown_ports::warn_of_unknown_ports;
use crate::usage_error;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::net::SocketAddr;
use std::process::ExitCode;
use traffic_split_cli::input::{InputArgs, check_namespace};
use traffic_split_cli::options::{RouteArgs, parse_namespace};
use traffic_split_cli::output::print_diagnostic;
use traffic_split_envoy::{
    BootstrapOptions, Diagnostic, Endpoint, ExternalHost, bootstrap, bootstrap_warnings, unsplit_requests,
};

const PATH: &[&str] = &["render", "envoy"];

/// Write the whole bootstrap of a bare Envoy sidecar.
///
/// The bootstrap contains the listener, the filter, the routes, and a cluster for each Service and port.
#[derive(Args)]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  # A sidecar for clients in the namespace curl. Then run: envoy -c dist/guide.yaml
  dist/traffic-split render envoy --namespace curl --ecds dist/guide/ecds.yaml \\
    --endpoint httpbin.httpbin=127.0.0.1:10003 \\
    --endpoint httpbin-v1.httpbin=127.0.0.1:10001 \\
    --endpoint httpbin-v2.httpbin=127.0.0.1:10002 \\
    --host example.com=example.com:80 \\
    envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml > dist/guide.yaml")]
pub(super) struct Envoy {
    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    /// The clients' namespace, in which a bare Service name is a root [default: `namespace` of --config, else curl]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespace: Option<String>,

    /// Address of the listener for the clients' requests [default: 127.0.0.1:14001]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// Address of Envoy's admin interface [default: 127.0.0.1:15000]
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,

    /// Port of each Service that is not in the input [default: the port of --listen]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// File that `render ecds` writes. Envoy watches its directory, and does not start without the file
    /// [default: /etc/traffic-split/ecds.yaml]
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    ecds: Option<String>,

    /// Address of a Service, instead of its DNS name SERVICE.NAMESPACE.svc.CLUSTERDOMAIN; may be repeated
    #[arg(long = "endpoint", value_name = "SERVICE.NAMESPACE[:PORT]=HOST:PORT")]
    endpoints: Vec<Endpoint>,

    /// Another host that clients may call, and its address; may be repeated. Names of Services take precedence. Envoy answers
    /// 404 for hosts that are neither
    #[arg(long = "host", value_name = "NAME=HOST:PORT")]
    hosts: Vec<ExternalHost>,

    /// Accept HTTP/1.0 requests with a `Host` header. By default, Envoy answers HTTP/1.0 requests with 426
    #[arg(long)]
    http10: bool,

    #[command(flatten, next_help_heading = "Route of split requests")]
    route: RouteArgs,
}

// === impl Envoy ===

impl Envoy {
    pub(super) fn run(mut self) -> ExitCode {
        let text = self.render();
        self.output.write(text.as_deref())
    }

    fn render(&mut self) -> Option<String> {
        let mut input = load(&self.input, &self.output, PATH)?;
        self.route.ask_for_backend_header(&mut input.configuration);
        let namespace = self.namespace.as_deref();
        check_namespace(&input.configuration, namespace).unwrap_or_else(|why| usage_error(PATH, &why));
        let mut options = BootstrapOptions::default();
        options.namespace = self.namespace.take().unwrap_or(options.namespace);
        options.listen = self.listen.unwrap_or(options.listen);
        options.admin = self.admin.unwrap_or(options.admin);
        if is_same_address(options.listen, options.admin) {
            let (listen, admin) = (options.listen, options.admin);
            usage_error(
                PATH,
                &format!("--admin `{admin}` and --listen `{listen}` are the same address; change one of them"),
            );
        }
        options.port = self.port;
        options.ecds = self.ecds.take().unwrap_or(options.ecds);
        options.endpoints = std::mem::take(&mut self.endpoints);
        options.hosts = std::mem::take(&mut self.hosts);
        options.accept_http_10 = self.http10;
        options.route = self.route.options();
        warn_of_unknown_ports(&input, Some(&options));
        options.protocols = input.protocols;
        for warning in bootstrap_warnings(&input.configuration, &options) {
            print_diagnostic(&warning);
        }
        for warning in unsplit_requests(&input.configuration, options.listen.port()) {
            print_diagnostic(&Diagnostic::warning("", "", "", warning));
        }
        Some(bootstrap(&input.configuration, &options))
    }
}

/// Returns whether two listeners cannot both bind these addresses. Port 0 is any free port.
fn is_same_address(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    is_same_ip && one.is_ipv4() == other.is_ipv4() && one.port() == other.port() && one.port() != 0
}
