//! HTTP and gRPC callouts that wait for a response of the test.

use crate::http::headers::Headers;
use std::time::Duration;

/// An HTTP callout without a response yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpCall {
    /// The token that identifies the callout.
    pub token: u32,
    /// The target Envoy cluster.
    pub cluster: String,
    /// The request headers.
    pub headers: Headers,
    /// The request body.
    pub body: Vec<u8>,
    /// The request trailers.
    pub trailers: Headers,
    /// The timeout, or `None` without one.
    pub timeout: Option<Duration>,
    /// The root context that receives the callback.
    pub(crate) root: u32,
    /// The time of the call, in nanoseconds since 1970.
    pub(crate) started_at: u64,
}

/// An open gRPC call or stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcCall {
    /// The token that identifies the callout.
    pub token: u32,
    /// Whether the callout is a stream, on which the filter may send more messages.
    pub is_stream: bool,
    /// The target Envoy cluster, or a serialized `envoy.config.core.v3.GrpcService`.
    pub upstream: Vec<u8>,
    /// The service, as `package.Service`.
    pub service: String,
    /// The method.
    pub method: String,
    /// The initial metadata.
    pub metadata: Headers,
    /// The messages that the filter sent.
    pub messages: Vec<Vec<u8>>,
    /// Whether the filter closed its side.
    pub ended: bool,
    /// The timeout, or `None` without one.
    pub timeout: Option<Duration>,
    /// The root context that receives the callbacks.
    pub(crate) root: u32,
}

/// The last token of each kind of callout. Their lowest bits encode the kind, as in Envoy.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub http: u32,
    pub grpc_call: u32,
    pub grpc_stream: u32,
}
