//! The `traffic-split` command.

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use traffic_split::{Configuration, is_label, is_token};
use traffic_split_envoy::{
    BACKEND_HEADER, Bootstrap, Context, Described, Ecds, Endpoint, FailurePolicy, Header, Host, Input, Istio,
    SplitRoute, VM_EPOCHS, Wasm, bootstrap, ecds, envoy_filter_yaml, explain, load, plugin_config, version,
    wasm_plugin,
};

/// SMI TrafficSplit for any Envoy sidecar: from Kubernetes objects to Envoy configuration.
///
/// Exit codes: 0 fine, 1 the input is wrong, 2 the call is wrong.
#[derive(Parser)]
#[command(
    name = "traffic-split",
    version,
    // Never wrapped, whatever features other crates ask of clap: examples are copied as they stand.
    term_width = 0,
    after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split check envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml
  dist/traffic-split render --to plugin-config envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml
  dist/traffic-split explain envoy/examples/guide/trafficsplit-50-50.yaml --host httpbin.httpbin:14001
  dist/traffic-split render --help"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(Check),
    Render(Box<Render>),
    Explain(Explain),
    #[cfg(feature = "controller")]
    Controller(Box<Controller>),
    #[cfg(feature = "controller")]
    Uninstall(Uninstall),
}

/// Find every problem in TrafficSplits, HTTPRouteGroups and Services.
///
/// Each problem is one line: FILE: OBJECT: FIELD: what and why.
#[derive(Args)]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split check envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml

  # A change before it is applied, together with the rest.
  cat envoy/examples/guide/trafficsplit-50-50.yaml |
    dist/traffic-split check --config envoy/examples/guide/config.yaml envoy/examples/guide/services.yaml -")]
struct Check {
    #[command(flatten)]
    input: InputArgs,
}

/// Write the configuration of the filter, or of a whole Envoy, to standard output.
#[derive(Args)]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split render --to plugin-config \\
    envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml

  # The file that Envoy watches: replaced by rename, it changes the weights live.
  mkdir -p dist/guide
  dist/traffic-split render --to ecds --wasm dist/traffic-split.wasm \\
    envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml > dist/ecds.yaml &&
    mv dist/ecds.yaml dist/guide/ecds.yaml

  # A bare Envoy sidecar for clients in the namespace curl; then: envoy -c dist/guide.yaml
  dist/traffic-split render --to envoy --namespace curl --ecds dist/guide/ecds.yaml \\
    --endpoint httpbin.httpbin=127.0.0.1:10003 \\
    --endpoint httpbin-v1.httpbin=127.0.0.1:10001 \\
    --endpoint httpbin-v2.httpbin=127.0.0.1:10002 \\
    --host example.com=example.com:80 \\
    envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml > dist/guide.yaml

  # Istio: for all sidecars of the mesh.
  dist/traffic-split render --to envoyfilter --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \\
    --timeout 15s --response-header x-served-by \\
    envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml > dist/envoyfilter.yaml")]
struct Render {
    /// What to write
    #[arg(long, value_enum, value_name = "TARGET")]
    to: Target,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten, next_help_heading = "With --to ecds, envoyfilter or wasmplugin")]
    plugin: PluginArgs,

    #[command(flatten, next_help_heading = "With --to envoy, envoyfilter or wasmplugin")]
    route: RouteArgs,

    #[command(flatten, next_help_heading = "With --to envoyfilter or wasmplugin")]
    istio: IstioArgs,

    #[command(flatten)]
    envoy: EnvoyArgs,
}

/// Say what becomes of a request: which split and match, which shares, what decides, and why.
///
/// It is the filter's own decision. What goes to the root is an answer too: exit code 0.
#[derive(Args)]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split explain envoy/examples/guide/trafficsplit-50-50.yaml --host httpbin.httpbin:14001

  dist/traffic-split explain envoy/examples/ab-test.yaml --host httpbin.httpbin:14001 --path /cart \\
    --header 'user-agent: Mozilla/5.0 (Linux; Android 14)' --header 'cookie: type=insider'

  dist/traffic-split explain envoy/examples/sticky.yaml --host httpbin --namespace httpbin --port 14001 \\
    --header 'x-user: alice' --json")]
