//! The tasks of `build.sh` that are more than running a program: packages images and manifests, counts and times tests.

mod image;
mod levels;
mod package;
mod sbom;

use clap::{Parser, Subcommand};
use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A result whose error is a message for a person.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Tasks of `build.sh`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks a registry's name
    CheckRegistry {
        /// The registry
        #[arg(value_parser = package::parse_registry)]
        registry: String,
    },
    /// Writes images and manifests into `dist`, from the files in it
    Package {
        /// The registry of the images, e.g. `ghcr.io/example`
        #[arg(value_parser = package::parse_registry)]
        registry: String,
    },
    /// Checks a list of dependencies (CycloneDX) against `Cargo.lock`
    CheckSbom {
        /// The list, as JSON
        file: PathBuf,
    },
    /// Runs a command that runs tests, and adds its counts and its time to the results
    Level {
        /// The file of results
        results: PathBuf,
        /// The name of the level
        name: String,
        /// The command
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Adds a level that does not run to the results
    Skip {
        /// The file of results
        results: PathBuf,
        /// The name of the level
        name: String,
        /// Why the level does not run, or how to run it
        reason: String,
    },
    /// Prints the results; fails if a test failed or no test ran
    Summary {
        /// The file of results
        results: PathBuf,
        /// The seconds since the first step, builds included
        seconds: u64,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::CheckRegistry { registry: _ } => Ok(true),
        Task::Package { registry } => package::package(&registry).map(|()| true),
        Task::CheckSbom { file } => sbom::check(&file).map(|()| true),
        Task::Level { results, name, command } => levels::run(&results, &name, &command, stdout()).map(|()| true),
        Task::Skip { results, name, reason } => levels::skip(&results, &name, &reason).map(|()| true),
        Task::Summary { results, seconds } => levels::summarize(&results, Duration::from_secs(seconds), stdout()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_dockerfile_has_the_pinned_version_of_rust() {
        let read = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
            fs::read_to_string(path).expect("a file of the repository")
        };
        let toolchain = read("rust-toolchain.toml");
        let version = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
        let version = version.expect("a channel");
        assert!(read("envoy/Dockerfile").contains(&format!("\nFROM rust:{version}-")), "not Rust {version}");
    }
}
