//! How Envoy handles repeated and hop-by-hop request headers before HTTP filters run.
//!
//! Envoy stores some headers, its *inline headers*, at most once: Envoy appends each further value to the first value,
//! after a comma. All other repeated headers stay separate, and a filter that reads a header by name receives the first
//! value. The connection manager removes hop-by-hop headers, and headers with which only trusted proxies may control Envoy.
//!
//! The tables hold for Envoy 1.40 with all extensions and for a connection manager with default settings. Sources:
//! `INLINE_REQ_HEADERS` in `envoy/http/header_map.h`, each `RegisterCustomInlineHeader` of an extension,
//! `HeaderMapImpl::appendToHeader`, and `ConnectionManagerUtility::mutateRequestHeaders`. The end-to-end tests compare
//! the tables with a real Envoy.

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 or HTTP/3.
    Http2,
}

/// How Envoy handles a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Joins the values with this separator. Empty values are omitted.
    Joined(&'static str),
    /// Keeps the values separate. A filter that reads the header by name receives the first value.
    Separate,
    /// Removes the header.
    Removed,
}

/// The headers whose values Envoy joins with a comma, in alphabetical order.
pub const JOINED: [&str; 37] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "proxy-status",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-external-address",
    "x-envoy-is-timeout-retry",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// The headers that the connection manager removes, in alphabetical order. Exceptions: an upgrade keeps `connection` and
/// `upgrade`, and `te: trailers` stays.
///
/// `forward_client_cert_details` keeps `x-forwarded-client-cert`, and `internal_address_config` keeps the headers that
/// begin with `x-envoy-`.
pub const REMOVED: [&str; 23] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-forwarded-client-cert",
];

/// Returns how Envoy handles a header. The name must be lower case.
#[must_use]
pub fn handling(name: &str, version: HttpVersion) -> Handling {
    match name {
        // The codecs of HTTP/2 and HTTP/3 join cookies; the codec of HTTP/1 does not.
        "cookie" if version == HttpVersion::Http2 => Handling::Joined("; "),
        _ if JOINED.binary_search(&name).is_ok() => Handling::Joined(","),
        _ if REMOVED.binary_search(&name).is_ok() => Handling::Removed,
        _ => Handling::Separate,
    }
}

/// Returns the headers of a client's request as HTTP filters see them. The names must be lower case.
pub fn received<N: AsRef<[u8]>>(
    headers: impl IntoIterator<Item = (N, Vec<u8>)>,
    version: HttpVersion,
) -> Vec<(N, Vec<u8>)> {
    let headers: Vec<_> = headers.into_iter().collect();
    let is_upgrade = is_upgrade(&headers);
    let mut received: Vec<(N, Vec<u8>)> = Vec::new();
    for (name, value) in headers {
        let known = received.iter_mut().find(|(known, _)| known.as_ref() == name.as_ref());
        match (handling(str::from_utf8(name.as_ref()).unwrap_or_default(), version), known) {
            (Handling::Removed, None) if is_kept(name.as_ref(), &value, is_upgrade) => received.push((name, value)),
            (Handling::Removed, _) => {}
            (Handling::Joined(separator), Some((_, joined))) => append(joined, separator, &value),
            (Handling::Joined(_), None) | (Handling::Separate, _) => received.push((name, value)),
        }
    }
    received
}

/// Appends a value as Envoy does: an empty value has no effect, and no separator follows an empty value.
fn append(joined: &mut Vec<u8>, separator: &str, value: &[u8]) {
    if !value.is_empty() && !joined.is_empty() {
        joined.extend_from_slice(separator.as_bytes());
    }
    joined.extend_from_slice(value);
}

/// Returns whether the connection manager keeps a header of [`REMOVED`].
fn is_kept(name: &[u8], value: &[u8], is_upgrade: bool) -> bool {
    match name {
        b"connection" | b"upgrade" => is_upgrade,
        b"te" => value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

/// Returns whether a request asks for another protocol, such as WebSocket.
fn is_upgrade<N: AsRef<[u8]>>(headers: &[(N, Vec<u8>)]) -> bool {
    let values = |name: &'static [u8]| {
        headers.iter().filter(move |(own, _)| own.as_ref() == name).map(|(_, value)| value.as_slice())
    };
    let tokens = values(b"connection").flat_map(|value| value.split(|byte| *byte == b','));
    values(b"upgrade").any(|value| !value.is_empty())
        && tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::{Handling, HttpVersion, JOINED, REMOVED, handling, received};

    fn filter_sees(headers: &[(&'static str, &str)], version: HttpVersion) -> Vec<(&'static str, String)> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes().to_vec()));
        let received = received(headers, version).into_iter();
        received.map(|(name, value)| (name, String::from_utf8(value).expect("text"))).collect()
    }

    #[track_caller]
    fn assert_received(headers: &[(&'static str, &str)], version: HttpVersion, expected: &[(&'static str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!(filter_sees(headers, version), expected);
    }

    #[test]
    fn tables_are_sorted_and_disjoint() {
        assert!(JOINED.is_sorted() && REMOVED.is_sorted());
        assert!(JOINED.iter().all(|name| !REMOVED.contains(name)));
    }

    #[test]
    fn inline_headers_are_joined_at_the_place_of_the_first() {
        let headers = [("accept", "a"), ("x-user", "1"), ("accept", ""), ("x-user", "2"), ("accept", "b, c")];
        assert_received(&headers, HttpVersion::Http1, &[("accept", "a,b, c"), ("x-user", "1"), ("x-user", "2")]);
        assert_received(&[("accept", ""), ("accept", "b")], HttpVersion::Http1, &[("accept", "b")]);
    }

    #[test]
    fn cookies_are_joined_in_http2_only() {
        let cookies = [("cookie", "a=1"), ("cookie", "b=2")];
        assert_received(&cookies, HttpVersion::Http1, &cookies);
        assert_received(&cookies, HttpVersion::Http2, &[("cookie", "a=1; b=2")]);
        assert_eq!(handling("cookie", HttpVersion::Http1), Handling::Separate);
    }

    #[test]
    fn hop_by_hop_headers_are_removed_except_upgrades_and_trailers() {
        let headers = [("connection", "keep-alive"), ("keep-alive", "5"), ("upgrade", "h2c"), ("te", "gzip")];
        assert_received(&headers, HttpVersion::Http1, &[]);
        let upgrade = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert_received(&upgrade, HttpVersion::Http1, &upgrade);
        assert_received(&[("te", "trailers"), ("te", "trailers")], HttpVersion::Http2, &[("te", "trailers")]);
    }
}
