//! Follows the README in an empty directory: writes its files, runs its commands, and compares what they print.

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const README: &str = include_str!("../README.md");

/// A fenced block of the README: its language and its lines.
struct Block {
    kind: &'static str,
    lines: Vec<&'static str>,
}

fn blocks() -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, bool) = (Vec::new(), false);
    for line in README.lines() {
        match (line.strip_prefix("```"), blocks.last_mut()) {
            (Some(kind), _) if !open => (open, _) = (true, blocks.push(Block { kind, lines: Vec::new() })),
            (Some(_), _) => open = false,
            (None, Some(block)) if open => block.lines.push(line),
            _ => {}
        }
    }
    blocks
}

/// A directory with a checkout in `traffic-split`. Removed when dropped.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Scratch {
        // Outside of this workspace: cargo would treat a package inside as a part of it.
        let scratch = Scratch(tempfile::tempdir().expect("a directory"));
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a checkout");
        std::os::unix::fs::symlink(checkout, scratch.0.path().join("traffic-split")).expect("a link");
        scratch
    }

    fn write(&self, path: &str, lines: &[&str]) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, lines.join("\n") + "\n").expect("a file");
    }

    /// Runs a command. Returns its standard output and standard error.
    fn run(&self, command: &str) -> String {
        let package = self.0.path().join("greeting");
        if package.exists() && !package.join("target").exists() {
            // Keep compiled dependencies between runs, and use the versions of this workspace.
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
            std::fs::create_dir_all(&target).expect("a directory");
            std::os::unix::fs::symlink(target, package.join("target")).expect("a link");
            std::fs::copy(self.0.path().join("traffic-split/Cargo.lock"), package.join("Cargo.lock")).expect("a copy");
        }
        let commands = Path::new(env!("CARGO_BIN_EXE_host-sim")).parent().expect("a directory").display();
        let path = std::env::var("PATH").expect("a path");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {command}")]).env("PATH", format!("{commands}:{path}"));
        // These are not set in a user's shell.
        shell.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let directory = if package.exists() { package } else { self.0.path().to_owned() };
        let output = shell.current_dir(directory).output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "$ {command}\n{text}");
        text
    }
}

/// Returns whether a line matches a line of the README, in which `…` stands for any characters.
fn fits(expected: &str, line: &str) -> bool {
    let mut rest = line.trim_end();
    let mut pieces = expected.split('…');
    let Some(after) = pieces.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    rest = after;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty() || expected.ends_with('…')
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let scratch = Scratch::new();
    let mut commands = 0;
    for Block { kind, lines } in blocks() {
        let first = lines.first().copied().unwrap_or_default();
        match kind {
            "toml" | "rust" => {
                let path = first.trim_start_matches(['#', '/', ' ']);
                assert!(
                    path.starts_with("greeting/"),
                    "a block of {kind} must begin with the path of its file: {first}"
                );
                scratch.write(path, &lines);
            }
            "console" => {
                let mut printed = String::new();
                for line in lines {
                    if let Some(command) = line.strip_prefix("$ ") {
                        printed = scratch.run(command);
                        commands += 1;
                    } else {
                        // The README leaves lines out, and tests end in any order.
                        assert!(printed.lines().any(|printed| fits(line, printed)), "no line {line:?} in:\n{printed}");
                    }
                }
            }
            // Other blocks install tools or show variants.
            _ => {}
        }
    }
    assert!(commands > 3, "the README has commands");
}

#[test]
fn every_linked_file_exists() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files: Vec<_> = links.filter(|link| !link.contains("://") && !link.starts_with('#')).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{file} does not exist");
    }
}
