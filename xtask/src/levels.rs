//! Levels of tests: runs a command, counts its tests, and prints a summary of all levels.

use crate::Result;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What one level contributes to the summary. A line of the file of results, its fields separated by tabs.
#[derive(Debug, PartialEq)]
enum Entry {
    Ran { name: String, counts: Counts, seconds: u64 },
    Skipped { name: String, reason: String },
}

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs a level, copies its output, and adds its entry to the file of results. Failed tests are not an error: later
/// levels still run.
pub fn run(results: &Path, name: &str, command: &[String], output: impl Write) -> Result<()> {
    let start = Instant::now();
    let (program, arguments) = command.split_first().ok_or("a command is missing")?;
    let (reader, writer) = io::pipe()?;
    let mut child = Command::new(program);
    child.args(arguments).stdout(writer.try_clone()?).stderr(writer);
    let spawned = child.spawn();
    // `child` holds write ends of the pipe. Reading ends only when all write ends are closed.
    drop(child);
    let mut counts = Counts::default();
    let succeeded = match spawned {
        Ok(mut process) => {
            counts = copy_and_count(BufReader::new(reader), output)?;
            process.wait()?.success()
        }
        Err(error) => {
            eprintln!("{program}: {error}");
            false
        }
    };
    counts.add_missing_failure(succeeded);
    append(results, &Entry::Ran { name: name.to_owned(), counts, seconds: start.elapsed().as_secs() })
}

/// Adds a level that does not run to the file of results.
pub fn skip(results: &Path, name: &str, reason: &str) -> Result<()> {
    append(results, &Entry::Skipped { name: name.to_owned(), reason: reason.to_owned() })
}

/// Prints all levels, the totals, and the time outside of levels. Returns whether tests ran and none failed.
pub fn summarize(results: &Path, total_time: Duration, mut output: impl Write) -> Result<bool> {
    let text = fs::read_to_string(results).map_err(|error| format!("{}: {error}", results.display()))?;
    let entries = text.lines().map(Entry::parse).collect::<Result<Vec<_>>>()?;
    write!(output, "{}", summary(&entries, total_time.as_secs()))?;
    let total = total(&entries);
    Ok(total.failed == 0 && total.passed > 0)
}

fn append(results: &Path, entry: &Entry) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(results)?;
    writeln!(file, "{}", entry.to_line())?;
    Ok(())
}

/// Copies output line by line and counts the tests that it reports.
fn copy_and_count(mut output: impl BufRead, mut copy: impl Write) -> io::Result<Counts> {
    let mut counts = Counts::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        copy.write_all(&line)?;
        copy.flush()?;
        counts.read_line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(counts)
}

// === impl Counts ===

impl Counts {
    /// Adds what a line of libtest's or Go's output reports.
    fn read_line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result:") {
            let words: Vec<&str> = result.split_whitespace().collect();
            for pair in words.windows(2) {
                let Ok(number) = pair[0].parse::<u64>() else { continue };
                match pair[1] {
                    "passed;" => self.passed += number,
                    "failed;" => self.failed += number,
                    "ignored;" => self.skipped += number,
                    _ => {}
                }
            }
        } else if line.starts_with("--- PASS:") {
            self.passed += 1;
        } else if line.starts_with("--- FAIL:") {
            self.failed += 1;
        } else if line.starts_with("--- SKIP:") {
            self.skipped += 1;
        }
    }

    /// Counts a failure for a command that failed without a failed test, and for a command that ran no test.
    fn add_missing_failure(&mut self, succeeded: bool) {
        let is_empty = *self == Counts::default();
        if is_empty || (!succeeded && self.failed == 0) {
            self.failed += 1;
        }
    }
}

// === impl Entry ===

impl Entry {
    fn parse(line: &str) -> Result<Entry> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            [name, passed, failed, skipped, seconds] => Ok(Entry::Ran {
                name: name.to_owned(),
                counts: Counts { passed: passed.parse()?, failed: failed.parse()?, skipped: skipped.parse()? },
                seconds: seconds.parse()?,
            }),
            [name, reason] => Ok(Entry::Skipped { name: name.to_owned(), reason: reason.to_owned() }),
            _ => Err(format!("results: `{line}` is not an entry").into()),
        }
    }

    fn to_line(&self) -> String {
        match self {
            Entry::Ran { name, counts: Counts { passed, failed, skipped }, seconds } => {
                format!("{name}\t{passed}\t{failed}\t{skipped}\t{seconds}")
            }
            Entry::Skipped { name, reason } => format!("{name}\t{reason}"),
        }
    }
}

fn total(entries: &[Entry]) -> Counts {
    let mut total = Counts::default();
    for entry in entries {
        if let Entry::Ran { counts, .. } = entry {
            total.passed += counts.passed;
            total.failed += counts.failed;
            total.skipped += counts.skipped;
        }
    }
    total
}

