//! Finds patterns of `pathRegex` that match no path, and patterns in the syntax of other tools.

use crate::safe_text::one_line;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Maximum number of literals with which a pattern may begin. A class with more characters is not examined.
const MAX_PREFIXES: usize = 512;
/// Returns whether no path contains a byte. Clients do not send a fragment, and the filter removes the query.
fn is_impossible(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'?' | b'#' | b'\\' | 0x7f)
}

/// Returns why a valid pattern is probably a mistake, and what to write, as a predicate of the pattern.
pub(crate) fn mistake(pattern: &str) -> Option<String> {
    // The options of `regex-lite`. Patterns that this parser rejects are not examined.
    let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).ok()?;
    if let Some(byte) = impossible_byte(&hir) {
        return Some(impossible(pattern, byte));
    }
    if has_inner_anchor(&hir) {
        return Some(
            "matches no path, because text precedes `^` or follows `$`; remove the anchor, or escape it with `\\`"
                .into(),
        );
    }
    if !may_begin_with_slash(&hir) {
        return Some(format!("matches no path, because a path begins with `/`; {}", with_slash(pattern)));
    }
    if let Some(path) = before_query(pattern) {
        let path = one_line(path);
        return Some(format!("contains a query, but is matched with the path only; write `{path}`"));
    }
    if has_path_parameter(&hir) {
        return Some("matches the text of the path parameter; write `[^/]+` instead of `:NAME`".into());
    }
    if has_glob(&hir) {
        let regex = one_line(&pattern.replace("/*.", "/[^/]*\\.").replace("/*", "/[^/]*"));
        return Some(format!(
            "is a glob, but must be a regular expression, in which `/*` repeats `/`; write `{regex}`"
        ));
    }
    trailing_glob(pattern, &hir)
}

/// Returns the message for a pattern that ends with a character and `*`, as `/cart*` or `/cart/*`.
fn trailing_glob(pattern: &str, hir: &Hir) -> Option<String> {
    let HirKind::Concat(parts) = hir.kind() else { return None };
    let is_anchor = |part: &&Hir| matches!(part.kind(), HirKind::Look(_));
    let mut from_end = parts.iter().rev().skip_while(is_anchor);
    let (last, before) = (from_end.next()?, from_end.next()?);
    let HirKind::Repetition(repetition) = last.kind() else { return None };
    let (HirKind::Literal(repeated), HirKind::Literal(before)) = (repetition.sub.kind(), before.kind()) else {
        return None;
    };
    // `xx*` is another form of `x+`.
    if repetition.min != 0 || repetition.max.is_some() || repeated.0.len() != 1 || before.0.ends_with(&repeated.0) {
        return None;
    }
    let path = pattern.trim_end_matches('$').strip_suffix('*')?;
    let repeated = path.chars().next_back()?;
    let regex = match path.strip_suffix('/') {
        Some(directory) => format!("{directory}(/.*)?"),
        None => format!("{path}.*"),
    };
    Some(format!(
        "is a regular expression, in which `{repeated}*` repeats `{repeated}`; write `{}` to match all longer paths",
        one_line(&regex)
    ))
}

/// Returns a byte that every text of the pattern contains, and no path does.
fn impossible_byte(hir: &Hir) -> Option<u8> {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().copied().find(|byte| is_impossible(*byte)),
        HirKind::Class(Class::Bytes(class)) => {
            let mut bytes = class.ranges().iter().flat_map(|range| range.start()..=range.end());
            let first = bytes.next()?;
            (is_impossible(first) && bytes.all(is_impossible)).then_some(first)
        }
        HirKind::Repetition(repetition) if repetition.min > 0 => impossible_byte(&repetition.sub),
        HirKind::Capture(capture) => impossible_byte(&capture.sub),
        HirKind::Concat(parts) => parts.iter().find_map(impossible_byte),
        HirKind::Alternation(parts) => {
            let mut bytes = parts.iter().map(impossible_byte);
            let first = bytes.next()??;
            bytes.all(|byte| byte.is_some()).then_some(first)
        }
        _ => None,
    }
}

