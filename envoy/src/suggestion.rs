//! "Did you mean": the known name that is closest to a mistyped one.

/// Names below this Jaro-Winkler similarity are different names, not typing mistakes. `clap` suggests subcommands and options
/// at a similar threshold.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the known name that is most similar to `text`, if one is similar enough to be a typing mistake. Case does not count.
pub fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let text = text.to_lowercase();
    let similarity = |known: &&str| strsim::jaro_winkler(&text, &known.to_lowercase());
    let rated = known.into_iter().map(|name| (similarity(&name), name));
    let close = rated.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY);
    // Of equally similar names, the first one.
    close.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, name)| name)
}

/// Returns ``; did you mean `name`?``, or nothing if no known name is similar.
pub fn did_you_mean<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(text, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, nearest};

    #[test]
    fn typing_mistakes_are_recognised_and_other_names_are_not() {
        let known = ["service", "backends", "matches", "pathRegex", "methods", "headers", "httpbin-v1", "httpbin-v2"];
        for (text, name) in [
            ("mathces", Some("matches")),
            ("match", Some("matches")),
            ("path", Some("pathRegex")),
            ("pathregex", Some("pathRegex")),
            ("path_regex", Some("pathRegex")),
            ("header", Some("headers")),
            ("backend", Some("backends")),
            ("Servcie", Some("service")),
            ("httpbin-v", Some("httpbin-v1")),
            ("httpbin_v2", Some("httpbin-v2")),
            ("weight", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, known), name, "{text}");
        }
        assert_eq!(did_you_mean("mathces", known), "; did you mean `matches`?");
        assert_eq!(did_you_mean("weight", known), "");
    }
}
