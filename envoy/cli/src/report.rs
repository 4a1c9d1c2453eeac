//! The report of `traffic-split check`.

use crate::input::sort;
use crate::output::{print_diagnostic, print_stderr, print_stdout};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::ExitCode;
use traffic_split_envoy::{Diagnostic, Severity};

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One line for each problem on standard error, and one line for each valid file on standard output
    #[default]
    Text,
    /// One JSON object with all problems on standard output
    Json,
    /// GitHub Actions workflow commands on standard output: GitHub shows the problems beside the changed lines
    Github,
}

/// The problems of all files.
#[derive(Clone, Debug, Default)]
pub struct Report {
    problems: Vec<Diagnostic>,
    files: Vec<CheckedFile>,
}

/// A file and what it contains, such as `1 TrafficSplit, 3 Services`; `None` if the file was not read.
#[derive(Clone, Debug)]
struct CheckedFile {
    name: String,
    content: Option<String>,
}

// === impl Report ===

impl Report {
    /// Adds a file. `content` summarizes the objects in the file, such as `1 TrafficSplit, 3 Services`.
    pub fn add_file(&mut self, name: impl Into<String>, content: Option<String>) {
        self.files.push(CheckedFile { name: name.into(), content });
    }

    /// Adds problems and notes.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = Diagnostic>) {
        self.problems.extend(problems);
    }

    /// Prints the report. Returns exit code 1 if there is an error, or if there is a warning and `strict` is set.
    pub fn print(mut self, format: ReportFormat, strict: bool) -> ExitCode {
        self.sort();
        let failed = self.count(Severity::Error) > 0 || (strict && self.count(Severity::Warning) > 0);
        let printed = match format {
            ReportFormat::Text => {
                self.problems.iter().for_each(print_diagnostic);
                self.print_summary(strict);
                print_stdout(&self.valid_files())
            }
            ReportFormat::Json => print_stdout(&format!("{:#}\n", self.json())),
            ReportFormat::Github => {
                let printed = print_stdout(&self.problems.iter().map(workflow_command).collect::<String>());
                self.print_summary(strict);
                printed
            }
        };
        if failed { ExitCode::FAILURE } else { printed }
    }

    /// Sorts the problems by file, in the order of the files, and position.
    fn sort(&mut self) {
        let files: Vec<_> = self.files.iter().map(|file| file.name.clone()).collect();
        sort(&mut self.problems, &files);
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Prints the number of errors, warnings and affected files, unless there are neither errors nor warnings.
    fn print_summary(&self, strict: bool) {
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let files = self.files_with_problems();
        let counts = match (errors, warnings) {
            (0, 0) => return,
            (errors, 0) => count(errors, "error"),
            (0, warnings) => count(warnings, "warning"),
            (errors, warnings) => format!("{} and {}", count(errors, "error"), count(warnings, "warning")),
        };
        let files = if files == 0 { String::new() } else { format!(" in {}", count(files, "file")) };
        let hint = if strict && errors == 0 { "; --strict treats warnings as errors" } else { "" };
        print_stderr(format_args!("{counts}{files}{hint}"));
    }

    fn files_with_problems(&self) -> usize {
        let problems = self.problems.iter().filter(|problem| problem.severity > Severity::Note);
        let files: BTreeSet<_> = problems.map(|problem| &problem.file).filter(|file| !file.is_empty()).collect();
        files.len()
    }

    /// Returns one line for each file, if there are no errors.
    fn valid_files(&self) -> String {
        if self.count(Severity::Error) > 0 {
            return String::new();
        }
        let line = |CheckedFile { name, content }: &CheckedFile| {
            let content = content.as_ref()?;
            let is_warning = |problem: &&Diagnostic| problem.file == *name && problem.severity == Severity::Warning;
            Some(match self.problems.iter().filter(is_warning).count() {
                0 => format!("{name}: {content}, fine\n"),
                warnings => format!("{name}: {content}, {}\n", count(warnings, "warning")),
            })
        };
        self.files.iter().filter_map(line).collect()
    }

    fn json(&self) -> Value {
        let problem = |problem: &Diagnostic| {
            json!({
                "severity": problem.severity.as_str(),
                "file": problem.file,
                "line": problem.position.map(|position| position.line),
                "column": problem.position.map(|position| position.column),
                "object": problem.object,
                "field": problem.field,
                "message": problem.message,
            })
        };
        let file = |file: &CheckedFile| {
            let count = |severity| {
                let is_meant = |problem: &&Diagnostic| problem.file == file.name && problem.severity == severity;
                self.problems.iter().filter(is_meant).count()
            };
            json!({
                "file": file.name,
                "content": file.content,
                "errors": count(Severity::Error),
                "warnings": count(Severity::Warning),
            })
        };
        json!({
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
            "summary": {
                "errors": self.count(Severity::Error),
                "warnings": self.count(Severity::Warning),
                "files": self.files_with_problems(),
            },
        })
    }
}

/// Returns a workflow command of GitHub Actions. Escapes text as GitHub's own toolkit does
/// (<https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts>).
fn workflow_command(problem: &Diagnostic) -> String {
    let command = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut properties = Vec::new();
    if !problem.file.is_empty() {
        properties.push(format!("file={}", property(&problem.file)));
    }
    if let Some(position) = problem.position {
        properties.push(format!("line={},col={}", position.line, position.column));
    }
    let title = if problem.object.is_empty() { "traffic-split" } else { &problem.object };
    properties.push(format!("title={}", property(title)));
    let parts = [&problem.object, &problem.field, &problem.message];
    let message: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
    format!("::{command} {}::{}\n", properties.join(","), data(&message.join(": ")))
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::workflow_command;
    use traffic_split_envoy::{Diagnostic, Position};

    #[test]
    fn workflow_commands_are_escaped() {
        let problem = Diagnostic::error("a,b:c.yaml", "TrafficSplit n/100%", "spec", "is 5%,\r\nbut: no")
            .at(Some(Position { line: 3, column: 7 }));
        assert_eq!(
            workflow_command(&problem),
            "::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=TrafficSplit n/100%25::\
             TrafficSplit n/100%25: spec: is 5%25,%0D%0Abut: no\n"
        );
        let note = Diagnostic::note("", "the input has no TrafficSplit");
        assert_eq!(workflow_command(&note), "::notice title=traffic-split::the input has no TrafficSplit\n");
    }
}