fn impossible(pattern: &str, byte: u8) -> String {
    let cut = |marks: &[&str], rest: &str| match marks.iter().find_map(|mark| pattern.split_once(mark)) {
        Some((path, _)) if path.starts_with('/') && !path.contains(['(', '|']) => format!("write `{}`", one_line(path)),
        _ => rest.to_owned(),
    };
    match byte {
        b'?' => format!("matches no path, because a path has no query; {}", cut(&["\\?", "[?]"], "match the path only")),
        b'#' => {
            format!("matches no path, because clients do not send a fragment; {}", cut(&["\\#", "#"], "remove the `#`"))
        }
        b'\\' => "matches no path, because `\\\\` matches a backslash; write one backslash, without quotes or in single quotes".into(),
        b' ' if pattern.trim() != pattern => {
            format!("matches no path, because a path has no spaces; write `{}`", one_line(pattern.trim()))
        }
        b' ' => match pattern.split_once(' ') {
            Some((method, path)) if is_method(method) => {
                format!("matches no path; write `{}`, and `{method}` into `methods`", one_line(path.trim()))
            }
            _ => "matches no path, because a path has no spaces; write `%20`, or separate patterns with `|`".into(),
        },
        _ if pattern.trim_end() != pattern => format!(
            "matches no path, because the pattern ends with a line break; write `{}` on the line of `pathRegex`",
            one_line(pattern.trim())
        ),
        _ => "matches no path, because a path has no control characters such as line breaks; remove them".into(),
    }
}

