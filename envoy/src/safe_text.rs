//! Text from files as safe text for a terminal.

/// Returns text from a file as one safe line for a terminal: control characters become spaces. Invisible characters, among them
/// bidirectional marks and spaces other than that of ASCII, become escapes such as `\u{200b}`, because they look like a mistake in
/// the message.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' ' => line.push(' '),
            _ if char.is_control() => line.push(' '),
            _ if char.is_whitespace() || is_format_character(char) => line.extend(char.escape_unicode()),
            _ => line.push(char),
        }
    }
    line
}

/// Returns whether a character is invisible but not white space, such as the zero-width space.
pub(crate) fn is_format_character(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
