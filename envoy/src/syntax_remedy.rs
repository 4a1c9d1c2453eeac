//! Names the mistake behind a YAML syntax error, and the remedy.
//!
//! The parser reports where its grammar fails, for example `simple key expected ':'`. This module looks at the lines there for the
//! mistakes that people make.

use crate::safe_text::is_format_character;

/// A mistake in a text: its line and column, from 1, and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

/// Messages of the parser, by their beginning, and messages with a remedy. The first match counts.
const MESSAGES: &[(&str, &str)] = &[
    ("simple key expected", "the line is neither `key: value` nor `- item`; write `:` and a space after the key"),
    (
        "while parsing a quoted scalar, found unknown escape",
        "double quotes contain an unknown escape such as `\\d`; use single quotes, in which a backslash has no special meaning",
    ),
    (
        "reference to unknown value",
        "a value that begins with `*` is a YAML alias, and no anchor has its name; put the value in single quotes",
    ),
    (
        "while scanning an anchor or alias",
        "a value that begins with `*` or `&` names an anchor; put the value in single quotes",
    ),
    (
        "while scanning a block scalar",
        "a value that begins with `|` or `>` begins a block of text; put the value in single quotes",
    ),
    ("block sequence entries", "a list item cannot follow its key on the same line; begin a new line before `-`"),
    (
        "invalid trailing content after single-quoted",
        "text follows the closing quote; write `''` for a quote inside single quotes",
    ),
    (
        "invalid trailing content after double-quoted",
        "text follows the closing quote; put the whole value in quotes, and separate the fields of JSON by commas",
    ),
    ("unclosed quote", "the quote is not closed; add the closing quote"),
    (
        "while scanning a quoted scalar, found unexpected document indicator",
        "the quote is not closed; add the closing quote",
    ),
    ("while scanning a quoted scalar, found unexpected end", "the quote is not closed; add the closing quote"),
    ("unclosed bracket", "the bracket is not closed; add the closing bracket, or put the value in single quotes"),
    (
        "mismatched bracket",
        "the bracket is closed by a bracket of another kind; correct one of them, or put the value in single quotes",
    ),
    ("misplaced bracket", "the closing bracket has no opening bracket; remove one, or put the value in single quotes"),
    (
        "illegal placement of ':'",
        "`:` is not allowed here; close the bracket that is open on an earlier line, or put the value in single quotes",
    ),
    (
        "while parsing a flow",
        "the brackets do not contain a list or a map; add the comma or bracket, or put the value in single quotes",
    ),
    ("while scanning a plain scalar, found a tab", "the next line begins with a tab; use spaces"),
    ("a block scalar content cannot start with a tab", "the indentation contains a tab; use spaces"),
    ("tabs disallowed", "the indentation contains a tab; use spaces"),
    ("tab cannot be used", "the indentation contains a tab; use spaces"),
    ("missing explicit document end marker", "a line that begins with `%` is a directive; remove the line"),
    ("a BOM must not appear", "the file contains the invisible character U+FEFF; remove it"),
    ("expected string scalar", "the key is not a string; put the key in single quotes"),
    ("YAML merge value", "a merge key needs a map; write `<<: *anchor`"),
    ("invalid u64", "the tag does not fit the value; remove the tag `!!int`"),
];