fn summary(entries: &[Entry], total_seconds: u64) -> String {
    let mut lines = vec![String::new()];
    let mut seconds_of_levels = 0;
    for entry in entries {
        lines.push(match entry {
            Entry::Ran { name, counts: Counts { passed, failed, skipped }, seconds } => {
                seconds_of_levels += seconds;
                let counts = format!("{passed:4} passed, {failed} failed, {skipped} skipped");
                format!("  {name:<34} {counts:<36} {}", minutes(*seconds))
            }
            Entry::Skipped { name, reason } => format!("  {name:<34} skipped: {reason}"),
        });
    }
    let other = total_seconds.saturating_sub(seconds_of_levels);
    lines.push(format!("  {:<71} {}", "installations, builds, lints", minutes(other)));
    lines.push(format!("  {:<71} {}", "all", minutes(total_seconds)));
    let Counts { passed, failed, .. } = total(entries);
    lines.push(format!("{passed} passed, {failed} failed\n"));
    lines.join("\n")
}

fn minutes(seconds: u64) -> String {
    format!("{:3}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::{Counts, Entry, copy_and_count, skip, summarize, summary};
    use std::path::Path;
    use std::time::Duration;
    use std::{fs, io};

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn output_of_libtest_is_copied_and_counted() {
        let output =
            b"test a ... ok\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out\n\xff\n\
            test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        let mut copy = Vec::new();
        assert_eq!(copy_and_count(&output[..], &mut copy).expect("no error"), counts(7, 2, 1));
        assert_eq!(copy, output);
    }

    #[test]
    fn top_level_tests_of_go_are_counted() {
        let output =
            b"--- PASS: TestA (0.1s)\n    --- PASS: TestA/part (0.1s)\n--- FAIL: TestB (0s)\n--- SKIP: TestC (0s)\n";
        assert_eq!(copy_and_count(&output[..], Vec::new()).expect("no error"), counts(1, 1, 1));
    }

    #[test]
    fn level_that_dies_or_runs_nothing_has_failed() {
        for (mut found, succeeded, expected) in [
            (counts(0, 0, 0), true, counts(0, 1, 0)),
            (counts(0, 0, 0), false, counts(0, 1, 0)),
            (counts(5, 0, 0), false, counts(5, 1, 0)),
            (counts(5, 2, 0), false, counts(5, 2, 0)),
            (counts(5, 0, 1), true, counts(5, 0, 1)),
        ] {
            found.add_missing_failure(succeeded);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn entries_survive_the_file_of_results() {
        for entry in [
            Entry::Ran { name: "core, as WebAssembly".into(), counts: counts(99, 1, 2), seconds: 61 },
            Entry::Skipped { name: "e2e, real mesh".into(), reason: "run ./build.sh mesh".into() },
        ] {
            assert_eq!(Entry::parse(&entry.to_line()).expect("an entry"), entry);
        }
        assert!(Entry::parse("core\tmany\t0\t0\t1").is_err());
        assert!(Entry::parse("core").is_err());
    }

    #[test]
    fn summary_shows_counts_and_times_of_levels_and_ends_with_the_totals() {
        let entries = [
            Entry::Ran { name: "core".into(), counts: counts(119, 0, 1), seconds: 61 },
            Entry::Ran { name: "e2e, real Envoy 1.40.0".into(), counts: counts(2, 3, 0), seconds: 600 },
            Entry::Skipped { name: "e2e, real mesh".into(), reason: "run ./build.sh mesh".into() },
        ];
        assert_eq!(
            summary(&entries, 700),
            "
  core                                119 passed, 0 failed, 1 skipped       1:01
  e2e, real Envoy 1.40.0                2 passed, 3 failed, 0 skipped      10:00
  e2e, real mesh                     skipped: run ./build.sh mesh
  installations, builds, lints                                              0:39
  all                                                                      11:40
121 passed, 3 failed
"
        );
    }

    #[test]
    fn summary_fails_if_a_level_failed_or_nothing_ran() {
        let directory = tempfile::tempdir().expect("a directory");
        let results = directory.path().join("results");
        let shell = |script: &str| ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        // Not to standard output, where the level of these tests would count it.
        let run = |name: &str, command: &[String]| super::run(&results, name, command, io::sink()).expect("no error");
        let passes = |results: &Path| summarize(results, Duration::ZERO, io::sink()).expect("results");

        skip(&results, "mesh", "not here").expect("no error");
        assert!(!passes(&results));
        run("passes", &shell("echo 'test result: ok. 2 passed; 0 failed; 0 ignored;'"));
        assert!(passes(&results));
        run("is missing", &["/nowhere/command".to_owned()]);
        assert!(!passes(&results));
        fs::remove_file(&results).expect("a file");
        run("dies", &shell("echo 'test result: ok. 2 passed; 0 failed; 0 ignored;' >&2; exit 101"));
        assert!(!passes(&results));
    }
}
