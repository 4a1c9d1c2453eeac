//! The steps of one decision, recorded for `explain`.

use crate::configuration::weight::Weight;
use crate::routing::counter::Reason;
use crate::routing::decision::RootReason;
use crate::routing::matching::FailedMatch;
use crate::routing::port::{GivenPort, PortRule};
use std::borrow::Cow;

/// The steps of a decision: root, port, splits that were tried, and the selection.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RoutingTrace<'r> {
    /// The root that the request's host names: `service.namespace`.
    pub root: Option<&'r str>,
    /// The port that the request's `Host` or `hosts` specifies. `None` if the host is not a root.
    pub given_port: Option<GivenPort>,
    /// The root's port that the request is for.
    pub port: Option<u16>,
    /// The rule that determines `port`.
    pub port_rule: Option<PortRule>,
    /// The splits that do not accept the request, in the order in which they are tried: `namespace/name`, and the
    /// failed condition of each match.
    pub skipped: Vec<(&'r str, Vec<FailedMatch<'r>>)>,
    /// The split that decides: `namespace/name`.
    pub split: Option<&'r str>,
    /// The match that accepts the request: `group/match`. `None` if the split has no matches.
    pub matched: Option<&'r str>,
    /// The backends that serve the port, in the split's order; empty if the request is not split.
    pub shares: Vec<Share<'r>>,
    /// The backend, if it does not depend on a random number.
    pub certain: Option<Certain<'r>>,
    /// The cookie that the response sets. Its random value selects the backend.
    pub new_cookie: Option<&'r str>,
    /// The backend that receives copies of requests that it does not serve, and of what percentage.
    pub mirror: Option<(&'r str, Weight)>,
    /// Why the request is not split; `None` if it goes to a backend.
    pub root_reason: Option<RootReason>,
}

/// A backend that is selected without a random number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certain<'r> {
    /// Bare name of the backend's Service.
    pub backend: &'r str,
    /// The rule that selects it.
    pub reason: Reason,
    /// The part of the request that selects it.
    pub decided_by: DecidedBy<'r>,
}

/// The part of a request that selects its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecidedBy<'r> {
    /// A header with its value.
    Header(&'r str, Vec<u8>),
    /// A cookie with its value.
    Cookie(&'r str, Vec<u8>),
}

/// A backend's share of a split's requests.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Share<'r> {
    /// Bare name of the backend's Service.
    pub backend: &'r str,
    /// Its Envoy cluster.
    pub cluster: Cow<'r, str>,
    /// Its weight.
    pub weight: Weight,
    /// Its share of randomly selected requests: 0 to 1.
    pub share: f64,
}

/// Observes the search for a request's split.
pub(crate) trait Observer<'r> {
    fn on_root(&mut self, name: &'r str, given_port: GivenPort);
    fn on_port(&mut self, port: u16, rule: PortRule);
    fn on_failed_match(&mut self, split: &'r str, failed: FailedMatch<'r>);
    fn on_split(&mut self, split: &'r str, matched: Option<&'r str>);
}

/// Records nothing: the compiler removes the calls.
pub(crate) struct NoTrace;

impl<'r> Observer<'r> for NoTrace {
    fn on_root(&mut self, _: &'r str, _: GivenPort) {}
    fn on_port(&mut self, _: u16, _: PortRule) {}
    fn on_failed_match(&mut self, _: &'r str, _: FailedMatch<'r>) {}
    fn on_split(&mut self, _: &'r str, _: Option<&'r str>) {}
}

impl<'r> Observer<'r> for RoutingTrace<'r> {
    fn on_root(&mut self, name: &'r str, given_port: GivenPort) {
        (self.root, self.given_port) = (Some(name), Some(given_port));
    }

    fn on_port(&mut self, port: u16, rule: PortRule) {
        (self.port, self.port_rule) = (Some(port), Some(rule));
    }

    fn on_failed_match(&mut self, split: &'r str, failed: FailedMatch<'r>) {
        match self.skipped.last_mut() {
            Some((name, matches)) if *name == split => matches.push(failed),
            _ => self.skipped.push((split, vec![failed])),
        }
    }

    fn on_split(&mut self, split: &'r str, matched: Option<&'r str>) {
        // Earlier matches of this split failed, but the split was not skipped.
        self.skipped.pop_if(|(name, _)| *name == split);
        (self.split, self.matched) = (Some(split), matched);
    }
}
