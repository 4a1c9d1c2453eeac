//! The numbers and encodings of the Proxy-Wasm ABI, 0.2.1.

use std::fmt;

/// What a host function answers: `WasmResult` of the ABI's reference host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Status {
    /// It did what was asked.
    Ok = 0,
    /// There is no such thing.
    NotFound = 1,
    /// An argument is none that could be meant, or not now.
    BadArgument = 2,
    /// A value could not be encoded.
    SerializationFailure = 3,
    /// A value could not be decoded.
    ParseFailure = 4,
    /// An expression is none.
    BadExpression = 5,
    /// The guest named memory that it doesn't have.
    InvalidMemoryAccess = 6,
    /// There is nothing in it.
    Empty = 7,
    /// Somebody else changed the value meanwhile.
    CasMismatch = 8,
    /// The result isn't what was expected.
    ResultMismatch = 9,
    /// The host could not do it.
    InternalFailure = 10,
    /// The connection broke.
    BrokenConnection = 11,
    /// The host doesn't do such things.
    Unimplemented = 12,
}

/// The versions of the ABI that modules are made for.
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

/// How serious a log message is.
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

/// The two directions of an HTTP stream, and of a TCP one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamType {
    Request,
    Response,
    Downstream,
    Upstream,
}

/// What a callback of a stream wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Continue,
    /// Headers and trailers wait, a body is collected.
    Pause,
    /// A body is not even collected.
    Drop,
}

// === impl AbiVersion ===

impl AbiVersion {
    /// By the export that marks it.
    pub(crate) fn from_marker(export: &str) -> Option<AbiVersion> {
        Some(match export {
            "proxy_abi_version_0_1_0" => AbiVersion::V0_1_0,
            "proxy_abi_version_0_2_0" => AbiVersion::V0_2_0,
            "proxy_abi_version_0_2_1" => AbiVersion::V0_2_1,
            _ => return None,
        })
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
    /// As Envoy's logs have it.
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
    /// Of headers and trailers: 0 continues, whatever else pauses.
    pub(crate) fn of_headers(number: u32) -> Action {
        if number == 0 { Action::Continue } else { Action::Pause }
    }

    /// Of a body: 0 continues, 1 and 2 collect it, whatever else drops it.
    pub(crate) fn of_body(number: u32) -> Action {
        match number {
            0 => Action::Continue,
            1 | 2 => Action::Pause,
            _ => Action::Drop,
        }
    }
}

/// Header pairs as bytes: their number, the sizes of each name and value, then each with a NUL behind it; no pairs are
/// no bytes. All numbers are 4 bytes, little-endian.
pub(crate) fn encode_pairs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::from(number(pairs.len()));
    for (name, value) in pairs {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for (name, value) in pairs {
        bytes.extend([name, &[0][..], value, &[0]].concat());
    }
    bytes
}

/// Envoy's limits for pairs that it is given.
const MOST_PAIRS: usize = 1024;
const MOST_PAIRS_BYTES: usize = 1 << 20;

/// The pairs that [`encode_pairs`] wrote; none if the bytes aren't exactly those of pairs, or are too many.
pub(crate) fn decode_pairs(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let decode = || -> Option<Vec<_>> {
        let count = number(0).filter(|count| *count <= MOST_PAIRS && bytes.len() <= MOST_PAIRS_BYTES)?;
        let mut at = 4 + 8 * count;
        let mut part = |size: usize| {
            let end = at.checked_add(size)?;
            let part = bytes.get(at..end)?.to_vec();
            at = end + 1;
            (bytes.get(end) == Some(&0)).then_some(part)
        };
        let pairs: Option<Vec<_>> =
            (0..count).map(|pair| Some((part(number(4 + 8 * pair)?)?, part(number(8 + 8 * pair)?)?))).collect();
        pairs.filter(|_| at == bytes.len())
    };
    decode().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{decode_pairs, encode_pairs};

    #[test]
    fn pairs_come_back_as_they_went() {
        for pairs in [
            vec![],
            vec![(b"a".to_vec(), b"".to_vec())],
            vec![(b":path".to_vec(), b"/\xff".to_vec()), (b"".to_vec(), b"x\0y".to_vec())],
        ] {
            assert_eq!(decode_pairs(&encode_pairs(&pairs)), pairs);
        }
    }

    #[test]
    fn bytes_that_are_not_exactly_those_of_pairs_are_no_pairs() {
        let bytes = encode_pairs(&[(b"name".to_vec(), b"value".to_vec())]);
        for end in 0..bytes.len() {
            assert_eq!(decode_pairs(&bytes[..end]), [], "{end} bytes");
        }
        assert_eq!(decode_pairs(&[&bytes[..], b"x"].concat()), []);
        let mut unended = bytes.clone();
        unended[4 + 8 + 4] = b'x';
        assert_eq!(decode_pairs(&unended), []);
        assert_eq!(decode_pairs(&[0xff; 64]), []);
    }

    #[test]
    fn as_many_pairs_come_through_as_envoy_takes() {
        let pairs = |count| vec![(b"a".to_vec(), b"b".to_vec()); count];
        assert_eq!(decode_pairs(&encode_pairs(&pairs(1024))).len(), 1024);
        assert_eq!(decode_pairs(&encode_pairs(&pairs(1025))).len(), 0);
        let large = |size| vec![(b"a".to_vec(), vec![b'b'; size])];
        assert_eq!(decode_pairs(&encode_pairs(&large((1 << 20) - 15))).len(), 1);
        assert_eq!(decode_pairs(&encode_pairs(&large((1 << 20) - 14))).len(), 0);
    }
}
