//! JSON documents that follow each other without a separator, as `jq` and `kubectl get -o json` in a loop write them.

use serde::de::IgnoredAny;

/// Returns the parts of a text, each with one JSON document; the whole text if the text is not a stream of JSON documents. An
/// invalid document and all text after the document are one part.
pub(crate) fn parts(text: &str) -> Vec<&str> {
    let is_json = |text: &str| text.trim_start_matches(char::is_whitespace).starts_with('{');
    if !is_json(text.trim_start_matches('\u{feff}')) {
        return vec![text];
    }
    let mark = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut documents =
        serde_json::Deserializer::from_str(text.get(mark..).unwrap_or_default()).into_iter::<IgnoredAny>();
    let mut ends = Vec::new();
    while let Some(Ok(_)) = documents.next() {
        ends.push(mark + documents.byte_offset());
    }
    // Text after the last document is part of that document, unless another document begins there.
    if ends.last().is_some_and(|end| !text.get(*end..).is_some_and(is_json)) {
        ends.pop();
    }
    let mut rest = text;
    let mut parts = Vec::with_capacity(ends.len() + 1);
    let mut start = 0;
    for end in ends {
        let (part, after) = rest.split_at_checked(end - start).unwrap_or((rest, ""));
        parts.push(part);
        (rest, start) = (after, end);
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn each_json_document_is_a_part() {
        for (text, expected) in [
            ("{}", &["{}"][..]),
            ("{}{}", &["{}", "{}"]),
            ("{\"a\": {}}\n{\"b\": 1}\n", &["{\"a\": {}}", "\n{\"b\": 1}\n"]),
            ("\u{feff}{}\n{}", &["\u{feff}{}", "\n{}"]),
            // An invalid document ends the stream.
            ("{}{\"a\": }{}", &["{}", "{\"a\": }{}"]),
            ("{}\n{a: 1}\n", &["{}", "\n{a: 1}\n"]),
            // YAML.
            ("{}\n---\n{}\n", &["{}\n---\n{}\n"]),
            ("{}{}\n---\n{}", &["{}", "{}\n---\n{}"]),
            ("{a: b}", &["{a: b}"]),
            ("a: {}", &["a: {}"]),
            ("", &[""]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }
}