/// Returns the mistake at an error of the parser in a text. `None` if the parser's own message is the best.
pub(crate) fn mistake(text: &str, line: usize, column: usize, error: &str) -> Option<Mistake> {
    let at_error = |message: String| Some(Mistake { line, column, message });
    let lines: Vec<&str> = text.lines().take(line).collect();
    let current = lines.get(line.checked_sub(1)?).copied().unwrap_or_default();
    let is_structural = ["simple key", "mapping values", "while parsing a block", "tabs disallowed", "tab cannot"]
        .iter()
        .any(|start| error.starts_with(start));
    if is_structural {
        let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let before = lines.iter().enumerate().rev().skip(1).find(|(_, line)| is_code(line));
        let candidates = before.into_iter().map(|(index, text)| (index + 1, *text)).chain([(line, current)]);
        for (number, text) in candidates {
            if let Some((column, message)) = mistake_in_line(text) {
                return Some(Mistake { line: number, column, message });
            }
        }
    }
    if error.starts_with("mapping values") {
        return at_error(mapping_value(current, column).into());
    }
    if error.starts_with("while parsing a block") {
        let indentation = current.chars().take_while(|char| *char == ' ').count();
        return at_error(match column > indentation + 1 {
            true => "text follows a closing bracket or quote; put the whole value in single quotes".into(),
            false => "the indentation differs from that of the fields before; align the fields of an object".into(),
        });
    }
    if let Some(char) = error.strip_prefix("unexpected character: `").and_then(|rest| rest.strip_suffix('\'')) {
        return at_error(match char.starts_with("\\u") {
            true => format!("the file contains the control character `{char}`; remove it"),
            false => format!("a value cannot begin with `{char}`; put the value in single quotes"),
        });
    }
    let (_, message) = MESSAGES.iter().find(|(start, _)| error.starts_with(start))?;
    at_error((*message).into())
}

/// Finds a syntax mistake in one line without its context. Returns the column and the message.
fn mistake_in_line(line: &str) -> Option<(usize, String)> {
    let code = line.trim_start();
    let start = line.chars().count() - code.chars().count() + 1;
    let column_of = |wanted: &dyn Fn(char) -> bool| line.chars().position(wanted).map(|index| index + 1);
    if let Some(column) = column_of(&|char| char == '\t').filter(|column| *column < start) {
        return Some((column, "the indentation contains a tab; use spaces".into()));
    }
    let is_invisible = |char: char| (char.is_whitespace() && !char.is_ascii()) || is_format_character(char);
    if let Some((index, char)) = line.chars().enumerate().find(|(_, char)| is_invisible(*char)) {
        let message =
            format!("the line contains the character U+{:04X}, which looks like a space; use a space", u32::from(char));
        return Some((index + 1, message));
    }
    let quote = code.find(['"', '\'']).unwrap_or(code.len());
    if let Some(column) = column_of(&|char| matches!(char, '：' | '﹕' | '꞉')).filter(|_| !code.contains(": ")) {
        return Some((column, "the line contains a full-width colon; write `:` and a space".into()));
    }
    let item = code.strip_prefix("- ").map_or(code, str::trim_start);
    let is_key =
        |key: &str| !key.is_empty() && key.chars().all(|char| char.is_ascii_alphanumeric() || "-_./".contains(char));
    if let Some(rest) = code.strip_prefix('-')
        && rest.starts_with(|char: char| char.is_ascii_alphanumeric())
    {
        let rest = rest.split(':').next().unwrap_or_default().trim_end();
        return Some((start, format!("a space is missing after `-`; write `- {rest}`")));
    }
    if code.starts_with("//") || code.starts_with("/*") {
        return Some((start, "`//` does not begin a comment in YAML; write `#`".into()));
    }
    if code.len() > 1 && code.trim_end().chars().all(|char| char == '-') && code.trim_end() != "---" {
        return Some((start, "the line is not a separator of documents; write `---`".into()));
    }
    if let Some((key, value)) = item.split_once(':')
        && is_key(key)
        && !value.is_empty()
        && !value.starts_with(char::is_whitespace)
        && !item.get(..quote.min(item.len())).is_some_and(|code| code.contains(": "))
        && !value.trim_end().ends_with(':')
    {
        return Some((start, format!("a space is missing after `{key}:`; write `{key}: {}`", value.trim_end())));
    }
    if let Some((key, value)) = item.split_once('=')
        && is_key(key.trim_end())
    {
        let (key, value) = (key.trim_end(), value.trim());
        return Some((start, format!("a field is not `key = value` in YAML; write `{key}: {value}`")));
    }
    None
}

/// Returns the message of a `:` that begins no value.
fn mapping_value(line: &str, column: usize) -> &'static str {
    let before: String = line.chars().take(column.saturating_sub(1)).collect();
    match before.contains(": ") || before.trim_start().starts_with(['"', '\'']) {
        true => "the line has a second `: `; put the value in single quotes, or begin a new line for the inner field",
        false => "a field begins here, but the line before has a value; align the fields of an object",
    }
}

