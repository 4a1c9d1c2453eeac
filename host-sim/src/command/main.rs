//! The command `host-sim`: runs a filter in the simulator.

mod arguments;
mod failure;
mod inspect;
mod outcome;
mod route_configuration;
mod run;
mod terminal;
mod watchdog;

use arguments::{Cli, Command};
use clap::Parser;
use failure::Failure;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use terminal::{log_lines, write_lines};

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments, &mut out),
        Command::Inspect(arguments) => inspect::inspect(&arguments, &mut out),
    };
    match result.and_then(|succeeded| Ok(out.flush().map(|()| succeeded)?)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // A reader that closes the pipe has read enough.
        Err(Failure::Output(why)) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            let logs = if let Failure::Module(_, logs) = &why { &logs[..] } else { &[] };
            let lines = logs.iter().flat_map(|log| log_lines("  ", log));
            // If standard error is closed, the exit code remains.
            _ = write_lines(&mut io::stderr().lock(), std::iter::once(format!("error: {why}")).chain(lines));
            ExitCode::FAILURE
        }
    }
}
