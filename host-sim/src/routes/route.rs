//! Routes: which requests a route matches, its action, and its builder.

use super::header_match::HeaderMatch;
use super::header_operations::{AppendAction, HeaderOperations};
use super::mirror::Mirror;
use super::request_headers::first;
use crate::http::headers::Headers;

/// A route: which requests it matches, and where they go. By default it matches all paths (prefix `/`).
#[derive(Clone, Debug)]
#[must_use = "a route has no effect until it is added to a virtual host"]
pub struct Route {
    name: String,
    path: PathMatch,
    headers: Vec<HeaderMatch>,
    action: Action,
    cluster_not_found: u16,
    request: HeaderOperations,
    response: HeaderOperations,
    mirrors: Vec<Mirror>,
    problems: Vec<String>,
}

#[derive(Clone, Debug)]
enum PathMatch {
    Prefix(Vec<u8>),
    SeparatedPrefix(Vec<u8>),
    Exact(Vec<u8>),
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Cluster(Vec<u8>),
    ClusterHeader(String),
    WeightedClusters(Vec<(Vec<u8>, u32)>),
    DirectResponse { status: u16, body: Vec<u8> },
}

// === impl Route ===

impl Route {
    fn new(action: Action) -> Self {
        Route {
            name: String::new(),
            path: PathMatch::Prefix(b"/".into()),
            headers: Vec::new(),
            action,
            cluster_not_found: 503,
            request: HeaderOperations::default(),
            response: HeaderOperations::default(),
            mirrors: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Returns a route to one cluster.
    pub fn to_cluster(name: impl AsRef<[u8]>) -> Self {
        Route::new(Action::Cluster(name.as_ref().into()))
    }

    /// Returns a route to the cluster that the first value of a request header names (`cluster_header`). If the header
    /// is missing or empty, Envoy responds 503 with the response flag `NC`.
    pub fn to_cluster_header(header: impl Into<String>) -> Self {
        Route::new(Action::ClusterHeader(header.into()))
    }

    /// Returns a route to one of several clusters (`weighted_clusters`): the cluster whose range of weights contains the
    /// stream's random number modulo the sum of weights. A cluster of weight 0 receives no requests.
    pub fn to_weighted_clusters<N: AsRef<[u8]>>(clusters: impl IntoIterator<Item = (N, u32)>) -> Self {
        let clusters = clusters.into_iter().map(|(name, weight)| (name.as_ref().to_vec(), weight));
        Route::new(Action::WeightedClusters(clusters.collect()))
    }

    /// Returns a route to which Envoy responds itself (`direct_response`).
    pub fn to_direct_response(status: u16, body: impl AsRef<[u8]>) -> Self {
        Route::new(Action::DirectResponse { status, body: body.as_ref().into() })
    }

    /// Sets the name. Empty by default.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Matches paths with this prefix; the empty prefix matches all. Path matching is case-sensitive and ignores the
    /// query and the fragment.
    pub fn prefix(self, prefix: impl AsRef<[u8]>) -> Self {
        self.path_match(PathMatch::Prefix(prefix.as_ref().into()))
    }

    /// Matches this path and all paths below it (`path_separated_prefix`): `/a` matches `/a` and `/a/b`, not `/ab`.
    pub fn path_separated_prefix(self, prefix: impl AsRef<[u8]>) -> Self {
        self.path_match(PathMatch::SeparatedPrefix(prefix.as_ref().into()))
    }

    /// Matches exactly this path.
    pub fn path(self, path: impl AsRef<[u8]>) -> Self {
        self.path_match(PathMatch::Exact(path.as_ref().into()))
    }

    fn path_match(mut self, path: PathMatch) -> Self {
        self.path = path;
        self
    }

    /// Adds a header matcher; may be called again. A request must satisfy all of them.
    pub fn header(mut self, header: HeaderMatch) -> Self {
        self.problems.extend(header.problem());
        self.headers.push(header);
        self
    }

    /// Sets the status of the response when the cluster is unknown (`cluster_not_found_response_code`): 404, 500 or 503.
    /// Defaults to 503.
    pub fn cluster_not_found_response_code(mut self, status: u16) -> Self {
        if ![404, 500, 503].contains(&status) {
            self.problems.push(format!("cluster_not_found_response_code is {status}, not 404, 500 or 503"));
        }
        self.cluster_not_found = status;
        self
    }

    /// Removes a request header before any headers are added. The cluster is already selected by then. Mirror policies
    /// and `%REQ(…)%` in response headers no longer see the header.
    pub fn remove_request_header(mut self, name: impl Into<String>) -> Self {
        self.problems.extend(self.request.remove_header(name.into()));
        self
    }

    /// Adds a request header. A header whose value is empty is not added.
    pub fn add_request_header(self, name: impl Into<String>, value: &str) -> Self {
        self.set_request_header(name, value, AppendAction::default())
    }

    /// Adds a request header with an append action.
    pub fn set_request_header(mut self, name: impl Into<String>, value: &str, action: AppendAction) -> Self {
        self.problems.extend(self.request.add_header(name.into(), value, action));
        self
    }

    /// Removes a response header before any headers are added.
    pub fn remove_response_header(mut self, name: impl Into<String>) -> Self {
        self.problems.extend(self.response.remove_header(name.into()));
        self
    }

    /// Adds a response header. In `value`, `%REQ(name)%` is the first value of a request header as the upstream received
    /// it, `%REQ(name?other)%` falls back to another header, `%REQ(name):9%` is at most the first 9 bytes, and `%%` is a
    /// percent sign. A missing header is empty; a header whose value is empty is not added.
    pub fn add_response_header(self, name: impl Into<String>, value: &str) -> Self {
        self.set_response_header(name, value, AppendAction::default())
    }

    /// Adds a response header with an append action.
    pub fn set_response_header(mut self, name: impl Into<String>, value: &str, action: AppendAction) -> Self {
        self.problems.extend(self.response.add_header(name.into(), value, action));
        self
    }

    /// Adds a mirror policy.
    pub fn mirror(mut self, mirror: Mirror) -> Self {
        self.problems.extend(mirror.problems());
        self.mirrors.push(mirror);
        self
    }

    /// Returns the name. Empty unless [`named`](Self::named) set it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn action(&self) -> &Action {
        &self.action
    }

    pub(super) fn cluster_not_found(&self) -> u16 {
        self.cluster_not_found
    }

    pub(super) fn request_operations(&self) -> &HeaderOperations {
        &self.request
    }

    pub(super) fn response_operations(&self) -> &HeaderOperations {
        &self.response
    }

    pub(super) fn mirror_policies(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Returns everything for which Envoy rejects the route.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.problems.iter().cloned().chain(self.action_problem()).chain(self.path_problem())
    }

    fn action_problem(&self) -> Option<String> {
        match &self.action {
            Action::WeightedClusters(clusters) => {
                let sum: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let is_valid = sum > 0 && sum <= u64::from(u32::MAX);
                (!is_valid).then(|| format!("the sum of weights is {sum}, not between 1 and {}", u32::MAX))
            }
            Action::Cluster(name) if name.is_empty() => Some("the cluster name is empty".to_owned()),
            Action::ClusterHeader(header) if header.is_empty() => {
                Some("the name of the cluster header is empty".to_owned())
            }
            Action::DirectResponse { status, .. } if !(200..600).contains(status) => {
                Some(format!("the status of the direct response is {status}, not between 200 and 599"))
            }
            _ => None,
        }
    }

    fn path_problem(&self) -> Option<String> {
        let PathMatch::SeparatedPrefix(prefix) = &self.path else {
            return None;
        };
        let is_valid = prefix.len() > 1 && !prefix.ends_with(b"/") && !prefix.iter().any(|byte| b"?#".contains(byte));
        let why = || format!("path_separated_prefix {} is not a path without a trailing slash", prefix.escape_ascii());
        (!is_valid).then(why)
    }

    /// Returns the cluster that the route names for a request, whether or not it is known. `None` for a direct response.
    pub(super) fn cluster(&self, headers: &Headers, random: u64) -> Option<Vec<u8>> {
        match &self.action {
            Action::Cluster(name) => Some(name.clone()),
            // A client may repeat the header: only the first value counts. A missing header is an empty name.
            Action::ClusterHeader(header) => Some(first(headers, header).unwrap_or_default().to_vec()),
            Action::WeightedClusters(clusters) => Some(by_weight(clusters, random).to_vec()),
            Action::DirectResponse { .. } => None,
        }
    }

    pub(super) fn matches(&self, headers: &Headers) -> bool {
        // A CONNECT request may have no path: only a `connect_matcher` route would match it.
        let Some(path) = first(headers, ":path") else {
            return false;
        };
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
        let path = &path[..end];
        let path_matches = match &self.path {
            PathMatch::Prefix(prefix) => path.starts_with(prefix),
            PathMatch::SeparatedPrefix(prefix) => {
                path.strip_prefix(&prefix[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
            PathMatch::Exact(exact) => path == exact,
        };
        path_matches && self.headers.iter().all(|header| header.matches(headers))
    }
}

/// Returns the cluster whose range of weights contains a random number.
fn by_weight(clusters: &[(Vec<u8>, u32)], random: u64) -> &[u8] {
    let sum: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut left = random % sum.max(1);
    for (name, weight) in clusters {
        match left.checked_sub(u64::from(*weight)) {
            Some(rest) => left = rest,
            None => return name,
        }
    }
    b""
}
