//! Hostile requests and configurations, as tables. The simulator and a real Envoy run the same rows.

use serde_json::{Value, json};
use std::fmt::Write;

/// The request headers that the filter writes.
pub const OWN_HEADERS: [&str; 4] =
    ["x-traffic-split-cluster", "x-traffic-split-mirror", "x-traffic-split-set-cookie", "x-traffic-split-backend"];

/// A hostile request.
#[derive(Clone, Debug)]
pub struct HostileRequest {
    /// What is hostile.
    pub about: String,
    /// The method.
    pub method: &'static str,
    /// The authority instead of the host under test.
    pub authority: Option<Vec<u8>>,
    /// The path with its query.
    pub path: Vec<u8>,
    /// Further headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A hostile plugin configuration.
#[derive(Clone, Debug)]
pub struct HostileConfiguration {
    /// What is hostile.
    pub about: &'static str,
    /// The configuration.
    pub text: String,
    /// Whether the filter accepts it.
    pub is_valid: bool,
}

// === impl HostileRequest ===

impl HostileRequest {
    fn new(about: impl Into<String>) -> Self {
        Self { about: about.into(), method: "GET", authority: None, path: b"/json".to_vec(), headers: Vec::new() }
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn authority(mut self, authority: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    fn path(mut self, path: impl Into<Vec<u8>>) -> Self {
        self.path = path.into();
        self
    }

    fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the request as HTTP/1.1 that asks to close the connection. `host` is the host under test.
    #[must_use]
    pub fn to_http1(&self, host: &str) -> Vec<u8> {
        let mut bytes = [self.method.as_bytes(), b" ", &self.path, b" HTTP/1.1\r\nhost: "].concat();
        bytes.extend_from_slice(self.authority.as_deref().unwrap_or(host.as_bytes()));
        bytes.extend_from_slice(b"\r\nconnection: close\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// Returns the hostile requests. `forged` is a cluster that exists, and that no rule selects.
#[must_use]
pub fn requests(forged: &str) -> Vec<HostileRequest> {
    let mut rows = Vec::new();
    for name in OWN_HEADERS {
        let row = |what: &str| HostileRequest::new(format!("{name} {what}"));
        rows.extend([
            row("once").header(name, forged),
            row("repeated").header(name, "").header(name, forged).header(name, forged),
            row("in odd case").header(&name.to_ascii_uppercase(), forged),
            row("in both cases").header(name, "a").header(&name.to_ascii_uppercase(), forged),
            row("empty").header(name, ""),
            row("of 58 KB").header(name, "c".repeat(58_000)),
            row("with a tab").header(name, "a\tb"),
            row("not UTF-8").header(name, b"\xff\xfe"),
        ]);
    }
    // Each header that the filter reads: for matches, stickiness, an override, and the port.
    for name in ["x-user", "x-version", "x-regex", "cookie", "x-forwarded-proto"] {
        for value in [&b"\x01"[..], b"\0", b"\x7f", b"a\tb", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"", b"=;=,\"\\"] {
            rows.push(HostileRequest::new(format!("{name}: {}", value.escape_ascii())).header(name, value));
        }
        rows.push(HostileRequest::new(format!("{name} of 58 KB")).header(name, "c".repeat(58_000)));
        rows.push(HostileRequest::new(format!("{name} 90 times")).header(name, "x"));
        for _ in 1..90 {
            rows.last_mut().expect("the last row").headers.push((name.to_owned(), b"x".to_vec()));
        }
    }
    let long_label = "a".repeat(10_000);
    for authority in [
        &b""[..],
        b":",
        b":14001",
        b".",
        b"..",
        b"[::1]",
        b"[::1]:14001",
        b"[::1",
        b"::1",
        b"httpbin.httpbin:14001:14001",
        b"httpbin.httpbin:",
        b"httpbin.httpbin:0",
        b"httpbin.httpbin:65536",
        b"httpbin.httpbin:-1",
        b"httpbin.httpbin:99999999999999999999999999",
        b"httpbin.httpbin:14001,other",
        b"user:password@httpbin.httpbin:14001",
        b"httpbin.httpbin\xff",
        b"h\xd1\x82tpbin.httpbin",
        b"httpbin.httpbin\x01",
        b"xn--httpbin-.httpbin",
        b"httpbin%2ehttpbin",
        b"*",
        long_label.as_bytes(),
    ] {
        let shown: String = authority.escape_ascii().to_string().chars().take(60).collect();
        rows.push(HostileRequest::new(format!("the authority `{shown}`")).authority(authority));
    }
    let (mut cookies, mut pairs) = (HostileRequest::new("5,000 Cookie headers"), String::new());
    for number in 0..5000 {
        _ = write!(pairs, "c{number}=1; ");
        cookies = cookies.header("cookie", format!("c{number}=1"));
    }
    rows.extend([
        cookies,
        HostileRequest::new("5,000 cookies").header("cookie", format!("{pairs}user=alice")),
        HostileRequest::new("5,000 semicolons").header("cookie", ";".repeat(5000)),
        HostileRequest::new("a path of 58 KB").path(format!("/{}", "a".repeat(58_000))),
        HostileRequest::new("a path of 70 KB").path(format!("/{}", "a".repeat(70_000))),
        HostileRequest::new("a query of 58 KB").path(format!("/?{}", "a".repeat(58_000))),
        HostileRequest::new("a path of 8,000 bytes for a nested repetition").path(format!("/{}!", "a".repeat(8000))),
        HostileRequest::new("a path that is not UTF-8").path(b"/\xff\xfe"),
        HostileRequest::new("a path with an encoded NUL").path("/%00%ff%2e%2e/"),
        HostileRequest::new("a path without a slash").path("*"),
        HostileRequest::new("an absolute path of another host")
            .authority("other.example.com")
            .path("http://other.example.com/json"),
        HostileRequest::new("8,000 bytes for a nested repetition").header("x-regex", format!("{}!", "a".repeat(8000))),
        HostileRequest::new("the method OPTIONS *").method("OPTIONS").path("*"),
        HostileRequest::new("an unknown method").method("FROBNICATE"),
        HostileRequest::new("an upgrade to websocket").header("connection", "upgrade").header("upgrade", "websocket"),
        HostileRequest::new("an upgrade to h2c")
            .header("connection", "upgrade, http2-settings")
            .header("upgrade", "h2c"),
        HostileRequest::new("an upgrade to TLS").header("connection", "upgrade").header("upgrade", "TLS/1.2"),
        HostileRequest::new("our header named in Connection")
            .header("connection", OWN_HEADERS[0])
            .header(OWN_HEADERS[0], forged),
    ]);
    rows
}

/// Returns requests that only HTTP/1 can express, for `host`: other versions, invalid syntax, and CONNECT.
#[must_use]
pub fn raw_requests(host: &str) -> Vec<(&'static str, Vec<u8>)> {
    let rows: [(&str, String); 14] = [
        ("HTTP/1.0", format!("GET /json HTTP/1.0\r\nhost: {host}\r\n\r\n")),
        ("HTTP/1.0 without Host", "GET /json HTTP/1.0\r\n\r\n".into()),
        ("no Host", "GET /json HTTP/1.1\r\nconnection: close\r\n\r\n".into()),
        ("two Hosts", format!("GET /json HTTP/1.1\r\nhost: {host}\r\nhost: a\r\nconnection: close\r\n\r\n")),
        ("CONNECT", format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")),
        ("CONNECT without a port", format!("CONNECT a HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")),
        (
            "another authority in the request line",
            format!("GET http://a.b:1:2/json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        ),
        ("the preface of HTTP/2", "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n".into()),
        (
            "two body lengths",
            format!(
                "POST /json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "our header as a trailer",
            format!(
                "POST /json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-traffic-split-cluster: a\r\n\r\n"
            ),
        ),
        ("a header without a name", format!("GET /json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n: a\r\n\r\n")),
        (
            "a folded header",
            format!(
                "GET /json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-user: a\r\n x-traffic-split-cluster: b\r\n\r\n"
            ),
        ),
        (
            "a space before the colon",
            format!("GET /json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-traffic-split-cluster : a\r\n\r\n"),
        ),
        ("a line that is no header", format!("GET /json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nabc\r\n\r\n")),
    ];
    rows.map(|(about, text)| (about, text.into_bytes())).into()
}

/// Returns a split of `httpbin/httpbin` with all weight on `httpbin-v1`.
fn split() -> Value {
    json!({
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"name": "http-split", "namespace": "httpbin", "annotations": {}},
        "spec": {"service": "httpbin", "backends": [{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]},
    })
}

/// Returns the configuration of the hostile requests: the filter reads every kind of header, and the patterns take as
/// much work as the limits allow. Only `httpbin-v1` receives requests.
#[must_use]
pub fn configuration_of_requests() -> String {
    let pattern = "(a*)*(a*)*(a|aa)*b";
    let mut matched = split();
    matched["metadata"]["name"] = "a-matched".into();
    matched["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "worst"}]);
    let mut all = split();
    all["metadata"]["annotations"] = json!({
        "traffic-split/override-header": "x-override", "traffic-split/sticky-header": "x-user",
        "traffic-split/sticky-cookie": "user",
    });
    json!({
        "backendHeader": OWN_HEADERS[3],
        "httpRouteGroups": [{
            "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
            "metadata": {"name": "worst", "namespace": "httpbin"},
            "spec": {"matches": [
                {"pathRegex": format!("/{pattern}")},
                {"headers": {"x-regex": pattern, "x-version": ".*"}},
                {"headers": {"cookie": format!("(.*;)*{pattern}")}},
            ]},
        }],
        "trafficSplits": [matched, all],
    })
    .to_string()
}

/// Returns the hostile configurations. Each valid one still sends all requests for `httpbin.httpbin` to `httpbin-v1`.
#[must_use]
pub fn configurations() -> Vec<HostileConfiguration> {
    let with = |change: &dyn Fn(&mut Value, &mut Value)| {
        let (mut configuration, mut split) = (json!({}), split());
        change(&mut configuration, &mut split);
        configuration["trafficSplits"] = json!([split]);
        configuration.to_string()
    };
    let good = with(&|_, _| {});
    let invalid = |about, text| HostileConfiguration { about, text, is_valid: false };
    let valid = |about, text| HostileConfiguration { about, text, is_valid: true };
    let weight = |text: &str| good.replace(r#""weight":1"#, &format!(r#""weight":{text}"#));
    let name = |name: &str| with(&|_, split| split["metadata"]["name"] = name.into());
    let backend = |name: &str| with(&|_, split| split["spec"]["backends"][1]["service"] = name.into());
    let key = |key: &str, value: &str| with(&|configuration, _| configuration[key] = value.into());
    let cookie = |attributes: &str| {
        with(&|_, split| {
            split["metadata"]["annotations"] = json!({
                "traffic-split/sticky-cookie": "id", "traffic-split/sticky-cookie-attributes": attributes,
            });
        })
    };
    let nested = |open: &str, close: &str, depth: usize| {
        good.replacen('{', &format!(r#"{{"x":{}0{},"#, open.repeat(depth), close.repeat(depth)), 1)
    };
    vec![
        invalid("100,000 arrays in each other", "[".repeat(100_000)),
        invalid("100,000 objects in each other", nested(r#"{"a":"#, "}", 100_000)),
        invalid("200 arrays in an unknown key", nested("[", "]", 200)),
        invalid("a weight of 1e400", weight("1e400")),
        invalid("a weight of 400 digits", weight(&"9".repeat(400))),
        invalid("a weight of 9223372036854775807", weight("9223372036854775807")),
        invalid("a negative weight", weight("-1")),
        invalid("a weight that is an object", weight("{}")),
        invalid("a weight with an exponent of 20 digits", weight(r#""1e99999999999999999999""#)),
        invalid("the key trafficSplits twice", good.replacen('{', r#"{"trafficSplits":[],"#, 1)),
        invalid("a backend's weight twice", good.replacen(r#""weight":1"#, r#""weight":1,"weight":0"#, 1)),
        invalid("a NUL after the configuration", format!("{good}\0")),
        invalid("a NUL in a Service's name", backend("httpbin-v2\0")),
        invalid("a NUL in a split's name", name("http-split\0")),
        invalid("a look-alike of a Service's name", backend("httpb\u{456}n-v2")),
        invalid("a Service's name that names another cluster", backend("httpbin-v1|80||evil")),
        invalid("a Service's name with a line break", backend("httpbin-v2\r\nx-evil: 1")),
        invalid("a Service's name with a placeholder", backend("{port}")),
        invalid("a Service's name of 10 KB", backend(&"a".repeat(10_000))),
        invalid("a split's name with a metric label", name("a;.;backend=.=evil;.;")),
        invalid("a split's name with a quote and a line break", name("a\"} 1\nevil{b=\"")),
        invalid("the header name `host`", key("clusterHeader", "host")),
        invalid("a header name with a line break", key("clusterHeader", "x-a\r\nx-evil")),
        invalid("an empty header name", key("clusterHeader", "")),
        invalid("a header name that is not ASCII", key("backendHeader", "x-\u{e4}")),
        invalid("a pseudo-header as a header name", key("mirrorHeader", ":path")),
        invalid("a cluster template with a line break", key("cluster", "{service}\r\nx-evil: 1")),
        invalid("a cluster template without a Service", key("cluster", "evil")),
        invalid("cookie attributes with a line break", cookie("Path=/\r\nSet-Cookie: evil=1")),
        valid("cookie attributes with a comma", cookie("Path=/, evil=1")),
        invalid(
            "the API version of another group",
            good.replace("split.smi-spec.io", "split.smi-spec.io.evil.example"),
        ),
        invalid("text that is not JSON", "<html></html>".into()),
        invalid("an array of a million nulls", format!("[{}null]", "null,".repeat(1_000_000))),
        valid("a megabyte of white space", format!("{}{good}", " ".repeat(1_000_000))),
    ]
}

/// Returns a configuration of 50 MB: a valid configuration, and a list of names.
#[must_use]
pub fn configuration_of_50_mb() -> HostileConfiguration {
    let names = format!(
        r#"{{"excludedNamespaces":[{}"a"],"#,
        r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","#.repeat(1_000_000)
    );
    let text = json!({"trafficSplits": [split()]}).to_string().replacen('{', &names, 1);
    HostileConfiguration { about: "50 MB of names", text, is_valid: false }
}
