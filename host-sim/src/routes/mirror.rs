//! Mirror policies: which requests are copied, and to which cluster.

use super::clusters::Clusters;
use super::header_operations::{AppendAction, HeaderOperations};
use super::request_headers::{first, port_start};
use crate::http::headers::Headers;

/// A mirror policy (`RequestMirrorPolicy`): where copies of requests go. Copies all requests by default.
#[derive(Clone, Debug)]
#[must_use = "a mirror policy has no effect until it is added to a route"]
pub struct Mirror {
    target: MirrorTarget,
    numerator: u32,
    denominator: u32,
    keep_host: bool,
    /// Each entry has one operation. Envoy applies the entries in this order.
    mutations: Vec<HeaderOperations>,
    problems: Vec<String>,
}

#[derive(Clone, Debug)]
enum MirrorTarget {
    Cluster(Vec<u8>),
    ClusterHeader(String),
}

/// A copy of a request that a mirror policy made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirroredRequest {
    /// The cluster that receives the copy.
    pub cluster: Vec<u8>,
    /// The headers of the copy.
    pub headers: Headers,
}

// === impl Mirror ===

impl Mirror {
    fn new(target: MirrorTarget) -> Self {
        Mirror {
            target,
            numerator: 100,
            denominator: 100,
            keep_host: false,
            mutations: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Returns a policy that copies requests to a cluster.
    pub fn to_cluster(name: impl AsRef<[u8]>) -> Self {
        Mirror::new(MirrorTarget::Cluster(name.as_ref().into()))
    }

    /// Returns a policy that copies requests to the cluster that the first value of a request header names
    /// (`cluster_header`). If the header is missing or empty, the request is not copied.
    pub fn to_cluster_header(header: impl Into<String>) -> Self {
        Mirror::new(MirrorTarget::ClusterHeader(header.into()))
    }

    /// Copies only a fraction of requests (`runtime_fraction`): those whose random number modulo the denominator is less
    /// than the numerator. The denominator is 100, 10,000 or 1,000,000.
    pub fn fraction(mut self, numerator: u32, denominator: u32) -> Self {
        (self.numerator, self.denominator) = (numerator, denominator);
        self
    }

    /// Keeps the host of copies unchanged (`disable_shadow_host_suffix_append`).
    pub fn keep_host(mut self) -> Self {
        self.keep_host = true;
        self
    }

    /// Removes a header of copies (`request_headers_mutations`).
    pub fn remove_header(mut self, name: impl Into<String>) -> Self {
        let mut operation = HeaderOperations::default();
        self.problems.extend(operation.remove_header(name.into()));
        self.mutations.push(operation);
        self
    }

    /// Sets a header of copies with an append action (`request_headers_mutations`). For `value` see
    /// [`Route::add_response_header`](crate::Route::add_response_header).
    pub fn set_header(mut self, name: impl Into<String>, value: &str, action: AppendAction) -> Self {
        let mut operation = HeaderOperations::default();
        self.problems.extend(operation.add_header(name.into(), value, action));
        self.mutations.push(operation);
        self
    }

    /// Returns the reasons for which Envoy rejects the policy.
    pub(super) fn problems(&self) -> Vec<String> {
        let is_valid = [100, 10_000, 1_000_000].contains(&self.denominator);
        let fraction = (!is_valid).then(|| {
            format!("mirror: the denominator of the fraction is {}, not 100, 10000 or 1000000", self.denominator)
        });
        fraction.into_iter().chain(self.problems.iter().map(|problem| format!("mirror: {problem}"))).collect()
    }

    /// Returns the copy of a request, unless the fraction excludes it or the cluster is unknown.
    pub(super) fn copy(&self, request: &Headers, clusters: &Clusters, random: u64) -> Option<MirroredRequest> {
        if random % u64::from(self.denominator).max(1) >= u64::from(self.numerator) {
            return None;
        }
        let cluster = match &self.target {
            MirrorTarget::Cluster(name) => name,
            MirrorTarget::ClusterHeader(header) => first(request, header)?,
        };
        if !clusters.contains(cluster) {
            return None;
        }
        let mut headers = request.clone();
        if let (Some(host), false) = (request.get(":authority"), self.keep_host) {
            headers.replace(b":authority", shadow_host(host));
        }
        for mutation in &self.mutations {
            mutation.remove(&mut headers);
            let before = headers.clone();
            mutation.add(&mut headers, &before);
        }
        Some(MirroredRequest { cluster: cluster.to_vec(), headers })
    }
}

/// Returns the host of a copy: the authority with `-shadow` before the port.
fn shadow_host(host: &[u8]) -> Vec<u8> {
    let (name, port) = host.split_at(port_start(host).unwrap_or(host.len()));
    [name, b"-shadow", port].concat()
}
