//! The Services of the canary guide.

use crate::Result;
use crate::pod::Pod;
use std::net::SocketAddr;

/// The authority that the guide's client calls: the root service.
pub const ROOT: &str = "httpbin.httpbin:14001";
/// An authority that no TrafficSplit speaks of.
pub const OTHER: &str = "other.httpbin:14001";

/// Namespace `httpbin`: a pod behind the root service `httpbin` itself, one of each version behind `httpbin-v1` and
/// `httpbin-v2`, and one behind `other`, which has nothing to do with the split.
#[derive(Debug)]
pub struct HttpbinFixture {
    /// Behind the Service `httpbin-v1`.
    pub v1: Pod,
    /// Behind the Service `httpbin-v2`.
    pub v2: Pod,
    /// Behind the root Service `httpbin`: answers what isn't split.
    pub root: Pod,
    /// Behind the Service `other`.
    pub other: Pod,
}

impl HttpbinFixture {
    /// Starts the pods.
    pub fn start() -> Result<HttpbinFixture> {
        Ok(HttpbinFixture {
            v1: Pod::start("httpbin-v1")?,
            v2: Pod::start("httpbin-v2")?,
            root: Pod::start("httpbin")?,
            other: Pod::start("other")?,
        })
    }

    /// Every service of the guide as `service.namespace`, and where its pod listens. `other` isn't among them: the
    /// TrafficSplits and Services of the guide don't speak of it.
    #[must_use]
    pub fn endpoints(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![
            ("httpbin.httpbin", self.root.address()),
            ("httpbin-v1.httpbin", self.v1.address()),
            ("httpbin-v2.httpbin", self.v2.address()),
        ]
    }
}
