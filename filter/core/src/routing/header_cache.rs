//! A cache of the headers that a decision has read.

use crate::routing::request::Request;
use std::borrow::Cow;
use std::collections::HashMap;

/// A request with its headers, each of which is read at most once.
pub(crate) struct HeaderCache<'q, R> {
    request: &'q R,
    /// Apart from the others, so that a request that needs no other header needs no map.
    authority: Option<Option<Cow<'q, [u8]>>>,
    others: HashMap<Box<str>, Option<Cow<'q, [u8]>>>,
}

impl<'q, R: Request> HeaderCache<'q, R> {
    pub(crate) fn new(request: &'q R) -> Self {
        Self { request, authority: None, others: HashMap::new() }
    }

    /// Returns the first value of a header. `host` is another name of `:authority`, as in Envoy.
    pub(crate) fn get(&mut self, name: &str) -> Option<&[u8]> {
        if matches!(name, ":authority" | "host") {
            return self.authority();
        }
        if !self.others.contains_key(name) {
            self.others.insert(name.into(), self.request.header(name));
        }
        self.others.get(name)?.as_deref()
    }

    /// Returns the value of `:authority`.
    pub(crate) fn authority(&mut self) -> Option<&[u8]> {
        self.authority.get_or_insert_with(|| self.request.header(":authority")).as_deref()
    }

    /// Returns the request, for what is not a header.
    pub(crate) fn request(&self) -> &'q R {
        self.request
    }
}
