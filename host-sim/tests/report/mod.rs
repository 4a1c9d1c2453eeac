//! The report of the guest `probe`: the results of every host function in every callback. The end-to-end tests, which run
//! the guest in a real Envoy, include this file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The results of every call from every callback. A call has several results if a host does not always return the same.
///
/// As text, each call is a line. Its results follow, one per line, with the callbacks that received them. The first line
/// lists the callbacks that make every call; `everywhere else` stands for those of them that no other result names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<Asked, BTreeSet<String>>);

/// A callback and the call that it made, e.g. `on_tick` and `proxy_continue_stream(Request)`.
pub type Asked = (String, String);

/// The scenarios of requests: the value of `x-probe`, and the end of the request.
pub const SCENARIOS: [(&str, Shape); 15] = [
    ("all", Shape::Trailers),
    ("get", Shape::Headers),
    ("unrouted", Shape::Headers),
    ("local-response", Shape::Trailers),
    ("local-response-for-response", Shape::Trailers),
    ("local-response-in-body", Shape::Trailers),
    ("close-request", Shape::Trailers),
    ("close-response", Shape::Trailers),
    ("pause-request", Shape::Trailers),
    ("pause-response", Shape::Trailers),
    ("pause-body", Shape::Body),
    ("set-body", Shape::Trailers),
    ("buffer-body", Shape::Trailers),
    ("add-trailers", Shape::Body),
    ("proc-exit", Shape::Trailers),
];

/// The part that ends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The headers.
    Headers,
    /// The end of the body, separate from its bytes.
    Body,
    /// The trailers.
    Trailers,
}

/// The scenarios of TCP connections: the name in the filter's configuration, and the steps in order. In scenarios with a
/// trap, a first connection that sends `hello` traps, and the steps happen to the next connection.
pub const CONNECTIONS: [(&str, &[Step]); 21] = {
    use Step::*;
    const WHOLE: &[Step] = &[Client("hello"), Upstream("answer"), ClientEnds, UpstreamEnds];
    [
        ("tcp-all", WHOLE),
        ("tcp-upstream-first", &[Upstream("answer"), UpstreamEnds, Client("hello"), ClientEnds]),
        (
            "tcp-pause-data",
            &[Client("hello"), Client(" world"), Upstream("ans"), Upstream("wer"), ClientEnds, UpstreamEnds],
        ),
        ("tcp-pause-connection", &[Early("hello"), Callout, ClientEnds, Upstream("answer"), UpstreamEnds]),
        ("tcp-resume-data", &[Client("hello"), Callout, ClientEnds, Upstream("answer"), UpstreamEnds]),
        ("tcp-continue", WHOLE),
        ("tcp-set-data", WHOLE),
        ("tcp-close-connection", &[]),
        ("tcp-close-downstream", &[Client("hello")]),
        ("tcp-close-upstream", &[Client("hello"), Upstream("answer")]),
        ("tcp-close-at-end", &[Client("hello"), UpstreamEnds]),
        ("tcp-client-resets", &[Client("hello"), ClientResets]),
        ("tcp-upstream-resets", &[Client("hello"), UpstreamResets]),
        ("tcp-hold-downstream", &[Upstream("answer"), UpstreamEnds, Client("hello"), ClientEnds]),
        ("tcp-hold-downstream-first", WHOLE),
        ("tcp-hold-upstream", WHOLE),
        ("tcp-hold-upstream-first", &[Upstream("answer"), UpstreamEnds, Client("hello"), ClientEnds]),
        ("tcp-trap-connection-closed", &[]),
        ("tcp-trap-connection-open", WHOLE),
        ("tcp-trap-data-closed", &[]),
        ("tcp-trap-data-open", WHOLE),
    ]
};

