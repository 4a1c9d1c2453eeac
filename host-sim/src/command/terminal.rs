//! Text of a module on a terminal. Characters that could control the terminal or reorder its text are escaped.

use host_sim::Log;
use std::fmt::Write;
use std::io;

/// Returns the text with each character that could control a terminal as an escape of Rust's: `\n`, `\x1b`, `\u{202e}`.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\r' | '\t' => escaped.extend(char.escape_default()),
            _ if is_control(char) && char.is_ascii() => _ = write!(escaped, "\\x{:02x}", u32::from(char)),
            _ if is_control(char) => escaped.extend(char.escape_unicode()),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// Returns a JSON document with the same characters as JSON's escapes, except the newlines between its values: JSON itself
/// asks for the escapes of C0 only.
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if char != '\n' && is_control(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// Writes lines; whatever is within a line stays within it.
pub(crate) fn write_lines(out: &mut impl io::Write, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
    lines.into_iter().try_for_each(|line| writeln!(out, "{}", escape(&line)))
}

/// Returns a log message as lines. Those after the first begin with `|`, so that no message looks like several.
pub(crate) fn log_lines(indent: &str, log: &Log) -> Vec<String> {
    let message = log.message.strip_suffix('\n').unwrap_or(&log.message);
    let mut lines = message.split('\n');
    let first = format!("{indent}[{}] {}", log.level, lines.next().unwrap_or_default());
    std::iter::once(first).chain(lines.map(|line| format!("{indent}  | {line}"))).collect()
}

/// C0, DEL and C1; marks and overrides of the text's direction; separators of lines, which some terminals follow.
fn is_control(char: char) -> bool {
    let is_bidirectional = matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    );
    char.is_control() || is_bidirectional || matches!(char, '\u{2028}' | '\u{2029}')
}
