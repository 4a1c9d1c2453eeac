//! The `traffic-split` command.

mod bootstrap_file;
mod check;
mod explain;
mod parse_error;
mod render;
mod unknown_ports;

use check::Check;
use clap::{Args, CommandFactory, Parser, Subcommand};
use explain::Explain;
use render::Render;
use std::process::ExitCode;
use traffic_split_cli::output;

/// SMI TrafficSplit for any Envoy sidecar: renders Kubernetes objects as Envoy and Istio configuration.
///
/// Exit codes: 0 success, 1 invalid input, 2 usage error.
#[derive(Parser)]
#[command(
    name = "traffic-split",
    version,
    // Never wrapped, whatever features other crates enable in clap: users copy the examples.
    term_width = 0,
    after_long_help = "Examples, at the root of the repository after ./build.sh build:
  dist/traffic-split check envoy/examples/guide/trafficsplit-v1.yaml envoy/examples/guide/services.yaml
  dist/traffic-split render plugin-config envoy/examples/guide/trafficsplit-50-50.yaml envoy/examples/guide/services.yaml
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
    Render(Render),
    Explain(Explain),
    // Earlier versions had the controller as a subcommand.
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
    match parse().command {
        Command::Check(check) => check.run(),
        Command::Render(render) => render.run(),
        Command::Explain(explain) => explain.run(),
        Command::Controller(_) => moved("controller", "run"),
        Command::Uninstall(_) => moved("uninstall", "uninstall"),
    }
}

fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let arguments: Vec<_> = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into()).collect();
        parse_error::with_tip(error, &Cli::command(), &arguments).exit()
    })
}

/// Reports which command of the controller replaces a subcommand.
fn moved(subcommand: &str, of_controller: &str) -> ExitCode {
    output::print_stderr(format_args!(
        "error: `traffic-split {subcommand}` is now `traffic-split-controller {of_controller}`; \
         build it with `./build.sh build --controller`, or use the image traffic-split-controller (docs/istio.md)"
    ));
    ExitCode::from(2)
}

fn usage_error(path: &[&str], message: &str) -> ! {
    output::usage_error(Cli::command(), path, message)
}
