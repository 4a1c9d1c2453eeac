//! Prints text of a module on a terminal. Escapes characters that could control the terminal or reorder its text.

use host_sim::Log;
use std::fmt::Write;
use std::io;

/// Returns the text with Rust escapes (`\n`, `\x1b`, `\u{202e}`) for characters that could control a terminal.
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

/// Returns a JSON document with JSON escapes for the same characters, except newlines between values. JSON itself requires
/// escapes only for C0.
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

/// Writes lines. Line breaks within a line are escaped.
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

/// Returns whether a character is C0, DEL or C1, a mark or override of the text direction, or a line separator, which some
/// terminals obey.
fn is_control(char: char) -> bool {
    let is_bidirectional = matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    );
    char.is_control() || is_bidirectional || matches!(char, '\u{2028}' | '\u{2029}')
}
