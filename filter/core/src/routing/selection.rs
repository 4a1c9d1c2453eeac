//! Selection of a request's backend: precedence, weighted random picks and sticky picks.

use crate::configuration::weight::Weight;
use crate::routing::backend::Backend;
use crate::routing::cookie;
use crate::routing::header_cache::HeaderCache;
use crate::routing::random::scale;
use crate::routing::rendezvous;
use crate::routing::request::Request;
use crate::routing::split::{Split, StickyCookie};

/// The backends of a split that serve the port of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates<'s> {
    pub(crate) split: &'s Split,
    /// The root's port that the request is for.
    pub(crate) port: u16,
    /// Sum of their weights, in billionths.
    pub(crate) weight_sum: u128,
}

/// The rule that selects a request's backend.
#[derive(Debug)]
pub(crate) enum Selection<'s> {
    /// The request names the backend in this header.
    Override(&'s Backend, &'s str),
    /// By the value of this header.
    StickyHeader(&'s Backend, &'s str),
    /// By the value of this cookie.
    StickyCookie(&'s Backend, &'s str),
    /// By the new value of this cookie, which the request lacks.
    NewCookie(&'s StickyCookie),
    /// By a random number and the weights.
    Random,
    /// No backend with a weight serves the port.
    NoBackend,
}

impl<'s> Candidates<'s> {
    /// Applies SMI's rule for ports: a backend whose ports lack `port` is left out, and its weight goes to the others.
    ///
    /// Computed for each request: a table would need an entry for each pair of port and backend.
    pub(crate) fn new(split: &'s Split, port: u16) -> Self {
        let candidates = Self { split, port, weight_sum: 0 };
        let weight_sum = candidates.iter().map(|backend| u128::from(backend.weight.billionths())).sum();
        Self { weight_sum, ..candidates }
    }

    /// Returns the backends in the split's order.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'s Backend> {
        self.split.backends.iter().filter(move |backend| backend.has_port(self.port))
    }

    /// Returns the backend with this Service name.
    pub(crate) fn by_name(self, name: &[u8]) -> Option<&'s Backend> {
        self.iter().find(|backend| backend.target.name.as_bytes() == name)
    }

    /// Applies the precedence: override, sticky header, sticky cookie, random. Only an override selects a backend of
    /// weight 0.
    pub(crate) fn select(self, headers: &mut HeaderCache<'_, impl Request>) -> Selection<'s> {
        let split = self.split;
        if let Some(header) = &split.override_header
            && let Some(value) = headers.get(header)
            && let Some(backend) = self.by_name(value)
        {
            return Selection::Override(backend, header);
        }
        if self.weight_sum == 0 {
            return Selection::NoBackend;
        }
        if let Some(header) = &split.sticky_header
            && let Some(value) = headers.get(header).filter(|value| !value.is_empty())
            && let Some(backend) = self.sticky_pick(value)
        {
            return Selection::StickyHeader(backend, header);
        }
        if let Some(cookie) = &split.sticky_cookie {
            let value = headers.get("cookie").and_then(|header| cookie::find(header, &cookie.name));
            return match value.and_then(|value| self.sticky_pick(value)) {
                Some(backend) => Selection::StickyCookie(backend, &cookie.name),
                None => Selection::NewCookie(cookie),
            };
        }
        Selection::Random
    }

    /// Returns the backend for a random number that is uniform over all of `u64`; `None` if no backend has a weight.
    pub(crate) fn random_pick(self, random: u64) -> Option<&'s Backend> {
        let point = scale(random, self.weight_sum);
        let mut sum = 0;
        // A backend of weight 0 does not raise the sum, so the point cannot fall below the sum at this backend.
        self.iter().find(|backend| {
            sum += u128::from(backend.weight.billionths());
            point < sum
        })
    }

    /// Returns the backend for a sticky value, by [`rendezvous`]; `None` if no backend has a weight.
    pub(crate) fn sticky_pick(self, value: &[u8]) -> Option<&'s Backend> {
        // The value is hashed once for each backend: the limit bounds the cost.
        let value = value.get(..rendezvous::MAX_VALUE_BYTES).unwrap_or(value);
        // Weight 0 receives no traffic, even when sticky.
        let weighted = self.iter().filter(|backend| backend.weight > Weight::default());
        let score = |backend: &'s Backend| {
            let hash = rendezvous::hash(&self.split.name, &backend.target.name, value);
            (rendezvous::score(hash, backend.weight), backend)
        };
        let first = weighted.map(score).min_by(|(one, backend), (other, next)| {
            one.total_cmp(other).then_with(|| backend.target.name.cmp(&next.target.name))
        });
        first.map(|(_, backend)| backend)
    }
}
