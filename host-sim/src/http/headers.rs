//! A header map that behaves as Envoy's.

/// An ordered list of headers. Names are lower case and may repeat; values are any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    /// Returns the first value of a header. The name is case-insensitive.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Returns all values of a header. The name is case-insensitive.
    pub fn get_all(&self, name: impl AsRef<[u8]>) -> impl Iterator<Item = &[u8]> {
        let name = name.as_ref().to_ascii_lowercase();
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns all headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// Returns the number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no headers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a header, even if one of that name exists.
    pub(crate) fn add(&mut self, name: &[u8], value: impl Into<Vec<u8>>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// Replaces all headers of a name by one, at the place of the first. Appends the header if none exists.
    pub(crate) fn replace(&mut self, name: &[u8], value: impl Into<Vec<u8>>) {
        let (name, value) = (name.to_ascii_lowercase(), value.into());
        let mut seen = false;
        self.0.retain(|(other, _)| *other != name || !std::mem::replace(&mut seen, true));
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, first)) => *first = value,
            None => self.0.push((name, value)),
        }
    }

    /// Removes all headers of a name.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(other, _)| *other != name);
    }

    /// Returns the headers as pairs of name and value.
    pub(crate) fn pairs(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.0
    }
}

impl IntoIterator for Headers {
    type Item = (Vec<u8>, Vec<u8>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(Vec<u8>, Vec<u8>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(pairs: I) -> Self {
        let mut headers = Headers::default();
        for (name, value) in pairs {
            headers.add(&name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::Headers;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| (Vec::from(*name), Vec::from(*value))).collect()
    }

    #[test]
    fn names_are_case_insensitive() {
        let headers = headers(&[("X-User", "a"), ("x-USER", "b")]);
        assert_eq!(headers.get("x-uSer"), Some(&b"a"[..]));
        assert_eq!(headers.get_all("X-User").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(headers.iter().next(), Some((&b"x-user"[..], &b"a"[..])));
    }

    #[test]
    fn replace_keeps_the_place_of_the_first_header() {
        let mut some = headers(&[("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]);
        some.replace(b"A", "5");
        assert_eq!(some, headers(&[("a", "5"), ("b", "2"), ("c", "4")]));
        some.replace(b"d", "6");
        assert_eq!(some, headers(&[("a", "5"), ("b", "2"), ("c", "4"), ("d", "6")]));
    }

    #[test]
    fn remove_removes_all_headers_of_a_name() {
        let mut some = headers(&[("a", "1"), ("b", "2"), ("a", "3")]);
        some.remove(b"A");
        assert_eq!(some, headers(&[("b", "2")]));
    }
}
