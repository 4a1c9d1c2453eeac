//! `traffic-split render`: one subcommand for each kind of configuration.

mod ecds;
mod envoy;
mod istio;
mod plugin_config;

use crate::usage_error;
use clap::{Args, Subcommand};
use ecds::Ecds;
use envoy::Envoy;
use istio::{EnvoyFilter, WasmPlugin};
use plugin_config::PluginConfig;
use std::process::ExitCode;
use traffic_split_cli::input::{InputArgs, note_no_splits};
use traffic_split_cli::output::print_stdout;
use traffic_split_envoy::Input;

/// Write Envoy or Istio configuration to standard output.
///
/// The same input always gives the same bytes. Warnings and errors go to standard error.
#[derive(Args)]
#[command(after_long_help = "Run `traffic-split render <COMMAND> --help` for options and examples.")]
pub(crate) struct Render {
    #[command(subcommand)]
    target: Target,
}

#[derive(Subcommand)]
enum Target {
    Ecds(Ecds),
    Envoy(Box<Envoy>),
    #[command(name = "envoyfilter")]
    EnvoyFilter(Box<EnvoyFilter>),
    #[command(name = "wasmplugin")]
    WasmPlugin(Box<WasmPlugin>),
    PluginConfig(PluginConfig),
}

// === impl Render ===

impl Render {
    pub(crate) fn run(self) -> ExitCode {
        let text = match self.target {
            Target::Ecds(ecds) => ecds.render(),
            Target::Envoy(envoy) => envoy.render(),
            Target::EnvoyFilter(envoy_filter) => envoy_filter.render(),
            Target::WasmPlugin(wasm_plugin) => wasm_plugin.render(),
            Target::PluginConfig(plugin_config) => plugin_config.render(),
        };
        text.map_or(ExitCode::FAILURE, |text| print_stdout(&text))
    }
}

/// Reads the input of the subcommand at `path`; `None` after an error, which is reported on standard error.
fn load(input: &InputArgs, path: &[&str]) -> Option<Input> {
    input.check_stdin().unwrap_or_else(|why| usage_error(path, &why));
    let input = input.load()?;
    note_no_splits(&input.configuration);
    Some(input)
}
