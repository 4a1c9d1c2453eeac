//! Tips for errors of the command line: which subcommand has an option, and what replaces `render --to`.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Adds a tip to an error about an unknown option. `arguments` are those of the process.
pub(crate) fn with_tip(mut error: clap::Error, command: &Command, arguments: &[String]) -> clap::Error {
    let tip = match (error.kind(), error.get(ContextKind::InvalidArg), render_target(arguments)) {
        (ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand, _, Some(target)) => Some(format!(
            "the target is a subcommand: write 'traffic-split render {target}' instead of '--to {target}'"
        )),
        (ErrorKind::UnknownArgument, Some(ContextValue::String(argument)), None) => {
            let option = argument.split('=').next().unwrap_or_default();
            match arguments {
                [render, first, ..] if render == "render" && first.starts_with('-') => {
                    Some(format!("write options after the target, as in 'traffic-split render ecds {option}'"))
                }
                _ => owners_tip(option, &owners(command, option.trim_start_matches('-'), command.get_name())),
            }
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Returns the value of `--to` in the arguments of `render`, or `TARGET` if the value is missing.
fn render_target(arguments: &[String]) -> Option<&str> {
    let (_, arguments) = arguments.split_first().filter(|(subcommand, _)| *subcommand == "render")?;
    let at = arguments.iter().position(|argument| argument == "--to" || argument.starts_with("--to="))?;
    match arguments[at].split_once('=') {
        Some((_, target)) => Some(target),
        None => Some(arguments.get(at + 1).map_or("TARGET", String::as_str)),
    }
}

fn owners_tip(option: &str, owners: &[String]) -> Option<String> {
    let owners = match owners.split_last()? {
        (only, []) => only.clone(),
        (last, others) => format!("{} and {last}", others.join(", ")),
    };
    Some(format!("'{option}' is an option of {owners}"))
}

/// Returns the subcommands that have an option, each as users type it, in quotes.
fn owners(command: &Command, option: &str, path: &str) -> Vec<String> {
    let mut owners = Vec::new();
    for subcommand in command.get_subcommands() {
        let path = format!("{path} {}", subcommand.get_name());
        if subcommand.get_arguments().any(|argument| argument.get_long() == Some(option)) {
            owners.push(format!("'{path}'"));
        }
        owners.extend(self::owners(subcommand, option, &path));
    }
    owners
}