#[cfg(test)]
mod tests {
    use crate::yaml::{SyntaxError, read};

    /// Returns position and message of the error in a text.
    #[track_caller]
    fn error(text: &str) -> String {
        let SyntaxError { position, message } = read(text.as_bytes()).expect_err(text);
        format!("{}: {message}", position.unwrap())
    }

    #[test]
    fn syntax_errors_name_the_mistake_and_the_remedy() {
        const ALIGN: &str = "the indentation differs from that of the fields before; align the fields of an object";
        const QUOTE: &str = "text follows a closing bracket or quote; put the whole value in single quotes";
        for (text, expected) in [
            ("a:\n- b: 1\n  weight:90\nc: d\n", "3:3: a space is missing after `weight:`; write `weight: 90`"),
            ("a:\n  name:web\n  b: c\n", "2:3: a space is missing after `name:`; write `name: web`"),
            ("kind:List\nitems: []\n", "1:1: a space is missing after `kind:`; write `kind: List`"),
            ("a:\n- name:web\n  b: c\n", "2:1: a space is missing after `name:`; write `name: web`"),
            ("a:\n- b: c\n  -d: e\n    f: g\n", "3:3: a space is missing after `-`; write `- d`"),
            ("a: b\n--\nc: d\n", "2:1: the line is not a separator of documents; write `---`"),
            ("// c\na: b\n", "1:1: `//` does not begin a comment in YAML; write `#`"),
            ("a: b\nkind = List\nc: d\n", "2:1: a field is not `key = value` in YAML; write `kind: List`"),
            ("a:\n\tb: c\n", "2:1: the indentation contains a tab; use spaces"),
            ("a:\n  b: c\n \td: e\n", "2:6: the next line begins with a tab; use spaces"),
            (
                "a:\n  b:\u{a0}c\n  d: e\n",
                "2:5: the line contains the character U+00A0, which looks like a space; use a space",
            ),
            (
                "a:\n\u{3000} b: c\n  d: e\n",
                "2:1: the line contains the character U+3000, which looks like a space; use a space",
            ),
            ("a:\n  b：c\n  d: e\n", "2:4: the line contains a full-width colon; write `:` and a space"),
            (
                "a:\n  b: c\n    d: e\n",
                "3:6: a field begins here, but the line before has a value; align the fields of an object",
            ),
            (
                "a: b: c\n",
                "1:5: the line has a second `: `; put the value in single quotes, or begin a new line for the inner field",
            ),
            ("a:\n  b: c\n d: e\n", &format!("3:2: {ALIGN}")),
            ("a: [0-9]+\n", &format!("1:9: {QUOTE}")),
            ("a: {b}+\n", &format!("1:7: {QUOTE}")),
            ("a: @x\n", "1:4: a value cannot begin with `@`; put the value in single quotes"),
            ("a: %x\n", "1:4: a value cannot begin with `%`; put the value in single quotes"),
            ("a: `x`\n", "1:4: a value cannot begin with ```; put the value in single quotes"),
            ("a: b\u{1}\n", "1:4: the file contains the control character `\\u{1}`; remove it"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn remedies_of_quotes_and_brackets() {
        for (text, remedy) in [
            ("a: \"/\\d+\"\n", "use single quotes"),
            ("a: *b\n", "put the value in single quotes"),
            ("a: *\n", "put the value in single quotes"),
            ("a: |x\n", "put the value in single quotes"),
            ("a: 'it's'\n", "write `''` for a quote inside single quotes"),
            ("a: \"b\" c\n", "put the whole value in quotes"),
            ("{\"a\": 1 \"b\": 2}", "or put the value in single quotes"),
            ("a: 'b\n", "add the closing quote"),
            ("a: [b\n", "add the closing bracket"),
            ("a: [b\nc: d\n", "close the bracket that is open on an earlier line"),
            ("a: [b}\n", "correct one of them"),
            ("{\"a\": 1}}", "remove one"),
            ("a: - b\n", "begin a new line before `-`"),
            ("[a]: b\n", "put the key in single quotes"),
        ] {
            assert!(error(text).contains(remedy), "{text}: {}", error(text));
        }
    }
}
