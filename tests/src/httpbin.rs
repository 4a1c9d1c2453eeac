//! The Services of the canary guide.

use crate::Result;
use crate::pod::Pod;
use std::net::SocketAddr;

/// The authority of the root Service in the guide.
pub const ROOT: &str = "httpbin.httpbin:14001";
/// The authority of a Service without a TrafficSplit.
pub const OTHER: &str = "other.httpbin:14001";

/// The Services of namespace `httpbin`: the root Service `httpbin`, the backends `httpbin-v1` and `httpbin-v2`, and
/// `other`, which no split names. Each has one pod.
#[derive(Debug)]
pub struct HttpbinFixture {
    /// The pod of the Service `httpbin-v1`.
    pub v1: Pod,
    /// The pod of the Service `httpbin-v2`.
    pub v2: Pod,
    /// The pod of the root Service `httpbin`; serves requests that are not split.
    pub root: Pod,
    /// The pod of the Service `other`.
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

    /// Returns the address of each Service that the guide's objects name, by `service.namespace`; `other` is not
    /// among them.
    #[must_use]
    pub fn endpoints(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![
            ("httpbin.httpbin", self.root.address()),
            ("httpbin-v1.httpbin", self.v1.address()),
            ("httpbin-v2.httpbin", self.v2.address()),
        ]
    }
}
