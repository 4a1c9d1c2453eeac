//! The `traffic-split-controller` command.

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use traffic_split_cli::input::InputArgs;
use traffic_split_cli::options::{IstioArgs, PluginArgs, RouteArgs, parse_namespace};
use traffic_split_cli::output::{self, say};
use traffic_split_controller::Options;
use traffic_split_envoy::IstioOptions;

/// Keeps Istio's proxies configured as the TrafficSplits in Kubernetes say.
///
/// Exit codes: 0 stopped or uninstalled, 1 failed, 2 usage error.
#[derive(Parser)]
#[command(name = "traffic-split-controller", version, term_width = 0)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<Run>),
    Uninstall(Uninstall),
}

/// Keep Istio's proxies configured as the TrafficSplits in Kubernetes say.
///
/// Watches TrafficSplits, HTTPRouteGroups and Services, keeps one EnvoyFilter, and says on each TrafficSplit what became of
/// it. Finds the API server as kubectl does, or by its service account in a pod. Once it runs, its log is JSON lines, as much
/// as RUST_LOG says.
#[derive(Args)]
#[command(after_long_help = "Examples:
  # As in a pod; see envoy/manifests.
  dist/traffic-split-controller run --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \\
    --response-header x-served-by

  # From a developer's machine, for one namespace's clients; in a pod, it needs the right to write the EnvoyFilter there.
  KUBECONFIG=~/.kube/config dist/traffic-split-controller run --namespace curl --listen 127.0.0.1:8080 \\
    --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
struct Run {
    /// A plugin configuration, YAML or JSON, to which the cluster's objects are added, e.g. with `cluster`,
    /// `clusterDomain`, `backendHeader` or `hosts`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where /livez, /readyz and /metrics are [default: port 8080 of all addresses]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// The namespace of the Lease by which replicas agree on who leads. Its name is traffic-split-controller; with --namespace
    /// or another --root-namespace, it ends in that one's, as in traffic-split-controller-curl
    #[arg(long, value_name = "NAMESPACE", default_value = "traffic-split-system", value_parser = parse_namespace)]
    lease_namespace: String,

    /// The most that the configuration may take in the EnvoyFilter; Kubernetes takes objects of 1.5 MB
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    max_bytes: usize,

    #[command(flatten, next_help_heading = "The filter")]
    plugin: PluginArgs,

    #[command(flatten, next_help_heading = "The route of split requests")]
    route: RouteArgs,

    #[command(flatten, next_help_heading = "The EnvoyFilter")]
    istio: IstioArgs,
}

/// Take the filter out of Istio's proxies without a failed request.
///
/// Deletes the controller's Deployment, takes the splits out of the EnvoyFilter so that the root Services serve, and deletes
/// it once proxies have heard of that. Finds the API server as kubectl does.
#[derive(Args)]
#[command(after_long_help = "Examples:
  dist/traffic-split-controller uninstall

  # Then, with all TrafficSplits that there are:
  kubectl delete -k envoy/manifests")]
struct Uninstall {
    /// The namespace of the EnvoyFilter
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system", value_parser = parse_namespace)]
    root_namespace: String,

    /// The namespace of the controller, of which the Deployment is deleted, and of its Lease
    #[arg(long, value_name = "NAMESPACE", default_value = "traffic-split-system", value_parser = parse_namespace)]
    namespace: String,

    /// How long proxies have to hear that there are no splits any more
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Uninstall(uninstall) => uninstall.run(),
    }
}

// === impl Run ===

impl Run {
    fn run(self) -> ExitCode {
        self.plugin.check_url().unwrap_or_else(|why| output::usage_error(Cli::command(), &["run"], &why));
        let files = InputArgs { files: Vec::new(), config: self.config };
        let Some(mut input) = files.load() else { return ExitCode::FAILURE };
        self.route.ask_for_backend_header(&mut input.configuration);
        let level = tracing_subscriber::EnvFilter::try_from_default_env();
        tracing_subscriber::fmt()
            .json()
            .with_writer(io::stderr)
            // kube's own warnings contain whole responses.
            .with_env_filter(level.unwrap_or_else(|_| "info,kube_client=error".into()))
            .init();
        let options = Options {
            istio: self.istio.options(&self.plugin, &self.route, &input.configuration),
            base: input.configuration,
            // IPv4 is for hosts without IPv6.
            listen: self.listen.map_or_else(
                || vec![(Ipv6Addr::UNSPECIFIED, 8080).into(), (Ipv4Addr::UNSPECIFIED, 8080).into()],
                |listen| vec![listen],
            ),
            lease_namespace: self.lease_namespace,
            identity: identity(),
            max_bytes: self.max_bytes,
        };
        block_on(traffic_split_controller::run(options))
    }
}

// === impl Uninstall ===

impl Uninstall {
    fn run(self) -> ExitCode {
        let mut istio = IstioOptions::default();
        istio.namespace = self.root_namespace;
        block_on(traffic_split_controller::uninstall(&istio, &self.namespace, self.wait, |step| say(step)))
    }
}

/// Runs a task to its end, and reports its error on standard error.
fn block_on<E: Display>(task: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().map_err(|why| why.to_string());
    match runtime.and_then(|runtime| runtime.block_on(task).map_err(|why| why.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(format_args!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns a name that no other replica has: the pod's name, if there is one, and the process id.
fn identity() -> String {
    let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    format!("{pod}_{}", std::process::id())
}
