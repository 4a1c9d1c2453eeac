//! `traffic-split render`.

use crate::unknown_ports::warn_of_unknown_ports;
use crate::usage_error;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::process::ExitCode;
use traffic_split_cli::input::{InputArgs, check_namespace, note_no_splits};
use traffic_split_cli::options::{IstioArgs, PluginArgs, RouteArgs, is_url};
use traffic_split_cli::output::print;
use traffic_split_envoy::{
    BootstrapOptions, Endpoint, ExternalHost, bootstrap, ecds, envoy_filter_yaml, plugin_config, wasm_plugin,
};

const RENDER: &[&str] = &["render"];

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
pub(crate) struct Render {
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
    hosts: Vec<ExternalHost>,
}

// === impl Render ===

impl Render {
    pub(crate) fn run(self) -> ExitCode {
        self.refuse_options_of_others();
        self.input.check_stdin().unwrap_or_else(|why| usage_error(RENDER, &why));
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
                check_namespace(configuration, namespace).unwrap_or_else(|why| usage_error(RENDER, &why));
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
        self.plugin.check_url().unwrap_or_else(|why| usage_error(RENDER, &why));
    }
}

// === impl Target ===

impl Target {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

// === impl EnvoyArgs ===

impl EnvoyArgs {
    fn options(self) -> BootstrapOptions {
        let mut options = BootstrapOptions::default();
        options.listen = self.listen.unwrap_or(options.listen);
        options.admin = self.admin.unwrap_or(options.admin);
        options.port = self.port;
        options.ecds = self.ecds.unwrap_or(options.ecds);
        options.endpoints = self.endpoints;
        options.hosts = self.hosts;
        options
    }
}
