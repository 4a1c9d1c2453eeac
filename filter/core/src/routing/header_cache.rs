//! A cache of the headers that a decision reads.

use crate::configuration::pattern::MAX_VALUE_BYTES;
use crate::routing::request::Request;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A request and the headers read from it. Each header is read and validated as UTF-8 at most once, because thousands
/// of conditions may name the same header.
pub(crate) struct HeaderCache<'q, R> {
    request: &'q R,
    /// Not in `others`, so that a request that needs no other header allocates no map.
    authority: Option<Header<'q>>,
    path: Option<Path>,
    others: BTreeMap<Box<str>, Header<'q>>,
}

/// The first value of a header.
enum Header<'q> {
    Absent,
    Text(Cow<'q, str>),
    NotUtf8(Cow<'q, [u8]>),
}

/// The path without its query.
enum Path {
    Unmatchable(Value<'static>),
    Text(Box<str>),
}

/// A header value as patterns see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Absent,
    Text(&'a str),
    /// Longer than [`MAX_VALUE_BYTES`].
    TooLong,
    NotUtf8,
}

// === impl HeaderCache ===

impl<'q, R: Request> HeaderCache<'q, R> {
    pub(crate) fn new(request: &'q R) -> Self {
        Self { request, authority: None, path: None, others: BTreeMap::new() }
    }

    /// Returns the first value of a header. `host` means `:authority`, as in Envoy.
    pub(crate) fn get(&mut self, name: &str) -> Option<&[u8]> {
        self.header(name).bytes()
    }

    /// Returns the value of `:authority`.
    pub(crate) fn authority(&mut self) -> Option<&[u8]> {
        self.header(":authority").bytes()
    }

    /// Returns the first value of a header, for patterns.
    pub(crate) fn value(&mut self, name: &str) -> Value<'_> {
        self.header(name).value()
    }

    /// Returns the path without its query, for patterns.
    pub(crate) fn path(&mut self) -> Value<'_> {
        if self.path.is_none() {
            self.path = Some(self.get(":path").map_or(Path::Unmatchable(Value::Absent), Path::new));
        }
        match &self.path {
            Some(Path::Text(path)) => Value::Text(path),
            Some(Path::Unmatchable(value)) => *value,
            None => Value::Absent,
        }
    }

    /// Returns the request, for its properties that are not headers.
    pub(crate) fn request(&self) -> &'q R {
        self.request
    }

    fn header(&mut self, name: &str) -> &Header<'q> {
        let request = self.request;
        if matches!(name, ":authority" | "host") {
            return self.authority.get_or_insert_with(|| Header::new(request.header(":authority")));
        }
        if !self.others.contains_key(name) {
            self.others.insert(name.into(), Header::new(request.header(name)));
        }
        self.others.get(name).unwrap_or(&Header::Absent)
    }
}

// === impl Header ===

impl<'q> Header<'q> {
    fn new(value: Option<Cow<'q, [u8]>>) -> Self {
        match value {
            None => Self::Absent,
            Some(Cow::Borrowed(value)) => match std::str::from_utf8(value) {
                Ok(text) => Self::Text(text.into()),
                Err(_) => Self::NotUtf8(value.into()),
            },
            Some(Cow::Owned(value)) => match String::from_utf8(value) {
                Ok(text) => Self::Text(text.into()),
                Err(error) => Self::NotUtf8(error.into_bytes().into()),
            },
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Absent => None,
            Self::Text(value) => Some(value.as_bytes()),
            Self::NotUtf8(value) => Some(value),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Absent => Value::Absent,
            Self::Text(value) if value.len() > MAX_VALUE_BYTES => Value::TooLong,
            Self::NotUtf8(value) if value.len() > MAX_VALUE_BYTES => Value::TooLong,
            Self::Text(value) => Value::Text(value),
            Self::NotUtf8(_) => Value::NotUtf8,
        }
    }
}

// === impl Path ===

impl Path {
    fn new(path: &[u8]) -> Self {
        let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
        if path.len() > MAX_VALUE_BYTES {
            return Self::Unmatchable(Value::TooLong);
        }
        match std::str::from_utf8(path) {
            Ok(path) => Self::Text(path.into()),
            Err(_) => Self::Unmatchable(Value::NotUtf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderCache, Value};
    use crate::routing::request::Request;
    use std::borrow::Cow;
    use std::cell::RefCell;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// A request that records which headers are read.
    struct RecordedRequest(Vec<(&'static str, Vec<u8>)>, RefCell<Vec<String>>);

    impl Request for RecordedRequest {
        fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            self.1.borrow_mut().push(name.to_owned());
            let (_, value) = self.0.iter().find(|(own, _)| *own == name)?;
            Some(value.as_slice().into())
        }
        fn destination_port(&self) -> Option<u16> {
            None
        }
    }

    #[test]
    fn each_header_is_read_from_the_request_once() {
        let headers = vec![(":authority", b"web".to_vec()), (":path", b"/a?b".to_vec()), ("x", b"\xff".to_vec())];
        let request = RecordedRequest(headers, RefCell::default());
        let mut cache = HeaderCache::new(&request);
        for _ in 0..3 {
            assert_eq!(cache.authority(), Some(&b"web"[..]));
            assert_eq!(cache.get("host"), Some(&b"web"[..]));
            assert_eq!(cache.value("host"), Value::Text("web"));
            assert_eq!(cache.path(), Value::Text("/a"));
            assert_eq!(cache.get(":path"), Some(&b"/a?b"[..]));
            assert_eq!(cache.value("x"), Value::NotUtf8);
            assert_eq!(cache.get("x"), Some(&b"\xff"[..]));
            assert_eq!(cache.value("y"), Value::Absent);
            assert_eq!(cache.get("y"), None);
        }
        assert_eq!(*request.1.borrow(), [":authority", ":path", "x", "y"]);
    }

    #[test]
    fn only_the_path_without_query_must_be_utf_8_and_short() {
        let long = [b"/".repeat(8192), b"?".to_vec(), b"x".repeat(60_000)].concat();
        for (path, seen) in [
            (long, Value::Text(&"/".repeat(8192))),
            (b"/".repeat(8193), Value::TooLong),
            (b"\xff".repeat(8193), Value::TooLong),
            (b"/a?\xff".to_vec(), Value::Text("/a")),
            (b"/\xff?a".to_vec(), Value::NotUtf8),
            (b"?a".to_vec(), Value::Text("")),
        ] {
            let request = RecordedRequest(vec![(":path", path)], RefCell::default());
            assert_eq!(HeaderCache::new(&request).path(), seen);
        }
        let request = RecordedRequest(vec![("x", b"a".repeat(8193)), ("y", b"a".repeat(8192))], RefCell::default());
        let mut cache = HeaderCache::new(&request);
        assert_eq!(cache.value("x"), Value::TooLong);
        assert_eq!(cache.value("y"), Value::Text(&"a".repeat(8192)));
    }
}
