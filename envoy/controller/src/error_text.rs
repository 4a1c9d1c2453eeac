//! Error texts for the log: one line of bounded length, without whole responses, and not for every retry.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;
use tokio::time::Instant;

/// The longest error text, in characters.
const MAX_CHARACTERS: usize = 500;

/// Returns an error's message, or the API server's, with its causes.
pub(crate) fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return one_line(&format!("{} ({})", status.message, status.code));
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        if !text.ends_with(&why.to_string()) {
            text.push_str(&format!(": {why}"));
        }
        cause = why.source();
    }
    one_line(&text)
}

/// Escapes control characters, and cuts the text to 500 characters.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (index, char) in text.chars().enumerate() {
        if index == MAX_CHARACTERS {
            line.push('…');
            break;
        }
        match char.is_control()
            || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        }
    }
    line
}

/// Decides which failures of one retried operation are logged: the first, each with a new text, and of those with the same
/// text the 2nd, 4th, 8th and so on, then every [`MAX_SILENT`]th.
#[derive(Debug, Default)]
pub(crate) struct RepeatedFailure {
    count: u32,
    /// The last text, without its digits, and how often in a row it has occurred.
    last: String,
    repeats: u32,
}

/// With back-offs of 5 seconds, a continuous failure is logged every 5 minutes.
const MAX_SILENT: u32 = 60;

impl RepeatedFailure {
    /// Counts a failure; returns whether to log it.
    pub(crate) fn should_log(&mut self, text: &str) -> bool {
        self.count = self.count.saturating_add(1);
        let words = text.replace(|char: char| char.is_ascii_digit(), "");
        if words != self.last {
            (self.last, self.repeats) = (words, 0);
        }
        self.repeats = self.repeats.saturating_add(1);
        (self.repeats < MAX_SILENT && self.repeats.is_power_of_two()) || self.repeats.is_multiple_of(MAX_SILENT)
    }

    /// Returns the number of failures since the last success.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Forgets the failures after a success; returns their number.
    pub(crate) fn reset(&mut self) -> u32 {
        std::mem::take(self).count
    }
}

/// Limits the log lines that tenants' objects cause.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(VecDeque<Instant>);

/// Lines per [`LOG_WINDOW`].
const MAX_LINES: usize = 20;
const LOG_WINDOW: Duration = Duration::from_secs(60);

impl LogLimit {
    /// Returns whether one more line may be logged.
    pub(crate) fn allows(&mut self) -> bool {
        let now = Instant::now();
        self.0.retain(|at| now.duration_since(*at) < LOG_WINDOW);
        let allowed = self.0.len() < MAX_LINES;
        if allowed {
            self.0.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::{LogLimit, MAX_LINES, RepeatedFailure, describe, one_line};

    #[test]
    fn an_error_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\n\u{1b}[31mb\u{202e}ü"), "a\\n\\u{1b}[31mb\\u{202e}ü");
        assert_eq!(one_line(&"ü".repeat(10_000)).chars().count(), 501);
        let status = kube::core::Status::failure(&"<html>\n".repeat(1000), "Failed").with_code(502);
        let text = describe(&kube::Error::Api(status.boxed()));
        assert!(text.starts_with("<html>\\n") && text.len() < 1100, "{text}");
    }

    #[test]
    fn the_same_failure_is_logged_ever_less_often() {
        let mut failures = RepeatedFailure::default();
        let logged: Vec<_> =
            (1..=180).filter(|number| failures.should_log(&format!("version {number} is too old"))).collect();
        assert_eq!(logged, [1, 2, 4, 8, 16, 32, 60, 120, 180]);
        assert!(failures.should_log("forbidden") && failures.should_log("forbidden"));
        assert!(!failures.should_log("forbidden"));
        assert_eq!((failures.reset(), failures.count()), (183, 0));
        assert!(failures.should_log("forbidden"));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_limited_per_minute() {
        let mut limit = LogLimit::default();
        assert_eq!((0..100).filter(|_| limit.allows()).count(), MAX_LINES);
        tokio::time::advance(super::LOG_WINDOW).await;
        assert!(limit.allows());
    }
}