/// A step of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client sends data, and the filter receives it.
    Client(&'static str),
    /// The client sends data, which the filter may receive later.
    Early(&'static str),
    /// The client half-closes the connection.
    ClientEnds,
    /// The client resets the connection.
    ClientResets,
    /// The upstream sends data.
    Upstream(&'static str),
    /// The upstream half-closes the connection.
    UpstreamEnds,
    /// The upstream resets the connection.
    UpstreamResets,
    /// The callout for which the filter waits receives its response.
    Callout,
}

/// The functions that the guest calls during `_initialize`, each in its own VM.
pub const FORBIDDEN: [&str; 11] = [
    "proxy_get_log_level",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_property",
    "proxy_get_buffer_bytes",
    "proxy_define_metric",
    "proxy_set_shared_data",
    "fd_close",
    "fd_read",
    "fd_seek",
    "path_open",
    "sched_yield",
];

const ELSEWHERE: &str = "everywhere else";
const EVERYWHERE: &str = "everywhere";

/// The results in Envoy 1.40.
pub const ENVOY_REPORT: &str = include_str!("../envoy-1.40.report");

/// Returns the path of the compiled guest. `tmpdir` is the test's `CARGO_TARGET_TMPDIR`, in cargo's target directory.
///
/// # Errors
/// If the guest is not built.
pub fn probe(tmpdir: &str) -> Result<PathBuf, String> {
    let path = Path::new(tmpdir).with_file_name("wasm32-wasip1").join("release/probe.wasm");
    let build = "./build.sh build --guests";
    if path.exists() { Ok(path) } else { Err(format!("{} does not exist; run {build}", path.display())) }
}

impl Report {
    /// Returns an empty report.
    #[must_use]
    pub fn new() -> Report {
        Report::default()
    }

    /// Adds a log message of the guest, if it has the form `probe CALLBACK CALL -> RESULT`.
    pub fn read_line(&mut self, message: &str) {
        let Some(line) = message.strip_prefix("probe ") else { return };
        if let Some((callback, rest)) = line.split_once(' ')
            && let Some((call, answer)) = rest.split_once(") ->")
        {
            self.add(callback, &format!("{call})"), answer.trim());
        }
    }

    /// Adds a result.
    pub fn add(&mut self, callback: &str, call: &str, answer: &str) {
        self.0.entry((callback.to_owned(), call.to_owned())).or_default().insert(answer.trim().to_owned());
    }

    /// Returns the number of different calls of all callbacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the report has no calls.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the results of a call, joined if there are several, or `None` if it was not made.
    #[must_use]
    pub fn answer(&self, asked: &Asked) -> Option<String> {
        Some(self.0.get(asked)?.iter().map(String::as_str).collect::<Vec<_>>().join(" | "))
    }

    /// Returns whether a callback made any call.
    #[must_use]
    pub fn has(&self, callback: &str) -> bool {
        self.0.keys().any(|(other, _)| other == callback)
    }

    /// Returns the calls of both reports whose results differ, with the results of each report.
    #[must_use]
    pub fn differences(&self, other: &Report) -> BTreeMap<Asked, (Option<String>, Option<String>)> {
        let asked: BTreeSet<&Asked> = self.0.keys().chain(other.0.keys()).collect();
        let answers = asked.into_iter().map(|asked| (asked.clone(), (self.answer(asked), other.answer(asked))));
        answers.filter(|(_, (one, another))| one != another).collect()
    }

    /// Returns the report as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut calls: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for ((callback, call), answers) in &self.0 {
            *numbers.entry(callback).or_default() += 1;
            for answer in answers {
                calls.entry(call).or_default().entry(answer).or_default().insert(callback);
            }
        }
        let most = numbers.values().copied().max().unwrap_or(0);
        // The callbacks of scenarios make few calls.
        let common = numbers.iter().filter(|(callback, number)| **number * 10 > most * 9 && !callback.contains('/'));
        let common: BTreeSet<&str> = common.map(|(callback, _)| *callback).collect();
        let mut text = format!("callbacks: {}\n", joined(&common));
        for (call, answers) in &calls {
            _ = writeln!(text, "{call}");
            let asked: Vec<&str> = answers.values().flatten().copied().collect();
            let complete = common.iter().all(|callback| asked.contains(callback))
                && asked.iter().collect::<BTreeSet<_>>().len() == asked.len();
            let most = answers.values().map(|callbacks| callbacks.intersection(&common).count()).max().unwrap_or(0);
            let mut last = None;
            for (answer, callbacks) in answers {
                if last.is_none() && complete && callbacks.intersection(&common).count() == most {
                    last = Some((answer, callbacks));
                } else {
                    _ = writeln!(text, "  {answer} <- {}", joined(callbacks));
                }
            }
            if let Some((answer, callbacks)) = last {
                let others: BTreeSet<&str> = callbacks.difference(&common).copied().collect();
                let place = if answers.len() == 1 { EVERYWHERE } else { ELSEWHERE };
                let others = if others.is_empty() { String::new() } else { format!(" and {}", joined(&others)) };
                _ = writeln!(text, "  {answer} <- {place}{others}");
            }
        }
        text
    }

    /// Parses a report that [`text`](Report::text) wrote.
    ///
    /// # Errors
    /// If the text is not a report.
    pub fn parse(text: &str) -> Result<Report, String> {
        let mut lines = text.lines();
        let common = lines.next().and_then(|line| line.strip_prefix("callbacks: "));
        let common: Vec<&str> = common.ok_or("the report does not begin with its callbacks")?.split(' ').collect();
        let (mut report, mut call, mut named) = (Report::new(), "", Vec::new());
        for line in lines {
            let Some(answer) = line.strip_prefix("  ") else {
                (call, named) = (line, Vec::new());
                continue;
            };
            let (answer, callbacks) = answer.rsplit_once("<- ").ok_or_else(|| format!("no callbacks: {line}"))?;
            let mut callbacks = callbacks;
            for place in [ELSEWHERE, EVERYWHERE] {
                if let Some(others) = callbacks.strip_prefix(place) {
                    for callback in common.iter().filter(|callback| !named.contains(*callback)) {
                        report.add(callback, call, answer.trim());
                    }
                    callbacks = others.strip_prefix(" and ").unwrap_or(others);
                }
            }
            for callback in callbacks.split(' ').filter(|callback| !callback.is_empty()) {
                named.push(callback);
                report.add(callback, call, answer.trim());
            }
        }
        Ok(report)
    }
}

