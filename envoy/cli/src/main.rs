//! The `traffic-split` command.

mod check;
mod explain;
mod render;
mod unknown_ports;

use check::Check;
use clap::{Args, CommandFactory, Parser, Subcommand};
use explain::Explain;
use render::Render;
use std::process::ExitCode;
use traffic_split_cli::output;

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
    // People who used the controller before it was a command of its own learn its name.
    #[command(hide = true)]
    Controller(Moved),
    #[command(hide = true)]
    Uninstall(Moved),
}

/// The arguments of a subcommand that is now in `traffic-split-controller`.
#[derive(Args)]
#[command(disable_help_flag = true)]
struct Moved {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<String>,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(check) => check.run(),
        Command::Render(render) => render.run(),
        Command::Explain(explain) => explain.run(),
        Command::Controller(_) => moved("controller", "run"),
        Command::Uninstall(_) => moved("uninstall", "uninstall"),
    }
}

/// Says where the controller is.
fn moved(subcommand: &str, of_controller: &str) -> ExitCode {
    output::say(format_args!(
        "error: `traffic-split {subcommand}`: the controller is a command of its own; run `traffic-split-controller \
         {of_controller}`, which `./build.sh build --controller` builds and the image traffic-split-controller contains"
    ));
    ExitCode::from(2)
}

fn usage_error(path: &[&str], message: &str) -> ! {
    output::usage_error(Cli::command(), path, message)
}