struct Explain {
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

/// Keep Istio's proxies configured as the TrafficSplits in Kubernetes say.
///
/// Watches TrafficSplits, HTTPRouteGroups and Services, keeps one EnvoyFilter, and says on each TrafficSplit what became of
/// it. Finds the API server as kubectl does, or by its service account in a pod. Once it runs, its log is JSON lines, as much
/// as RUST_LOG says.
#[cfg(feature = "controller")]
#[derive(Args)]
#[command(after_long_help = "Examples:
  # As in a pod; see envoy/manifests.
  dist/traffic-split-controller controller --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \\
    --response-header x-served-by

  # From a developer's machine, for one namespace's clients; in a pod, it needs the right to write the EnvoyFilter there.
  KUBECONFIG=~/.kube/config dist/traffic-split-controller controller --namespace curl --listen 127.0.0.1:8080 \\
    --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
struct Controller {
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
#[cfg(feature = "controller")]
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The filter's own configuration, as JSON
    PluginConfig,
    /// The file that Envoy's `config_discovery` watches
    Ecds,
    /// The bootstrap of a bare Envoy sidecar
    Envoy,
    /// The object by which Istio loads the filter into its proxies
    #[value(name = "envoyfilter")]
    EnvoyFilter,
    /// The same as a WasmPlugin, and an EnvoyFilter for what it can't say
    #[value(name = "wasmplugin")]
    WasmPlugin,
}

#[derive(Args)]
struct InputArgs {
    /// Kubernetes objects, YAML or JSON, many documents a file; `-` is standard input, as from
    /// `kubectl get trafficsplits,httproutegroups,services -A -o yaml`
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A plugin configuration, YAML or JSON, to which the objects are added, e.g. with
    /// `cluster`, `clusterDomain`, `backendHeader` or `hosts`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct PluginArgs {
    /// The compiled filter: a file on Envoy's host, which must be there before Envoy reads the configuration (render
    /// again when another one has taken its place), or with Istio oci://IMAGE@sha256:DIGEST or https://…
    /// [default: /etc/traffic-split/traffic-split.wasm]
    #[arg(long, value_name = "PATH|URL", value_parser = NonEmptyStringValueParser::new())]
    wasm: Option<String>,

    /// The SHA-256 of the file at https://, or of the manifest of an image that oci:// names without @sha256:DIGEST.
    /// Required for these: what is fetched runs in every proxy
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    wasm_sha256: Option<String>,

    /// When the filter's VM has died: start a new one (503 for a second at most), or let the
    /// root serve until there is one [default: reload]
    #[arg(long, value_enum, value_name = "POLICY", hide_possible_values = false)]
    failure_policy: Option<Failure>,

    /// The filter's VM, from 0 to 7: another number starts a new VM. Give another number than before if Envoy refuses a
    /// good configuration after a trap (see docs/vm-lifecycle.md) [default: by everything but the weights]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..VM_EPOCHS))]
    vm_epoch: Option<u64>,
}

#[derive(Args)]
struct RouteArgs {
    /// The clients' namespace. With Istio: only proxies of this namespace get the filter [default: those of the whole mesh].
    /// With `render --to envoy`: where a Service's bare name means it [default: `namespace` of --config, else curl]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespace: Option<String>,

    /// How long a split request may take until it is answered 504, e.g. 15s [default: as long as it likes]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,

    /// How often a split request is tried again that no backend has begun to work on [default: 2]
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(..=100))]
    retry: Option<u32>,

    /// The request header by which backends' ring_hash or maglev balancers pick an endpoint for a split request, as
    /// consistentHash of a DestinationRule does for others
    #[arg(long, value_name = "NAME", value_parser = parse_header_name)]
    hash_header: Option<String>,

    /// The response header that names the backend that answered; asks for a `backendHeader`
    /// [default: x-served-by if --config has a `backendHeader`, else none]
    #[arg(long, value_name = "NAME", value_parser = parse_header_name)]
    response_header: Option<String>,
}

