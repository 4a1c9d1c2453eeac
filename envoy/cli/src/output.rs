//! Standard output, standard error and usage errors.

use clap::Command;
use clap::error::ErrorKind;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes one line to standard error. A closed standard error is ignored.
pub fn print_stderr(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes text to standard output. Ignores a closed pipe, such as that of `head`.
pub fn print_stdout(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            print_stderr(format_args!("standard output: cannot be written: {why}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Exits with code 2, an error message and the usage of the subcommand at `path`, e.g. `["render", "ecds"]`.
///
/// # Panics
/// If there is no such subcommand.
pub fn usage_error(mut command: Command, path: &[&str], message: &str) -> ! {
    command.build();
    let subcommand = path.iter().fold(&mut command, |command, name| {
        command.find_subcommand_mut(name).expect("the subcommand was parsed from the command line")
    });
    subcommand.error(ErrorKind::ArgumentConflict, message).exit()
}
