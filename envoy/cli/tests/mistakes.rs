//! The messages of `traffic-split check` for each mistake in `mistakes.txt`.
//!
//! `UPDATE_MISTAKES=1 cargo test -p traffic-split-cli --test mistakes` writes the messages of the command into the table. Read each
//! changed message before you commit it.

mod support;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use support::Ran;

const TABLE: &str = include_str!("mistakes.txt");
const VALID: &str = include_str!("mistakes.yaml");

/// A mistake, and the messages that name it.
#[derive(Default)]
struct Case {
    /// The lines of the table without the messages.
    text: String,
    title: String,
    removed: Vec<String>,
    added: Vec<String>,
    config: String,
    options: Vec<String>,
    messages: Vec<String>,
}

// === impl Case ===

impl Case {
    fn parse(text: &str) -> Self {
        let mut case = Self::default();
        for line in text.lines() {
            let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
            match mark.trim_end() {
                "#" => case.title = rest.into(),
                "-" => case.removed.push(rest.into()),
                "+" => case.added.push(rest.into()),
                "@" => _ = writeln!(case.config, "{rest}"),
                "$" => case.options.extend(rest.split(' ').map(Into::into)),
                ">" => case.messages.push(rest.into()),
                _ => panic!("unknown line in mistakes.txt: {line}"),
            }
            if mark.trim_end() != ">" {
                case.text.push_str(line);
                case.text.push('\n');
            }
        }
        case
    }

    /// Returns the file with the mistake.
    fn file(&self) -> String {
        let (removed, added) = (self.removed.join("\n"), self.added.join("\n"));
        match (self.removed.is_empty(), self.added.is_empty()) {
            (true, true) => VALID.into(),
            (true, false) => format!("{added}\n"),
            (false, _) => {
                assert!(VALID.contains(&removed), "{}: mistakes.yaml has no such lines:\n{removed}", self.title);
                VALID.replacen(&removed, &added, 1)
            }
        }
    }

    /// Returns the messages of the command.
    fn run(&self, directory: &Path) -> Vec<String> {
        std::fs::write(directory.join("shop.yaml"), self.file()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_traffic-split"));
        command.current_dir(directory).args(["check", "shop.yaml"]).args(&self.options);
        if !self.config.is_empty() {
            std::fs::write(directory.join("config.yaml"), &self.config).unwrap();
            command.args(["--config", "config.yaml"]);
        }
        let ran = Ran::with_input(&mut command, "");
        let has_error = ran.stderr.lines().any(|line| line.starts_with("error: "));
        assert_eq!(ran.code, Some(i32::from(has_error)), "{}: {}", self.title, ran.stderr);
        assert_eq!(ran.stdout.is_empty(), has_error, "{}: {}", self.title, ran.stdout);
        let mut messages: Vec<_> = ran.stderr.lines().map(str::to_owned).collect();
        // The last line is the summary.
        messages.pop();
        messages
    }
}

#[test]
fn each_mistake_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let cases: Vec<_> = TABLE.split("\n\n").skip(1).map(|text| Case::parse(text.trim())).collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut table = TABLE.split("\n\n").next().unwrap().to_owned() + "\n";
    let mut wrong = String::new();
    for case in &cases {
        let messages = case.run(directory.path());
        assert!(!messages.is_empty(), "no message: {}", case.title);
        let _ = write!(table, "\n{}", case.text);
        messages.iter().for_each(|message| _ = writeln!(table, "> {message}"));
        if messages != case.messages {
            let _ = writeln!(wrong, "{}\n  is:     {messages:#?}\n  should: {:#?}", case.title, case.messages);
        }
    }
    if std::env::var_os("UPDATE_MISTAKES").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mistakes.txt"), table).unwrap();
    } else {
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn file_without_a_mistake_is_fine() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Case::default().run(directory.path()), [""; 0]);
}