#[derive(Args)]
struct IstioArgs {
    /// Istio's root namespace, whose objects are for the whole mesh [default: istio-system]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace, conflicts_with = "namespace")]
    root_namespace: Option<String>,

    /// A label of the pods whose proxies get the filter; may be repeated [default: all pods]
    #[arg(long = "selector", value_name = "KEY=VALUE", value_parser = parse_label)]
    selector: Vec<(String, String)>,

    /// The kind of proxies that get the filter; gateways split the `hosts` of --config, and no others [default: sidecar]
    #[arg(long, value_enum, value_name = "KIND", hide_possible_values = false)]
    context: Option<Proxies>,

    /// The port of a gateway's listener that clients write into Host, as in shop.example.com:8080: such requests are split
    /// on this listener only; may be repeated [default: only requests without a port are split at gateways]
    #[arg(long = "gateway-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    gateway_ports: Vec<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Proxies {
    Sidecar,
    Gateway,
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum Failure {
    Reload,
    Open,
}

#[derive(Args)]
#[command(next_help_heading = "With --to envoy")]
struct EnvoyArgs {
    /// Where clients' requests arrive [default: 127.0.0.1:14001]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// Envoy's admin interface [default: 127.0.0.1:15000]
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,

    /// The port of Services that are not among the objects [default: that of --listen]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// The file that `render --to ecds` writes; its directory is watched. Envoy doesn't start
    /// without it
    /// [default: /etc/traffic-split/ecds.yaml]
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    ecds: Option<String>,

    /// Where a Service is, if not where DNS says (SERVICE.NAMESPACE.svc.CLUSTERDOMAIN);
    /// may be repeated
    #[arg(long = "endpoint", value_name = "SERVICE.NAMESPACE[:PORT]=HOST:PORT")]
    endpoints: Vec<Endpoint>,

    /// Another host for clients, and where it is; may be repeated. Names of Services stay the
    /// Services'; hosts that are neither get 404
    #[arg(long = "host", value_name = "NAME=HOST:PORT")]
    hosts: Vec<Host>,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(check) => check.run(),
        Command::Render(render) => render.run(),
        Command::Explain(explain) => explain.run(),
        #[cfg(feature = "controller")]
        Command::Controller(controller) => controller.run(),
        #[cfg(feature = "controller")]
        Command::Uninstall(uninstall) => uninstall.run(),
    }
}

// === impl Check ===

impl Check {
    fn run(&self) -> ExitCode {
        self.input.refuse_second_stdin("check");
        let Some(input) = self.input.load() else { return ExitCode::FAILURE };
        warn_of_unknown_ports(&input.configuration, None);
        let lines: String = input.files.iter().map(|file| format!("{file}, fine\n")).collect();
        print(&lines)
    }
}

// === impl Render ===

impl Render {
    fn run(self) -> ExitCode {
        self.refuse_options_of_others();
        self.input.refuse_second_stdin(RENDER);
        let Some(mut input) = self.input.load() else { return ExitCode::FAILURE };
        note_no_splits(&input.configuration);
        if self.to != Target::Envoy {
            warn_of_unknown_ports(&input.configuration, None);
        }
        self.route.ask_for_backend_header(&mut input.configuration);
        let configuration = &input.configuration;
        let text = match self.to {
            Target::PluginConfig => plugin_config(configuration),
            Target::Ecds => ecds(configuration, &self.plugin.ecds()),
            Target::EnvoyFilter => {
                envoy_filter_yaml(configuration, &self.istio.options(&self.plugin, &self.route, configuration))
            }
            Target::WasmPlugin => {
                wasm_plugin(configuration, &self.istio.options(&self.plugin, &self.route, configuration))
            }
            Target::Envoy => {
                let namespace = self.route.namespace.as_deref();
                refuse_other_namespace(RENDER, configuration, namespace);
                let mut options = self.envoy.options();
                options.namespace = namespace.map_or(options.namespace, str::to_owned);
                options.route = self.route.options();
                options.protocols = input.protocols.clone();
                warn_of_unknown_ports(configuration, Some(&options));
                bootstrap(configuration, &options)
            }
        };
        print(&text)
    }

