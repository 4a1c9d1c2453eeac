//! `traffic-split render envoyfilter` and `render wasmplugin`.

use super::load;
use super::output_file::OutputArgs;
use super::wasm_file::check_wasm_file;
use crate::unknown_ports::warn_of_unknown_ports;
use crate::usage_error;
use clap::Args;
use std::process::ExitCode;
use traffic_split::Configuration;
use traffic_split_cli::input::InputArgs;
use traffic_split_cli::options::{IstioArgs, VmEpochArgs};
use traffic_split_cli::output::print_diagnostic;
use traffic_split_envoy::{Diagnostic, IstioOptions, Severity, enabled_for_all_hosts, envoy_filter_yaml, wasm_plugin};

/// Write the EnvoyFilter that loads the filter into Istio's proxies.
#[derive(Args)]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  # For all sidecars of the mesh.
  dist/traffic-split render envoyfilter --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \\
    --timeout 15s --response-header x-served-by \\
    envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml > dist/envoyfilter.yaml

  # For the sidecars of one namespace, with the filter as a file in the proxy's container.
  dist/traffic-split render envoyfilter --namespace curl --wasm /etc/traffic-split/traffic-split.wasm \\
    envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml")]
pub(super) struct EnvoyFilter {
    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    istio: IstioArgs,

    #[command(flatten, next_help_heading = "Filter")]
    vm: VmEpochArgs,
}

/// Write a WasmPlugin, and an EnvoyFilter for the settings that a WasmPlugin lacks.
///
/// Prefer `render envoyfilter`. With a WasmPlugin, a proxy that starts while the configuration is invalid answers 500 to every
/// host.
#[derive(Args)]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split render wasmplugin --wasm oci://registry.example.com/traffic-split@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef \\
    envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml > dist/wasmplugin.yaml")]
pub(super) struct WasmPlugin {
    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    istio: IstioArgs,
}

// === impl EnvoyFilter ===

impl EnvoyFilter {
    pub(super) fn run(&self) -> ExitCode {
        self.output.write(self.render().as_deref())
    }

    fn render(&self) -> Option<String> {
        let (configuration, mut options) =
            load_for_istio(&self.input, &self.output, &self.istio, &["render", "envoyfilter"])?;
        options.vm_epoch = self.vm.vm_epoch;
        if let Some(warning) = enabled_for_all_hosts(&configuration, &options) {
            print_diagnostic(&Diagnostic::warning("", "", "", warning));
        }
        Some(envoy_filter_yaml(&configuration, &options))
    }
}

// === impl WasmPlugin ===

impl WasmPlugin {
    pub(super) fn run(&self) -> ExitCode {
        self.output.write(self.render().as_deref())
    }

    fn render(&self) -> Option<String> {
        let (configuration, options) =
            load_for_istio(&self.input, &self.output, &self.istio, &["render", "wasmplugin"])?;
        Some(wasm_plugin(&configuration, &options))
    }
}

fn load_for_istio(
    input: &InputArgs,
    output: &OutputArgs,
    istio: &IstioArgs,
    path: &[&str],
) -> Option<(Configuration, IstioOptions)> {
    istio.check().unwrap_or_else(|why| usage_error(path, &why));
    // The file is in the proxy's container, so it often does not exist here.
    if istio.wasm_file().is_some_and(|file| !check_wasm_file(file, Severity::Note)) {
        return None;
    }
    let input = load(input, output, path)?;
    warn_of_unknown_ports(&input, None);
    let mut configuration = input.configuration;
    istio.ask_for_backend_header(&mut configuration);
    let options = istio.options(&configuration);
    Some((configuration, options))
}
