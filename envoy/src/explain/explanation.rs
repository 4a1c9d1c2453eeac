//! The result of `explain`. Its JSON form is an interface: every key is always present.

use super::request::RequestDescription;
use serde::Serialize;
use traffic_split::Weight;

/// What the filter does with a request, and why.
///
/// `Display` prints several lines for people, `Serialize` gives one JSON object for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub(super) request: RequestDescription,
    /// `service.namespace`.
    pub(super) root_service: Option<String>,
    /// The root's splits before the one that decides; none of their matches holds.
    pub(super) skipped: Vec<SkippedSplit>,
    pub(super) split: Option<SplitReference>,
    #[serde(rename = "match")]
    pub(super) matched: Option<String>,
    /// The port of the root Service.
    pub(super) port: Option<u16>,
    /// The rule that determines `port`.
    pub(super) port_reason: Option<PortReason>,
    /// The `reason` of the filter's counter; absent if the root serves.
    pub(super) reason: Option<&'static str>,
    pub(super) decided_by: Option<DecidedBy>,
    /// The only backend that can serve the request. If this and `root` are absent, the filter picks at random by `shares`.
    pub(super) backend: Option<Destination>,
    /// Why the root serves the request.
    pub(super) root: Option<RootDestination>,
    pub(super) shares: Vec<BackendShare>,
    pub(super) left_out: Vec<ExcludedBackend>,
    pub(super) set_cookie: Option<SetCookie>,
    pub(super) mirror: Option<MirrorDestination>,
    pub(super) notes: Vec<String>,
}

/// A split, and the file that contains it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SplitReference {
    pub(super) name: String,
    pub(super) file: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct SkippedSplit {
    #[serde(flatten)]
    pub(super) split: SplitReference,
    pub(super) matches: Vec<FailedMatchReport>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct FailedMatchReport {
    pub(super) name: String,
    pub(super) why: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct PortReason {
    /// A constant for programs.
    pub(super) code: &'static str,
    pub(super) why: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct DecidedBy {
    /// `header` or `cookie`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Destination {
    pub(super) service: String,
    pub(super) cluster: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RootDestination {
    /// A constant for programs.
    pub(super) code: &'static str,
    pub(super) why: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct BackendShare {
    pub(super) service: String,
    pub(super) cluster: String,
    pub(super) weight: Weight,
    /// From 0 to 1.
    pub(super) share: f64,
}

/// A backend that lacks the request's port.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ExcludedBackend {
    pub(super) service: String,
    pub(super) weight: Weight,
    pub(super) why: String,
}

/// A sticky cookie that the response sets, because the request lacks it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SetCookie {
    pub(super) name: String,
    pub(super) attributes: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct MirrorDestination {
    pub(super) service: String,
    pub(super) cluster: String,
    /// From 0 to 100.
    pub(super) percent: f64,
}
