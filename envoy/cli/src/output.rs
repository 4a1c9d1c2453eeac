//! Standard output, standard error and usage errors.

use anstyle::{AnsiColor, Style};
use clap::Command;
use clap::error::ErrorKind;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use traffic_split_envoy::{Diagnostic, Severity};

/// Writes one line to standard error. A closed standard error is ignored.
pub fn print_stderr(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a diagnostic to standard error: `error: guide.yaml:7:14: …`. The severity is colored on a terminal, unless `NO_COLOR` is set.
pub fn print_diagnostic(diagnostic: &Diagnostic) {
    let colour = match diagnostic.severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Note => AnsiColor::Cyan,
    };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    let _ = writeln!(anstream::stderr(), "{style}{}{style:#}: {diagnostic}", diagnostic.severity);
}

/// Writes text to standard output. Ignores a closed pipe, such as that of `head`.
pub fn print_stdout(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            print_stderr(format_args!("error: standard output: cannot be written: {why}"));
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