    /// An option that has no effect is a misunderstanding.
    fn refuse_options_of_others(&self) {
        use Target::{Ecds, Envoy, EnvoyFilter, WasmPlugin};
        let PluginArgs { wasm, wasm_sha256, failure_policy, vm_epoch } = &self.plugin;
        let RouteArgs { namespace, timeout, retry, hash_header, response_header } = &self.route;
        let IstioArgs { root_namespace, selector, context, gateway_ports } = &self.istio;
        let EnvoyArgs { listen, admin, port, ecds, endpoints, hosts } = &self.envoy;
        let plugin = &[Ecds, EnvoyFilter, WasmPlugin][..];
        let route = &[Envoy, EnvoyFilter, WasmPlugin][..];
        let (istio, envoy) = (&[EnvoyFilter, WasmPlugin][..], &[Envoy][..]);
        let given = [
            ("--wasm", wasm.is_some(), plugin),
            ("--wasm-sha256", wasm_sha256.is_some(), istio),
            ("--failure-policy", failure_policy.is_some(), plugin),
            ("--vm-epoch", vm_epoch.is_some(), &[Ecds, EnvoyFilter]),
            ("--namespace", namespace.is_some(), route),
            ("--timeout", timeout.is_some(), route),
            ("--retry", retry.is_some(), route),
            ("--hash-header", hash_header.is_some(), route),
            ("--response-header", response_header.is_some(), route),
            ("--root-namespace", root_namespace.is_some(), istio),
            ("--selector", !selector.is_empty(), istio),
            ("--context", context.is_some(), istio),
            ("--gateway-port", !gateway_ports.is_empty(), istio),
            ("--listen", listen.is_some(), envoy),
            ("--admin", admin.is_some(), envoy),
            ("--port", port.is_some(), envoy),
            ("--ecds", ecds.is_some(), envoy),
            ("--endpoint", !endpoints.is_empty(), envoy),
            ("--host", !hosts.is_empty(), envoy),
        ];
        for (option, is_given, targets) in given {
            if is_given && !targets.contains(&self.to) {
                let targets: Vec<_> = targets.iter().map(|target| target.name()).collect();
                usage_error(RENDER, &format!("{option} is an option of --to {}", targets.join(" and ")));
            }
        }
        if self.to == Ecds && wasm.as_ref().is_some_and(|wasm| is_url(wasm)) {
            usage_error(RENDER, "--wasm of --to ecds is a file on Envoy's host: only Istio's agent fetches URLs");
        }
        self.plugin.check_url(RENDER);
    }
}

// === impl Explain ===

impl Explain {
    fn run(self) -> ExitCode {
        const EXPLAIN: &str = "explain";
        self.input.refuse_second_stdin(EXPLAIN);
        let Some(input) = self.input.load() else { return ExitCode::FAILURE };
        let configuration = &input.configuration;
        refuse_other_namespace(EXPLAIN, configuration, self.namespace.as_deref());
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
        let answer = explain(&input, &Described { method, path, host, headers, port, namespace });
        if self.json {
            let json = serde_json::to_string_pretty(&answer).expect("texts and numbers are JSON");
            return print(&format!("{json}\n"));
        }
        print(&answer.to_string())
    }
}

// === impl Controller ===

