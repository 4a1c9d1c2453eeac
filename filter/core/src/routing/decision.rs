//! The result of routing a request.

use crate::routing::backend::Target;
use crate::routing::counter::{self, Reason};
use std::borrow::Cow;
use std::fmt;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'r> {
    /// To its destination without a split: usually the root Service.
    Root(RootReason),
    /// To a backend of a split.
    Backend(Pick<'r>),
}

/// Why a request is not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootReason {
    /// The client's namespace is excluded.
    Excluded,
    /// The request's host is not a root of any split.
    NoSplit,
    /// No rule selects a port of the root, or the port in `Host` is invalid.
    NoPort,
    /// No match of the root's splits accepts the request.
    NoMatch,
    /// No backend with a weight serves the port.
    NoBackend,
}

/// The backend that receives a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pick<'r> {
    /// The split that decided: `namespace/name`.
    pub split: &'r str,
    /// Bare name of the backend's Service.
    pub backend: &'r str,
    /// The backend's Envoy cluster.
    pub cluster: Cow<'r, str>,
    /// The Envoy cluster that receives a copy of the request.
    pub mirror: Option<Cow<'r, str>>,
    /// Value of a `Set-Cookie` header for the response.
    pub set_cookie: Option<String>,
    /// How the backend was selected.
    pub reason: Reason,
    pub(crate) target: &'r Target,
}

// === impl Pick ===

impl Pick<'_> {
    /// Returns the id set by [`set_counter_id`](Self::set_counter_id) for an earlier pick of the same backend and
    /// reason.
    pub fn counter_id(&self) -> Option<u32> {
        self.target.counter_ids.get(self.reason)
    }

    /// Stores the id that the host assigned to [`counter`](Self::counter). All rules that share the backend's memory
    /// see it, so they must belong to one VM.
    pub fn set_counter_id(&self, id: u32) {
        self.target.counter_ids.set(self.reason, id);
    }

    /// Returns the name of the counter of such picks, with its labels.
    pub fn counter(&self) -> String {
        counter::name(self.split, self.backend, self.reason)
    }
}

// === impl RootReason ===

impl fmt::Display for RootReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Excluded => "the client's namespace is excluded",
            Self::NoSplit => "no split has this host as its root",
            Self::NoPort => "no rule selects a port of the root",
            Self::NoMatch => "no match of the root's splits accepts the request",
            Self::NoBackend => "no backend with a weight above 0 has the request's port",
        })
    }
}
