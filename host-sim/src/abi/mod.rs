//! Numbers and encodings of the Proxy-Wasm ABI.

pub(crate) mod pairs;
pub(crate) mod signature;

use std::fmt;

/// The status that a host function returns: `WasmResult` of proxy-wasm-cpp-host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Status {
    /// The call succeeded.
    Ok = 0,
    /// The named object does not exist.
    NotFound = 1,
    /// The argument is invalid, or not allowed in this phase.
    BadArgument = 2,
    /// A value cannot be serialized.
    SerializationFailure = 3,
    /// A value cannot be parsed.
    ParseFailure = 4,
    /// An expression is invalid.
    BadExpression = 5,
    /// An address is outside the guest's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The compare-and-swap number is out of date.
    CasMismatch = 8,
    /// The result has an unexpected type.
    ResultMismatch = 9,
    /// The host failed.
    InternalFailure = 10,
    /// The connection was reset.
    BrokenConnection = 11,
    /// The host does not implement the call.
    Unimplemented = 12,
}

/// The ABI version that a module is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AbiVersion {
    /// 0.1.0.
    V0_1_0,
    /// 0.2.0.
    V0_2_0,
    /// 0.2.1.
    V0_2_1,
}

/// The level of a log message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// The header maps of a stream and of callouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapType {
    HttpRequestHeaders,
    HttpRequestTrailers,
    HttpResponseHeaders,
    HttpResponseTrailers,
    GrpcReceiveInitialMetadata,
    GrpcReceiveTrailingMetadata,
    HttpCallResponseHeaders,
    HttpCallResponseTrailers,
}

/// The buffers of a stream, of callouts, and of configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferType {
    HttpRequestBody,
    HttpResponseBody,
    DownstreamData,
    UpstreamData,
    HttpCallResponseBody,
    GrpcReceiveBuffer,
    VmConfiguration,
    PluginConfiguration,
    CallData,
}

/// The directions of an HTTP stream and of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamType {
    Request,
    Response,
    Downstream,
    Upstream,
}

/// What a stream callback asks the host to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Continue,
    /// Headers and trailers are held; a body is buffered.
    Pause,
    /// A body is discarded.
    Drop,
}

/// Every ABI version.
pub(crate) const ALL: &[AbiVersion] = &[AbiVersion::V0_1_0, AbiVersion::V0_2_0, AbiVersion::V0_2_1];
/// Only ABI 0.1.0.
pub(crate) const ONLY_0_1_0: &[AbiVersion] = &[AbiVersion::V0_1_0];
/// ABI 0.2.0 and later.
pub(crate) const SINCE_0_2_0: &[AbiVersion] = &[AbiVersion::V0_2_0, AbiVersion::V0_2_1];
/// ABI 0.2.1 and later.
pub(crate) const SINCE_0_2_1: &[AbiVersion] = &[AbiVersion::V0_2_1];

/// Returns the ABI's encoding of a property path: its parts joined by NUL.
pub(crate) fn property_path(parts: &[&str]) -> Vec<u8> {
    parts.join("\0").into_bytes()
}

/// Returns a size or count as the ABI encodes it.
pub(crate) fn encode_size(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

// === impl AbiVersion ===

impl AbiVersion {
    /// Returns the version that the name of a marker export stands for.
    pub(crate) fn from_marker(export: &str) -> Option<AbiVersion> {
        Some(match export {
            "proxy_abi_version_0_1_0" => AbiVersion::V0_1_0,
            "proxy_abi_version_0_2_0" => AbiVersion::V0_2_0,
            "proxy_abi_version_0_2_1" => AbiVersion::V0_2_1,
            _ => return None,
        })
    }

    /// Returns the version number, such as `0.2.1`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            AbiVersion::V0_1_0 => "0.1.0",
            AbiVersion::V0_2_0 => "0.2.0",
            AbiVersion::V0_2_1 => "0.2.1",
        }
    }
}

// === impl StreamType ===

impl StreamType {
    pub(crate) fn from_abi(number: u32) -> Option<StreamType> {
        [StreamType::Request, StreamType::Response, StreamType::Downstream, StreamType::Upstream]
            .get(number as usize)
            .copied()
    }
}

// === impl LogLevel ===

impl LogLevel {
    pub(crate) fn from_abi(number: u32) -> Option<LogLevel> {
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Critical]
            .into_iter()
            .find(|level| *level as u32 == number)
    }
}

impl fmt::Display for LogLevel {
    /// Formats the level as Envoy's logs do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
        })
    }
}

// === impl MapType ===

impl MapType {
    pub(crate) fn from_abi(number: u32) -> Option<MapType> {
        Some(match number {
            0 => MapType::HttpRequestHeaders,
            1 => MapType::HttpRequestTrailers,
            2 => MapType::HttpResponseHeaders,
            3 => MapType::HttpResponseTrailers,
            4 => MapType::GrpcReceiveInitialMetadata,
            5 => MapType::GrpcReceiveTrailingMetadata,
            6 => MapType::HttpCallResponseHeaders,
            7 => MapType::HttpCallResponseTrailers,
            _ => return None,
        })
    }
}

// === impl BufferType ===

impl BufferType {
    pub(crate) fn from_abi(number: u32) -> Option<BufferType> {
        Some(match number {
            0 => BufferType::HttpRequestBody,
            1 => BufferType::HttpResponseBody,
            2 => BufferType::DownstreamData,
            3 => BufferType::UpstreamData,
            4 => BufferType::HttpCallResponseBody,
            5 => BufferType::GrpcReceiveBuffer,
            6 => BufferType::VmConfiguration,
            7 => BufferType::PluginConfiguration,
            8 => BufferType::CallData,
            _ => return None,
        })
    }
}

// === impl Action ===

impl Action {
    /// Returns the action of a headers or trailers callback: 0 continues, any other number pauses.
    pub(crate) fn from_headers_callback(number: u32) -> Action {
        if number == 0 { Action::Continue } else { Action::Pause }
    }

    /// Returns the action of a body callback: 0 continues, 1 and 2 buffer the body, any other number discards it.
    pub(crate) fn from_body_callback(number: u32) -> Action {
        match number {
            0 => Action::Continue,
            1 | 2 => Action::Pause,
            _ => Action::Drop,
        }
    }
}
