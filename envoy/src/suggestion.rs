//! "Did you mean": the known name that is closest to a misspelled name.

/// Names below this Jaro-Winkler similarity are different names, not typing mistakes. `clap` suggests subcommands and options
/// at a similar threshold.
const MIN_SIMILARITY: f64 = 0.8;

/// The similarity of names that are one insertion, deletion, substitution or swap apart. Jaro-Winkler rates such mistakes in short
/// names too low.
const ONE_EDIT: f64 = 0.85;

/// Names with fewer characters are all close to each other.
const MIN_EDITED_CHARACTERS: usize = 3;

/// Returns the known name that is most similar to `text`, if that name is similar enough for a typing mistake. Ignores case.
pub fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let text = text.to_lowercase();
    let is_long = text.chars().count() >= MIN_EDITED_CHARACTERS;
    let similarity = |known: &&str| {
        let known = known.to_lowercase();
        let similarity = strsim::jaro_winkler(&text, &known);
        let is_one_edit = is_long && similarity < ONE_EDIT && strsim::osa_distance(&text, &known) == 1;
        if is_one_edit { ONE_EDIT } else { similarity }
    };
    let rated = known.into_iter().map(|name| (similarity(&name), name));
    let close = rated.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY);
    // Among equally similar names, the first wins.
    close.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, name)| name)
}

/// Returns ``; did you mean `name`?``, or nothing if no known name is similar.
pub fn did_you_mean<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(text, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Returns the known name that `text` misspells: at most two letters differ, or one letter in names of fewer than six. Ignores case
/// and punctuation. Unlike [`nearest`], this function does not return a name that only has the same beginning.
pub(crate) fn misspelled<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let text = letters(text);
    let distance = |name: &str| strsim::osa_distance(&text, &letters(name));
    let rated = known.into_iter().map(|name| (distance(name), name));
    let close = rated.filter(|(distance, name)| *distance <= if name.len() < 6 { 1 } else { 2 });
    close.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Returns the letters and digits of a text in lower case.
pub(crate) fn letters(text: &str) -> String {
    text.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Returns the nearest known name as [`did_you_mean`] does; if none is similar, up to ten of the known names after `label`.
pub(crate) fn did_you_mean_or_list<'k>(
    text: &str,
    known: impl IntoIterator<Item = &'k str> + Clone,
    label: &str,
) -> String {
    const MAX_LISTED: usize = 10;
    if let Some(name) = nearest(text, known.clone()) {
        return format!("; did you mean `{name}`?");
    }
    let mut known = known.into_iter();
    let listed: Vec<_> = known.by_ref().take(MAX_LISTED).collect();
    match (listed.is_empty(), known.count()) {
        (true, _) => String::new(),
        (false, 0) => format!("; {label}: {}", listed.join(", ")),
        (false, more) => format!("; {label}: {} and {more} more", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, did_you_mean_or_list, misspelled, nearest};

    #[test]
    fn at_most_ten_known_names_are_listed() {
        let known: Vec<_> = (0..12).map(|number| format!("root{number}")).collect();
        let known = known.iter().map(String::as_str);
        assert_eq!(did_you_mean_or_list("rot3", known.clone(), "the roots"), "; did you mean `root3`?");
        assert_eq!(
            did_you_mean_or_list("x", known, "the roots"),
            "; the roots: root0, root1, root2, root3, root4, root5, root6, root7, root8, root9 and 2 more"
        );
        assert_eq!(did_you_mean_or_list("x", ["a"], "the roots"), "; the roots: a");
        assert_eq!(did_you_mean_or_list("x", [], "the roots"), "");
    }

    #[test]
    fn typing_mistakes_are_recognized_and_other_names_are_not() {
        let known =
            ["service", "backends", "matches", "pathRegex", "methods", "headers", "httpbin-v1", "httpbin-v2", "web"];
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
            ("wbe", Some("web")),
            ("eb", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, known), name, "{text}");
        }
        assert_eq!(did_you_mean("mathces", known), "; did you mean `matches`?");
        assert_eq!(did_you_mean("weight", known), "");
    }

    #[test]
    fn misspelled_names_differ_in_at_most_two_letters() {
        let known = ["TrafficSplit", "HTTPRouteGroup", "Service", "name"];
        for (text, name) in [
            ("Servcie", Some("Service")),
            ("service", Some("Service")),
            ("Services", Some("Service")),
            ("trafficsplit", Some("TrafficSplit")),
            ("traffic-splits", Some("TrafficSplit")),
            ("HttpRouteGroup", Some("HTTPRouteGroup")),
            ("HTTPRouteGroups", Some("HTTPRouteGroup")),
            ("nmae", Some("name")),
            ("HTTPRoute", None),
            ("ServiceEntry", None),
            ("ServiceAccount", None),
            ("TrafficTarget", None),
            ("node", None),
            ("", None),
        ] {
            assert_eq!(misspelled(text, known), name, "{text}");
        }
    }
}