#[cfg(feature = "controller")]
impl Controller {
    fn run(self) -> ExitCode {
        self.plugin.check_url("controller");
        let files = InputArgs { files: Vec::new(), config: self.config };
        let Some(mut input) = files.load() else { return ExitCode::FAILURE };
        self.route.ask_for_backend_header(&mut input.configuration);
        let level = tracing_subscriber::EnvFilter::try_from_default_env();
        tracing_subscriber::fmt()
            .json()
            .with_writer(io::stderr)
            // kube's own warnings hold whole responses.
            .with_env_filter(level.unwrap_or_else(|_| "info,kube_client=error".into()))
            .init();
        let options = traffic_split_envoy::controller::Options {
            istio: self.istio.options(&self.plugin, &self.route, &input.configuration),
            base: input.configuration,
            // Where there is only one kind of addresses, the other can't be had.
            listen: self.listen.map_or_else(
                || vec![(std::net::Ipv6Addr::UNSPECIFIED, 8080).into(), (std::net::Ipv4Addr::UNSPECIFIED, 8080).into()],
                |listen| vec![listen],
            ),
            lease_namespace: self.lease_namespace,
            identity: identity(),
            most_bytes: self.max_bytes,
        };
        run_to_end(traffic_split_envoy::controller::run(options))
    }
}

// === impl Uninstall ===

#[cfg(feature = "controller")]
impl Uninstall {
    fn run(self) -> ExitCode {
        let mut istio = Istio::default();
        istio.namespace = self.root_namespace;
        let uninstall =
            traffic_split_envoy::controller::uninstall(&istio, &self.namespace, self.wait, |step| say(step));
        run_to_end(uninstall)
    }
}

