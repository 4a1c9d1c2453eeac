//! Recognizes files in other formats. Their errors name the format and the remedy, instead of a YAML syntax error.

use crate::diagnostic::Position;

/// How many bytes of a file are examined for its format.
const EXAMINED_BYTES: usize = 1024;

/// Returns the message if content is in another format than YAML and JSON, even if a YAML parser accepts the content.
pub(crate) fn of_content(content: &[u8]) -> Option<&'static str> {
    let start = content.get(..EXAMINED_BYTES).unwrap_or(content);
    match start {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some("is UTF-32; save the file as UTF-8"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some(UTF_16),
        [0x1f, 0x8b, ..] => return Some("is compressed with gzip; decompress the file"),
        [b'P', b'K', 3, 4, ..] => return Some("is a ZIP archive; extract the archive and pass its files"),
        [0, b'a', b's', b'm', ..] => {
            return Some("is a WebAssembly module, not YAML or JSON; pass the compiled filter to --wasm");
        }
        _ if is_utf16_without_mark(start) => return Some(UTF_16),
        _ if content.contains(&0) => return Some("is a binary file; pass a YAML or JSON file"),
        _ => {}
    }
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins_with = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if ["<!doctype", "<html", "<head", "<body"].into_iter().any(begins_with) {
        return Some("is an HTML page; download the raw YAML file");
    }
    if begins_with("<?xml") {
        return Some("is XML; write YAML or JSON");
    }
    let first = text.lines().next().unwrap_or_default();
    if is_table(first) {
        return Some("is a table that kubectl printed; add `-o yaml` to the kubectl command");
    }
    if first.starts_with("Name:  ") && text.lines().nth(1).is_some_and(|line| line.starts_with("Namespace:  ")) {
        return Some("is the output of `kubectl describe`; use `kubectl get -o yaml`");
    }
    if first.starts_with("No resources found") {
        return Some("is a message from kubectl, not an object; check the kubectl command");
    }
    None
}

/// Returns position and message if a text that is not valid YAML is in another format.
pub(crate) fn of_invalid_text(content: &[u8]) -> Option<(Position, &'static str)> {
    let text = str::from_utf8(content).ok()?;
    for (index, line) in text.lines().enumerate() {
        let at = |column: usize| Position { line: index + 1, column };
        let code = without_comment(line);
        if line.starts_with("```") || line.starts_with("~~~") {
            return Some((at(1), "is Markdown; copy only the lines between the fences into a file"));
        }
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            return Some((at(1), "has a merge conflict; resolve the conflict"));
        }
        if line.starts_with("diff --git ") || line.starts_with("@@ -") {
            return Some((at(1), "is a patch, not an object; apply the patch, then pass the patched file"));
        }
        if let Some(start) = code.find("{{").filter(|_| code.contains("}}")) {
            let column = code.get(..start).unwrap_or_default().chars().count() + 1;
            return Some((at(column), TEMPLATE));
        }
    }
    None
}

/// Returns the template in a text, such as `{{ .Values.weight }}`.
pub(crate) fn template(text: &str) -> Option<&str> {
    let start = text.find("{{")?;
    let length = text.get(start..)?.find("}}")? + "}}".len();
    text.get(start..start + length)
}

/// Returns the variable in a text, such as `${WEIGHT}` or `$WEIGHT`.
pub(crate) fn variable(text: &str) -> Option<&str> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let rest = text.get(text.find('$')?..)?;
    let length = match rest.get(1..)?.strip_prefix('{') {
        Some(_) => rest.find('}')? + 1,
        None => rest.char_indices().skip(1).find(|(_, char)| !is_name(*char)).map_or(rest.len(), |(end, _)| end),
    };
    rest.get(..length).filter(|variable| variable.len() > 1)
}

/// The message of a file in UTF-16.
const UTF_16: &str = "is UTF-16, the default encoding of Windows PowerShell; save the file as UTF-8";

/// The message of a file that is a template.
const TEMPLATE: &str =
    "is a template, not YAML; render the template first, for example with `helm template`, and pass its output";

