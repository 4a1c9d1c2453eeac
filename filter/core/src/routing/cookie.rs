//! Lookup in a `Cookie` header (RFC 6265).

/// Returns the value of the first cookie with this name, without surrounding quotes; `None` if it is empty.
pub(crate) fn find<'h>(header: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let value = header.split(|&byte| byte == b';').find_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (own, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        (own.trim_ascii() == name.as_bytes()).then(|| value.trim_ascii())
    })?;
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    (!unquoted.is_empty()).then_some(unquoted)
}

#[cfg(test)]
mod tests {
    use super::find;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn cookie_is_found_among_other_cookies_quotes_and_invalid_bytes() {
        for (header, value) in [
            (&b"id=a"[..], Some(&b"a"[..])),
            (b"x=1; id=a; y=2", Some(b"a")),
            (b"x=1;id=a;y=2", Some(b"a")),
            (b"  id = a  ; y", Some(b"a")),
            (b"id=\"a\"", Some(b"a")),
            (b"id=\"a", Some(b"\"a")),
            (b"id=\"", Some(b"\"")),
            (b"id=a=b", Some(b"a=b")),
            (b"id=a; id=b", Some(b"a")),
            (b"id=\xff\xfe", Some(b"\xff\xfe")),
            (b"\xff=1; \xfe; ;;=; =x; id=a", Some(b"a")),
            (b"id=", None),
            (b"id=\"\"", None),
            (b"id=; id=b", None),
            (b"id", None),
            (b"ID=a", None),
            (b"xid=a; idx=b", None),
            (b"", None),
        ] {
            assert_eq!(find(header, "id"), value, "{}", header.escape_ascii());
        }
    }
}
