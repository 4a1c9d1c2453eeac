//! `traffic-split render`: one subcommand for each kind of configuration.

mod ecds;
mod envoy;
mod istio;
mod output_file;
mod plugin_config;
mod wasm_file;
mod watch;

use crate::usage_error;
use clap::{Args, Subcommand};
use ecds::Ecds;
use envoy::Envoy;
use istio::{EnvoyFilter, WasmPlugin};
use output_file::OutputArgs;
use plugin_config::PluginConfig;
use std::process::ExitCode;
use traffic_split_cli::input::{InputArgs, note_no_splits};
use traffic_split_envoy::Input;

/// Write Envoy or Istio configuration to standard output, or to a file.
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
        match self.target {
            Target::Ecds(ecds) => ecds.run(),
            Target::Envoy(envoy) => envoy.run(),
            Target::EnvoyFilter(envoy_filter) => envoy_filter.run(),
            Target::WasmPlugin(wasm_plugin) => wasm_plugin.run(),
            Target::PluginConfig(plugin_config) => plugin_config.run(),
        }
    }
}

/// Exits with a usage error if standard input is named twice, or if the output is one of the input files.
fn check_files(input: &InputArgs, output: &OutputArgs, path: &[&str]) {
    let checked = input.check_stdin().and_then(|()| output.check(input.files.iter().chain(&input.config)));
    checked.unwrap_or_else(|why| usage_error(path, &why));
}

/// Reads the input of the subcommand at `path`; `None` after an error, which is reported on standard error.
fn load(input: &InputArgs, output: &OutputArgs, path: &[&str]) -> Option<Input> {
    check_files(input, output, path);
    let input = input.load()?;
    note_no_splits(&input.configuration);
    Some(input)
}