/// Returns whether text must precede `^` or follow `$`.
fn has_inner_anchor(hir: &Hir) -> bool {
    let has_text = |part: &Hir| part.properties().minimum_len().is_some_and(|length| length > 0);
    match hir.kind() {
        HirKind::Capture(capture) => has_inner_anchor(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().all(has_inner_anchor),
        HirKind::Concat(parts) => {
            let is = |part: &Hir, anchor| *part.kind() == HirKind::Look(anchor);
            let (first, last) = (parts.iter().position(has_text), parts.iter().rposition(has_text));
            let start = parts.iter().rposition(|part| is(part, Look::Start));
            let end = parts.iter().position(|part| is(part, Look::End));
            start.zip(first).is_some_and(|(start, text)| text < start)
                || end.zip(last).is_some_and(|(end, text)| text > end)
        }
        _ => false,
    }
}

/// Returns whether a path may begin as the pattern does. The path of `OPTIONS *` is `*`.
fn may_begin_with_slash(hir: &Hir) -> bool {
    let prefixes = Extractor::new().limit_class(256).limit_total(MAX_PREFIXES).extract(hir);
    let Some(prefixes) = prefixes.literals() else { return true };
    let may_begin = |bytes: &[u8]| matches!(bytes.first(), None | Some(b'/' | b'*'));
    prefixes.is_empty() || prefixes.iter().any(|prefix| may_begin(prefix.as_bytes()))
}

/// Returns what to write instead of a pattern that does not begin with `/`.
fn with_slash(pattern: &str) -> String {
    let text = pattern.trim_start_matches('^');
    let path = |rest: &str| rest.find('/').map_or("/".to_owned(), |start| rest.split_at(start).1.to_owned());
    let regex = match text.split_once("://") {
        _ if text.contains(['^', '|']) => return "begin each alternative with `/`".into(),
        Some(("http" | "https" | "https?", rest)) => path(rest),
        _ if is_host(text) => path(text),
        _ if text.starts_with(['"', '\'']) => text.trim_matches(['"', '\'']).to_owned(),
        _ => format!("/{text}"),
    };
    format!("write `{}`", one_line(&regex))
}

/// Returns whether a text begins with a host name and a `/`. The names of gRPC services, such as `shop.Cart`, are not host names.
fn is_host(text: &str) -> bool {
    let Some((host, _)) = text.split_once('/') else { return false };
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let labels: Vec<_> = name.split('.').map(|label| label.trim_end_matches('\\')).collect();
    let is_label = |label: &&str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    is_port && labels.iter().all(is_label) && (labels.len() > 1 || !port.is_empty())
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Returns the text before an unescaped `?` that begins a query such as `?x=1`.
fn before_query(pattern: &str) -> Option<&str> {
    let bytes = pattern.as_bytes();
    let (mut in_class, mut is_escaped) = (false, false);
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'?' if !in_class => {
                let (path, rest) = pattern.split_at(index);
                let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
                let is_after_path = path.ends_with(|char: char| char.is_ascii_alphanumeric() || char == '/');
                let query = rest.trim_start_matches('?');
                let value = query.trim_start_matches(is_name);
                if is_after_path && value.starts_with('=') && value.len() < query.len() {
                    return Some(path);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns whether a pattern contains a path parameter in the syntax of routers, as `/items/:id`.
fn has_path_parameter(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => {
            literal.0.windows(3).any(|bytes| matches!(bytes, [b'/', b':', letter] if letter.is_ascii_alphabetic()))
        }
        HirKind::Repetition(repetition) => has_path_parameter(&repetition.sub),
        HirKind::Capture(capture) => has_path_parameter(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_path_parameter),
        _ => false,
    }
}

/// Returns whether a pattern contains `/*` before more text, as `/*.html`. `/+` may be written as `//*`.
fn has_glob(hir: &Hir) -> bool {
    let ends_with_slash = |part: &Hir| matches!(part.kind(), HirKind::Literal(literal) if literal.0.ends_with(b"/"));
    let is_repeated_slash = |part: &Hir| match part.kind() {
        HirKind::Repetition(repetition) => {
            repetition.min == 0 && repetition.max.is_none() && ends_with_slash(&repetition.sub)
        }
        _ => false,
    };
    let is_text = |part: &Hir| matches!(part.kind(), HirKind::Literal(_) | HirKind::Class(_));
    match hir.kind() {
        HirKind::Capture(capture) => has_glob(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().any(has_glob),
        HirKind::Concat(parts) => {
            let before = [None].into_iter().chain(parts.iter().map(Some));
            parts.iter().zip(parts.iter().skip(1)).zip(before).any(|((part, next), before)| {
                is_repeated_slash(part) && is_text(next) && !before.is_some_and(ends_with_slash)
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::mistake;

    #[test]
    fn patterns_that_match_no_path_have_a_remedy() {
        for (pattern, remedy) in [
            ("cart", "write `/cart`"),
            ("^cart", "write `/cart`"),
            ("cart/[0-9]+", "write `/cart/[0-9]+`"),
            ("(cart|user)", "begin each alternative with `/`"),
            ("shop.example.com/cart", "write `/cart`"),
            (r"shop\.example\.com/cart", "write `/cart`"),
            ("shop:8080/cart", "write `/cart`"),
            ("https://shop/cart", "write `/cart`"),
            ("https?://shop/cart", "write `/cart`"),
            ("http://shop", "write `/`"),
            ("shop.Cart/Add", "write `/shop.Cart/Add`"),
            ("GET /cart", "write `/cart`, and `GET` into `methods`"),
            ("'/cart'", "write `/cart`"),
            ("/cart\n", "write `/cart` on the line of `pathRegex`"),
            ("/cart ", "write `/cart`"),
            (" /cart", "write `/cart`"),
            ("/a b", "write `%20`, or separate patterns with `|`"),
            ("/cart?x=1", "write `/cart`"),
            (r"/cart\?x=1", "write `/cart`"),
            ("/cart[?]x=1", "write `/cart`"),
            ("/cart#top", "write `/cart`"),
            ("/cart\u{7}", "remove them"),
            ("/cart$x", r"remove the anchor, or escape it with `\`"),
            ("(/a^b|/c^d)", r"remove the anchor, or escape it with `\`"),
            ("/items/:id", "write `[^/]+` instead of `:NAME`"),
            ("/items/:id/(a|b)", "write `[^/]+` instead of `:NAME`"),
            ("/*.html", r"write `/[^/]*\.html`"),
            ("/items/*/edit", "write `/items/[^/]*/edit`"),
            ("/cart/*", "write `/cart(/.*)?` to match all longer paths"),
            ("^/cart/*$", "write `^/cart(/.*)?` to match all longer paths"),
            ("/cart*", "write `/cart.*` to match all longer paths"),
            (r"/item/\\d+", "write one backslash, without quotes or in single quotes"),
        ] {
            let message = mistake(pattern).unwrap_or_else(|| panic!("no message: {pattern:?}"));
            assert!(message.ends_with(&format!("; {remedy}")), "{pattern:?}: {message}");
        }
    }

    #[test]
    fn patterns_that_may_match_a_path_are_fine() {
        for pattern in [
            "/",
            "/cart",
            "^/cart$",
            ".*",
            ".+",
            "",
            "*",
            r".*\.html$",
            "(/cart|cart)",
            "(a|/b)",
            "/cart|cart",
            "a|",
            "a?",
            "[/]cart",
            "[^a]",
            r"\/cart",
            r"\Q",
            r"/item/\d+",
            r"/item\.html",
            "/cart//*",
            "/cart.*",
            "/carttt*",
            "/cart[0-9]*",
            "/cart/[^/]*$",
            "//*cart",
            "/cart/?",
            "/(?:a|b)",
            "(?i)/cart",
            "(?P<x>/cart)",
            "(?x) /a # comment",
            "/items/[^/]+",
            "/v1/items:batch",
            "/%20",
            "/a;x=1",
            "/cart(/.*)?$",
            "/colou?r",
            "/a=1",
            "/[a?b=c]+",
            r"\*",
            ".{3}",
            r"\S+",
            "/(?:x=1)?",
            "/x(?:\\?|$)",
            "/.*",
            "/(v1|v2)/.*",
            r"/[\w-]+",
            "[[:print:]]+",
            "(?s).",
            "/Straße",
            "/(a| )",
            "^/a$|^/b$",
            "(^/a|/b^c)",
            "^(/a)$",
            "/a(?:$|/)",
            "(?m)/a$\nb|/c",
            r"/a\$b",
            "^^/a$$",
        ] {
            assert_eq!(mistake(pattern), None, "{pattern}");
        }
    }
}