/// Runs what talks to the API server; an error is said.
#[cfg(feature = "controller")]
fn run_to_end<E: Display>(task: impl Future<Output = Result<(), E>>) -> ExitCode {
    let ran = tokio::runtime::Runtime::new().map_err(|why| why.to_string());
    match ran.and_then(|runtime| runtime.block_on(task).map_err(|why| why.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(format_args!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// This replica's name: its pod's, where there is one, and that of no other process.
#[cfg(feature = "controller")]
fn identity() -> String {
    let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    format!("{pod}_{}", std::process::id())
}

// === impl Target ===

impl Target {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

// === impl InputArgs ===

impl InputArgs {
    /// What was read once is gone.
    fn refuse_second_stdin(&self, command: &str) {
        if self.files.iter().chain(&self.config).filter(|file| *file == Path::new("-")).count() > 1 {
            usage_error(command, "`-` is given twice, but standard input can be read only once");
        }
    }

    /// Reads the files and says on standard error what is wrong or odd; `None` if it is wrong.
    fn load(&self) -> Option<Input> {
        match load(&self.files, self.config.as_deref()) {
            Ok(input) => {
                for file in input.files.iter().filter(|file| !file.ignored.is_empty()) {
                    say(format_args!("note: {}: ignored: {}", file.file, file.ignored.join(", ")));
                }
                for warning in &input.warnings {
                    say(format_args!("warning: {warning}"));
                }
                Some(input)
            }
            Err(faults) => {
                for fault in faults {
                    say(fault);
                }
                None
            }
        }
    }
}

// === impl PluginArgs ===

impl PluginArgs {
    fn check_url(&self, command: &str) {
        let Some(url) = self.wasm.as_deref().filter(|wasm| is_url(wasm)) else {
            if self.wasm_sha256.is_some() {
                usage_error(command, "--wasm-sha256 is of what --wasm names by https:// or oci://");
            }
            return;
        };
        let strange = |char: char| char.is_whitespace() || char.is_control();
        match url.split_once("://") {
            Some(("https" | "oci", rest)) if !rest.is_empty() && !rest.contains(strange) => {}
            _ => usage_error(command, &format!("--wasm {url} is neither a file nor https://… nor oci://…")),
        }
        if url.starts_with("https://") && self.wasm_sha256.is_none() {
            usage_error(command, "--wasm https://… needs --wasm-sha256: what is fetched runs in every proxy");
        }
        let Some(image) = url.strip_prefix("oci://") else { return };
        match (image.split_once('@'), &self.wasm_sha256) {
            (None, Some(_)) => {}
            (None, None) => usage_error(
                command,
                &format!(
                    "--wasm {url}: the image has no digest, so its registry chooses what runs in every proxy; append \
                     `@sha256:DIGEST`, which `./build.sh package` prints, or set --wasm-sha256"
                ),
            ),
            (Some((_, digest)), given) => match oci_digest(digest) {
                None => usage_error(
                    command,
                    &format!("--wasm {url}: `{digest}` is not a digest; write `sha256:` and 64 hexadecimal digits"),
                ),
                Some(digest) if given.as_ref().is_some_and(|given| given != digest) => {
                    usage_error(command, &format!("--wasm {url}: its digest differs from --wasm-sha256; omit one"));
                }
                Some(_) => {}
            },
        }
    }

    /// Returns what `--wasm-sha256` says, or else the digest in the URL of an image.
    fn sha256(&self) -> Option<String> {
        let of_image = || oci_digest(self.wasm.as_deref()?.strip_prefix("oci://")?.split_once('@')?.1);
        self.wasm_sha256.as_deref().or_else(of_image).map(str::to_owned)
    }

    fn wasm(&self) -> Wasm {
        match &self.wasm {
            None => Wasm::default(),
            Some(url) if is_url(url) => Wasm::Remote { url: url.clone(), sha256: self.sha256() },
            Some(path) => Wasm::File(path.clone()),
        }
    }

    /// Another filter at the same place is another configuration. A file tells where this is Envoy's host.
    fn wasm_version(&self, wasm: &Wasm) -> Option<String> {
        match wasm {
            Wasm::File(path) => std::fs::read(path).ok().map(|wasm| version(&wasm)),
            Wasm::Remote { sha256, .. } => sha256.as_ref().map(|sha256| sha256.chars().take(16).collect()),
        }
    }

    fn failure_policy(&self) -> FailurePolicy {
        match self.failure_policy {
            None | Some(Failure::Reload) => FailurePolicy::Reload,
            Some(Failure::Open) => FailurePolicy::Open,
        }
    }

    fn ecds(&self) -> Ecds {
        let mut options = Ecds::default();
        options.wasm = self.wasm();
        options.wasm_version = self.wasm_version(&options.wasm);
        options.failure_policy = self.failure_policy();
        options.vm_epoch = self.vm_epoch;
        options
    }
}

// === impl RouteArgs ===

impl RouteArgs {
    /// The response's header is made of the request's.
    fn ask_for_backend_header(&self, configuration: &mut Configuration) {
        if self.response_header.is_some() {
            configuration.backend_header.get_or_insert_with(|| BACKEND_HEADER.into());
        }
    }

    fn options(&self) -> SplitRoute {
        let mut options = SplitRoute::default();
        options.timeout = self.timeout;
        options.retries = self.retry.unwrap_or(options.retries);
        options.hash_header.clone_from(&self.hash_header);
        if let Some(header) = &self.response_header {
            options.response_header.clone_from(header);
        }
        options
    }
}

// === impl IstioArgs ===

impl IstioArgs {
    fn options(&self, plugin: &PluginArgs, route: &RouteArgs, configuration: &Configuration) -> Istio {
        if matches!(self.context, Some(Proxies::Gateway | Proxies::Both)) && configuration.hosts.is_empty() {
            say("note: gateways split the `hosts` of --config, and there are none: nothing is split at gateways");
        }
        let mut options = Istio::default();
        if let Some(namespace) = self.root_namespace.as_ref().or(route.namespace.as_ref()) {
            options.namespace.clone_from(namespace);
        }
        options.selector = self.selector.iter().cloned().collect();
        options.context = match self.context {
            None | Some(Proxies::Sidecar) => Context::Sidecar,
            Some(Proxies::Gateway) => Context::Gateway,
            Some(Proxies::Both) => Context::Both,
        };
        options.gateway_ports.clone_from(&self.gateway_ports);
        options.wasm = plugin.wasm();
        options.wasm_version = plugin.wasm_version(&options.wasm);
        options.failure_policy = plugin.failure_policy();
        options.vm_epoch = plugin.vm_epoch;
        options.route = route.options();
        options
    }
}

// === impl EnvoyArgs ===

impl EnvoyArgs {
    fn options(self) -> Bootstrap {
        let mut options = Bootstrap::default();
        options.listen = self.listen.unwrap_or(options.listen);
        options.admin = self.admin.unwrap_or(options.admin);
        options.port = self.port;
        options.ecds = self.ecds.unwrap_or(options.ecds);
        options.endpoints = self.endpoints;
        options.hosts = self.hosts;
        options
    }
}

/// Without a root's ports, the filter takes the one it sees; that a cluster has it nobody can say. A bootstrap has
/// clusters for one port then.
fn warn_of_unknown_ports(configuration: &Configuration, bootstrap: Option<&Bootstrap>) {
    let mut warned = BTreeSet::new();
    for split in &configuration.traffic_splits {
        let root = format!("{}/{}", split.metadata.namespace, split.spec.service);
        if configuration.services.get(&root).is_some_and(|known| known.ports.is_some()) || !warned.insert(root.clone())
        {
            continue;
        }
        let effect = match bootstrap.map(|options| options.port.unwrap_or(options.listen.port())) {
            None => "so a request goes by the port in its Host, or else the one that it connected to".into(),
            Some(0) => {
                let why = "is unknown: give --port, or add the Service to the input";
                usage_error(RENDER, &format!("--listen has port 0, and that of the Service {root} {why}"));
            }
            Some(port) => format!("so only {port} will work"),
        };
        say(format_args!(
            "warning: the ports of the Service {root} are unknown, {effect}; add the Service to the input"
        ));
    }
}

fn note_no_splits(configuration: &Configuration) {
    if configuration.traffic_splits.is_empty() {
        say("note: there is no TrafficSplit in the input: everything passes through");
    }
}

fn refuse_other_namespace(command: &str, configuration: &Configuration, given: Option<&str>) {
    if let (Some(own), Some(given)) = (&configuration.namespace, given)
        && own != given
    {
        usage_error(command, &format!("--namespace {given} contradicts --config, whose namespace is {own}"));
    }
}

const RENDER: &str = "render";

fn usage_error(command: &str, message: &str) -> ! {
    let mut cli = Cli::command();
    cli.build();
    let command = cli.find_subcommand_mut(command).expect("the command that was given");
    command.error(ErrorKind::ArgumentConflict, message).exit()
}

fn parse_namespace(text: &str) -> Result<String, String> {
    is_label(text).then(|| text.into()).ok_or_else(|| "it must be a DNS label".into())
}

/// A header's name in lower case, as Envoy has it.
fn parse_header_name(text: &str) -> Result<String, String> {
    is_token(text).then(|| text.to_ascii_lowercase()).ok_or_else(|| "it must be the name of a header".into())
}

fn parse_sha256(text: &str) -> Result<String, String> {
    let fine = text.len() == 64 && text.chars().all(|char| char.is_ascii_hexdigit());
    fine.then(|| text.to_ascii_lowercase()).ok_or_else(|| "it must be 64 hexadecimal digits".into())
}

/// The hexadecimal digits of a digest as images have it, which are lower case.
fn oci_digest(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:")?;
    let is_digit = |char: char| matches!(char, '0'..='9' | 'a'..='f');
    (digits.len() == 64 && digits.chars().all(is_digit)).then_some(digits)
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let fine = |part: &str, more: &str| {
        part.len() <= 63
            && part.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char) || more.contains(char))
    };
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && fine(key, "/") && fine(value, "") => Ok((key.into(), value.into())),
        _ => Err("it must be a label, as app=shop".into()),
    }
}

fn is_url(text: &str) -> bool {
    text.contains("://")
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

/// Says a line on standard error. That nobody can read it changes nothing.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Who stops reading has seen enough.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            say(format_args!("standard output: cannot be written: {why}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
