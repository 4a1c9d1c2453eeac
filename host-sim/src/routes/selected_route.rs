//! The route that a request selected, and what the route does to the request and its response.

use super::clusters::Clusters;
use super::mirror::MirroredRequest;
use super::route::{Action, Route};
use crate::http::headers::Headers;

/// The route that a request selected. Its cluster is fixed: later header changes have no effect until a filter clears the
/// route cache and the route is selected again.
#[derive(Clone, Debug)]
pub struct SelectedRoute<'a> {
    clusters: &'a Clusters,
    virtual_host: &'a str,
    route: &'a Route,
    cluster: Option<Vec<u8>>,
}

/// A response that Envoy sends itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteResponse {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Envoy's response flag: `NC` for an unknown cluster, empty for a direct response.
    pub flag: &'static str,
}

// === impl SelectedRoute ===

impl<'a> SelectedRoute<'a> {
    pub(super) fn new(
        clusters: &'a Clusters,
        virtual_host: &'a str,
        route: &'a Route,
        cluster: Option<Vec<u8>>,
    ) -> SelectedRoute<'a> {
        SelectedRoute { clusters, virtual_host, route, cluster }
    }

    /// Returns the name of the virtual host.
    #[must_use]
    pub fn virtual_host(&self) -> &'a str {
        self.virtual_host
    }

    /// Returns the route.
    pub fn route(&self) -> &'a Route {
        self.route
    }

    /// Returns the cluster that receives the request, or `None` if Envoy responds itself: the cluster is unknown, or the
    /// route is a direct response.
    #[must_use]
    pub fn cluster(&self) -> Option<&[u8]> {
        self.cluster.as_deref().filter(|name| self.clusters.contains(name))
    }

    /// Returns the response that Envoy sends itself, if it does.
    #[must_use]
    pub fn local_response(&self) -> Option<RouteResponse> {
        match (self.route.action(), self.cluster()) {
            (Action::DirectResponse { status, body }, _) => {
                Some(RouteResponse { status: *status, body: body.clone(), flag: "" })
            }
            (_, None) => Some(RouteResponse { status: self.route.cluster_not_found(), body: Vec::new(), flag: "NC" }),
            _ => None,
        }
    }

    /// Applies the route's request header operations, as the router filter does after it has found the cluster: removes
    /// headers, computes all values from the remaining headers, replaces headers, then appends headers. A request to
    /// which Envoy responds itself is not changed.
    pub fn finalize_request(&self, headers: &mut Headers) {
        if self.cluster().is_some() {
            let operations = self.route.request_operations();
            operations.remove(headers);
            let request = headers.clone();
            operations.add(headers, &request);
        }
    }

    /// Applies the route's response header operations to a response of the upstream or of Envoy itself.
    ///
    /// `request` is the request after [`finalize_request`](Self::finalize_request): `%REQ(…)%` does not see the headers
    /// that it removed.
    pub fn finalize_response(&self, request: &Headers, response: &mut Headers) {
        let operations = self.route.response_operations();
        operations.remove(response);
        operations.add(response, request);
    }

    /// Returns the copies that the route's mirror policies make of a request, in order.
    ///
    /// `request` is the request after [`finalize_request`](Self::finalize_request): a removed header names no cluster.
    /// Envoy makes no copy for an unknown cluster, of a CONNECT request, or when it responds itself. The host of a copy
    /// has `-shadow` before its port, unless the policy keeps the host. For `random` see [`RouteTable::select`](crate::RouteTable::select).
    #[must_use]
    pub fn mirrors(&self, request: &Headers, random: u64) -> Vec<MirroredRequest> {
        if self.cluster().is_none() || request.get(":method") == Some(b"CONNECT") {
            return Vec::new();
        }
        let policies = self.route.mirror_policies().iter();
        policies.filter_map(|mirror| mirror.copy(request, self.clusters, random)).collect()
    }
}