fn joined(callbacks: &BTreeSet<&str>) -> String {
    callbacks.iter().copied().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn parsing_reverses_text() {
        let mut report = Report::new();
        for line in [
            "probe on_tick a(1) -> 0",
            "probe on_log a(1) -> 0",
            "probe on_done a(1) -> 2 \"x -> y\"",
            "probe on_tick b() ->",
            "probe on_log b() -> 1",
            "probe on_log b() -> 2",
            "probe on_done b() -> 1",
            "probe pause/on_tick a(1) -> 0",
            "probe pause/on_tick c(<- x) -> 0",
            "said by the probe",
        ] {
            report.read_line(line);
        }
        assert_eq!(report.len(), 8);
        assert_eq!(report.answer(&("on_done".to_owned(), "a(1)".to_owned())).as_deref(), Some("2 \"x -> y\""));
        let text = report.text();
        assert!(text.contains("a(1)\n  2 \"x -> y\" <- on_done\n  0 <- everywhere else and pause/on_tick\n"), "{text}");
        assert_eq!(Report::parse(&text).expect("a report"), report, "{text}");
    }

    #[test]
    fn differences_have_the_results_of_both_reports() {
        let (mut one, mut another) = (Report::new(), Report::new());
        one.read_line("probe on_tick a() -> 0");
        one.read_line("probe on_tick b() -> 0");
        another.read_line("probe on_tick b() -> 1");
        let differences = one.differences(&another);
        let asked = |call: &str| ("on_tick".to_owned(), call.to_owned());
        assert_eq!(differences[&asked("a()")], (Some("0".to_owned()), None));
        assert_eq!(differences[&asked("b()")], (Some("0".to_owned()), Some("1".to_owned())));
    }
}
