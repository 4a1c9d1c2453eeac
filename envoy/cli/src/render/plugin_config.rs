//! `traffic-split render plugin-config`.

use super::load;
use super::output_file::OutputArgs;
use crate::unknown_ports::warn_of_unknown_ports;
use clap::Args;
use std::process::ExitCode;
use traffic_split_cli::input::InputArgs;
use traffic_split_envoy::plugin_config;

/// Write the plugin configuration that the filter reads, as JSON.
#[derive(Args)]
#[command(mut_arg("object_namespace", |option| option.visible_alias("namespace")))]
#[command(after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split render plugin-config \\
    envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml

  # For the simulator.
  dist/traffic-split render plugin-config \\
    envoy/examples/sticky.yaml envoy/examples/guide/services.yaml > dist/plugin-config.json")]
pub(super) struct PluginConfig {
    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,
}

// === impl PluginConfig ===

impl PluginConfig {
    pub(super) fn run(&self) -> ExitCode {
        self.output.write(self.render().as_deref())
    }

    fn render(&self) -> Option<String> {
        let input = load(&self.input, &self.output, &["render", "plugin-config"])?;
        warn_of_unknown_ports(&input, None);
        Some(plugin_config(&input.configuration))
    }
}
