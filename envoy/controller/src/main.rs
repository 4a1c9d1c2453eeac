//! The `traffic-split-controller` command.

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use traffic_split_cli::input::InputArgs;
use traffic_split_cli::options::{IstioArgs, VmEpochArgs, parse_namespace};
use traffic_split_cli::output::{self, print_stderr};
use traffic_split_controller::Options;
use traffic_split_envoy::IstioOptions;

/// Watches TrafficSplits in Kubernetes and configures Istio's proxies to split requests.
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

/// Configure Istio's proxies from the TrafficSplits in Kubernetes.
///
/// Watches TrafficSplits, HTTPRouteGroups and Services, writes one EnvoyFilter, and reports the result in the status of each
/// TrafficSplit. Connects to the API server like kubectl, or with the service account of its pod. Logs JSON lines to standard
/// error; RUST_LOG sets the level.
#[derive(Args)]
#[command(after_long_help = "Examples:
  # In a pod; see envoy/manifests.
  dist/traffic-split-controller run --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \\
    --response-header x-served-by

  # On a developer's machine, for the clients in one namespace. In a pod, this needs permission to write the EnvoyFilter there.
  KUBECONFIG=~/.kube/config dist/traffic-split-controller run --namespace curl --listen 127.0.0.1:8080 \\
    --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
struct Run {
    /// Plugin configuration in YAML or JSON, for fields such as `cluster`, `clusterDomain`, `backendHeader` and `hosts`; the
    /// controller adds the cluster's objects
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address of /livez, /readyz and /metrics [default: port 8080 on all addresses]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// Namespace of the Lease for leader election. The Lease is named traffic-split-controller; with --namespace or
    /// --root-namespace NAMESPACE, it is named traffic-split-controller-NAMESPACE
    #[arg(long, value_name = "NAMESPACE", default_value = "traffic-split-system", value_parser = parse_namespace)]
    lease_namespace: String,

    /// Largest configuration in the EnvoyFilter, in bytes; Kubernetes stores objects of at most 1.5 MB
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    max_bytes: usize,

    #[command(flatten)]
    istio: IstioArgs,

    #[command(flatten, next_help_heading = "Filter")]
    vm: VmEpochArgs,
}

/// Remove the filter from Istio's proxies without a failed request.
///
/// Deletes the controller's Deployment, removes the splits from the EnvoyFilter so that the root Services serve, waits until
/// the proxies have this configuration, and deletes the EnvoyFilter. Connects to the API server like kubectl.
#[derive(Args)]
#[command(after_long_help = "Examples:
  dist/traffic-split-controller uninstall

  # Then delete everything else, including all TrafficSplits:
  kubectl delete -k envoy/manifests")]
struct Uninstall {
    /// Namespace of the EnvoyFilter
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system", value_parser = parse_namespace)]
    root_namespace: String,

    /// Namespace of the controller's Deployment and Lease
    #[arg(long, value_name = "NAMESPACE", default_value = "traffic-split-system", value_parser = parse_namespace)]
    namespace: String,

    /// Time for proxies to receive the configuration without splits
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
        self.istio.check().unwrap_or_else(|why| output::usage_error(Cli::command(), &["run"], &why));
        let files = InputArgs { config: self.config, ..InputArgs::default() };
        let Some(mut input) = files.load() else { return ExitCode::FAILURE };
        self.istio.ask_for_backend_header(&mut input.configuration);
        let mut istio = self.istio.options(&input.configuration);
        istio.vm_epoch = self.vm.vm_epoch;
        let level = tracing_subscriber::EnvFilter::try_from_default_env();
        tracing_subscriber::fmt()
            .json()
            .with_writer(io::stderr)
            // kube's own warnings contain whole responses.
            .with_env_filter(level.unwrap_or_else(|_| "info,kube_client=error".into()))
            .init();
        // IPv4 is for hosts without IPv6.
        let listen = self.listen.map_or_else(
            || vec![(Ipv6Addr::UNSPECIFIED, 8080).into(), (Ipv4Addr::UNSPECIFIED, 8080).into()],
            |listen| vec![listen],
        );
        let options = Options {
            istio,
            base: input.configuration,
            lease_namespace: self.lease_namespace,
            identity: identity(),
            max_bytes: self.max_bytes,
        };
        block_on(traffic_split_controller::run(options, &listen))
    }
}

// === impl Uninstall ===

impl Uninstall {
    fn run(self) -> ExitCode {
        let mut istio = IstioOptions::default();
        istio.namespace = self.root_namespace;
        block_on(traffic_split_controller::uninstall(&istio, &self.namespace, self.wait, |step| print_stderr(step)))
    }
}

/// Runs a task to completion; prints its error to standard error.
fn block_on<E: Display>(task: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().map_err(|why| why.to_string());
    match runtime.and_then(|runtime| runtime.block_on(task).map_err(|why| why.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            print_stderr(format_args!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns a name that is unique among the replicas: the pod's name, if known, and the process id.
fn identity() -> String {
    let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    format!("{pod}_{}", std::process::id())
}
