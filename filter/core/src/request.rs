//! What a decision asks for: of the request, and of chance.

use crate::pattern::{Matched, MatchingSteps, Pattern};
use std::borrow::Cow;
use std::collections::HashMap;

/// What is asked of a request. Each call may cost a call of the host, so nothing is asked that
/// doesn't decide anything, and no header twice.
pub trait Request {
    /// The first value of a header, pseudo-headers such as `:authority` included.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// The port that the client connected to.
    fn destination_port(&self) -> Option<u16>;
    /// Whether a body follows the headers. Not unless said otherwise.
    fn has_body(&self) -> bool {
        false
    }
}

/// Where a decision's chance comes from. It is asked only when something is left to chance.
pub trait Chance {
    /// A number that is uniform over all of `u64`; that it can be guessed does no harm.
    fn number(&mut self) -> u64;
    /// Bytes that nobody can guess; `None` if there are none to be had.
    fn id(&mut self) -> Option<[u8; 16]>;
}

/// A request, and the headers that it has been asked for.
pub(crate) struct Asked<'q, R> {
    pub(crate) request: &'q R,
    headers: HashMap<Box<str>, Option<Vec<u8>>>,
    /// What matching the request may still cost.
    steps: MatchingSteps,
}

// === impl Asked ===

impl<'q, R: Request> Asked<'q, R> {
    pub(crate) fn new(request: &'q R) -> Self {
        Self { request, headers: HashMap::new(), steps: MatchingSteps::new() }
    }

    /// The first value of a header. `host` is `:authority`, as in Envoy.
    pub(crate) fn header(&mut self, name: &str) -> Option<&[u8]> {
        cached(self.request, &mut self.headers, name)
    }

    /// Matches a pattern against the first value of a header; a header that is missing matches nothing.
    pub(crate) fn header_matches(&mut self, name: &str, pattern: &Pattern) -> Matched {
        self.part_matches(name, pattern, |value| value)
    }

    /// Matches a pattern against the path without its query.
    pub(crate) fn path_matches(&mut self, pattern: &Pattern) -> Matched {
        self.part_matches(":path", pattern, |path| path.split(|&byte| byte == b'?').next().unwrap_or_default())
    }

    fn part_matches(&mut self, name: &str, pattern: &Pattern, part: fn(&[u8]) -> &[u8]) -> Matched {
        let value = cached(self.request, &mut self.headers, name);
        value.map_or(Matched::No, |value| pattern.matches(part(value), &mut self.steps))
    }
}

fn cached<'h>(
    request: &impl Request,
    headers: &'h mut HashMap<Box<str>, Option<Vec<u8>>>,
    name: &str,
) -> Option<&'h [u8]> {
    let name = if name == "host" { ":authority" } else { name };
    if !headers.contains_key(name) {
        headers.insert(name.into(), request.header(name).map(Cow::into_owned));
    }
    headers.get(name)?.as_deref()
}
