//! `traffic-split render ecds`.

use super::load;
use crate::unknown_ports::warn_of_unknown_ports;
use clap::Args;
use traffic_split_cli::input::InputArgs;
use traffic_split_cli::options::{FailurePolicyArgs, VmEpochArgs, file_version, is_url};
use traffic_split_envoy::{EcdsOptions, WasmSource, ecds};

/// Write the file that a bare Envoy watches for the filter's configuration.
///
/// Replace the file by rename (mv): Envoy then loads the new configuration and keeps all connections.
#[derive(Args)]
#[command(mut_arg("object_namespace", |option| option.visible_alias("namespace")))]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  # Change weights while Envoy runs.
  mkdir -p dist/guide
  dist/traffic-split render ecds --wasm dist/traffic-split.wasm \\
    envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml > dist/ecds.yaml &&
    mv dist/ecds.yaml dist/guide/ecds.yaml

  # Use Envoy clusters that are not named as in Istio.
  dist/traffic-split render ecds --config envoy/examples/guide/config.yaml \\
    envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml")]
pub(super) struct Ecds {
    #[command(flatten)]
    input: InputArgs,

    /// Compiled filter: a file on Envoy's host. Copy the filter there before you render, and render again after you replace
    /// the filter [default: /etc/traffic-split/traffic-split.wasm]
    #[arg(long, value_name = "PATH", value_parser = parse_wasm_path)]
    wasm: Option<String>,

    #[command(flatten)]
    failure_policy: FailurePolicyArgs,

    #[command(flatten)]
    vm: VmEpochArgs,
}

// === impl Ecds ===

impl Ecds {
    pub(super) fn render(&self) -> Option<String> {
        let input = load(&self.input, &["render", "ecds"])?;
        warn_of_unknown_ports(&input, None);
        let mut options = EcdsOptions::default();
        if let Some(path) = &self.wasm {
            options.wasm = WasmSource::File(path.clone());
        }
        options.wasm_version = file_version(&options.wasm);
        options.failure_policy = self.failure_policy.policy();
        options.vm_epoch = self.vm.vm_epoch;
        Some(ecds(&input.configuration, &options))
    }
}

fn parse_wasm_path(text: &str) -> Result<String, String> {
    match text {
        "" => Err("the path is empty".into()),
        _ if is_url(text) => {
            Err("only Istio's agent fetches URLs; copy the filter to Envoy's host and give its path".into())
        }
        _ => Ok(text.into()),
    }
}