/// Returns whether a text is mostly ASCII characters of 16 bits each.
fn is_utf16_without_mark(start: &[u8]) -> bool {
    let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let half = start.len() / 2;
    half > 0 && (zeros(0) * 10 > half * 9 || zeros(1) * 10 > half * 9) && zeros(0) + zeros(1) <= half + 1
}

/// Returns whether a line is the header of a table: columns in upper case, separated by spaces.
fn is_table(line: &str) -> bool {
    let mut columns = line.split_whitespace();
    matches!(columns.next(), Some("NAME" | "NAMESPACE"))
        && !line.contains(':')
        && line.chars().all(|char| char.is_ascii_uppercase() || matches!(char, ' ' | '-' | '(' | ')'))
}

/// Returns a line of YAML without its comment.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.split_once(" #").map_or(line, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::{of_content, of_invalid_text, template};

    #[test]
    fn other_formats_are_recognized() {
        let utf16 = |big: bool, mark: bool| -> Vec<u8> {
            let text = if mark { "\u{feff}kind: Ä\r\n" } else { "kind: TrafficSplit\n" };
            text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        };
        for (content, start) in [
            (utf16(false, true), "is UTF-16, the default encoding of Windows PowerShell; save the file as UTF-8"),
            (utf16(true, true), "is UTF-16"),
            (utf16(false, false), "is UTF-16"),
            (utf16(true, false), "is UTF-16"),
            (b"\xff\xfe\0\0k\0\0\0".to_vec(), "is UTF-32"),
            (b"\x1f\x8b\x08".to_vec(), "is compressed with gzip"),
            (b"PK\x03\x04".to_vec(), "is a ZIP archive"),
            (b"\0asm\x01\0\0\0".to_vec(), "is a WebAssembly module"),
            (b"\x7fELF\x02\x01\x01\0\0".to_vec(), "is a binary file"),
            (b"\n<!DOCTYPE html>\n<html>".to_vec(), "is an HTML page"),
            (b"<html lang=en>".to_vec(), "is an HTML page"),
            (b"<?xml version='1.0'?>".to_vec(), "is XML"),
            (b"NAME   SERVICE   AGE\nweb    web       3d\n".to_vec(), "is a table that kubectl printed"),
            (b"NAMESPACE   NAME\nshop  web\n".to_vec(), "is a table that kubectl printed"),
            (
                b"Name:         web\nNamespace:    shop\nLabels:       <none>\n".to_vec(),
                "is the output of `kubectl describe`",
            ),
            (b"No resources found in shop namespace.\n".to_vec(), "is a message from kubectl"),
        ] {
            let message = of_content(&content);
            assert!(message.is_some_and(|message| message.starts_with(start)), "{message:?} {start}");
        }
    }

    #[test]
    fn yaml_and_json_are_no_other_format() {
        for text in ["", "a", "kind: List\n", "\u{feff}kind: List", "{\"a\": 1}", "# NAME\nNAME: a\n", "ä: ü", "<<: *a"]
        {
            assert_eq!(of_content(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn invalid_text_names_templates_fences_and_conflicts() {
        for (text, position, start) in [
            ("kind: A\nname: {{ .Release.Name }}-web\n", "2:7", "is a template"),
            ("{{- if .Values.enabled }}\nkind: A\n{{- end }}\n", "1:1", "is a template"),
            ("# Split\n```yaml\nkind: A\n```\n", "2:1", "is Markdown"),
            ("<<<<<<< HEAD\nkind: A\n", "1:1", "has a merge conflict"),
            ("diff --git a/x b/x\n", "1:1", "is a patch"),
        ] {
            let (found, message) = of_invalid_text(text.as_bytes()).unwrap();
            assert_eq!(found.to_string(), position, "{text}");
            assert!(message.starts_with(start), "{message}");
        }
        for text in ["# {{ a }}\n: [", "a: { # {{ b }}\n", "a: {b: {c"] {
            assert_eq!(of_invalid_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn templates_in_a_value_are_found() {
        for (text, found) in [
            ("{{ .Values.weight }}", Some("{{ .Values.weight }}")),
            ("a-{{.a}}-b", Some("{{.a}}")),
            ("{{", None),
            ("}} {{", None),
            ("a{2}", None),
        ] {
            assert_eq!(template(text), found);
        }
    }
}
