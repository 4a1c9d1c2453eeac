//! The tables of `envoy-request-headers`, compared with a real Envoy: a filter receives each header of the tables.

use e2e::client::Client;
use e2e::envoy::Envoy;
use e2e::scratch::Scratch;
use e2e::{Error, Result};
use envoy_request_headers::{HttpVersion, JOINED, REMOVED, received};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Headers that are in neither table: Envoy keeps their values apart.
const SEPARATE: [&str; 24] = [
    "accept-charset",
    "accept-language",
    "baggage",
    "content-language",
    "cookie",
    "date",
    "forwarded",
    "grpc-encoding",
    "link",
    "priority",
    "range",
    "server",
    "set-cookie",
    "traceparent",
    "tracestate",
    "trailer",
    "warning",
    "x-b3-traceid",
    "x-envoy-original-dst-host",
    "x-ot-span-context",
    "x-real-ip",
    "x-requested-with",
    "x-user",
    "x-version",
];

/// A connection manager with default settings, and a filter that responds with the request headers.
const BOOTSTRAP: &str = "
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 0}}
static_resources:
  listeners:
  - name: outbound
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: outbound
          route_config:
            name: outbound
            virtual_hosts: [{name: any, domains: ['*'], routes: [{match: {prefix: /}, direct_response: {status: 404}}]}]
          http_filters:
          - name: envoy.filters.http.lua
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code:
                inline_string: |
                  function envoy_on_request(request)
                    local lines = {}
                    for name, value in pairs(request:headers()) do
                      lines[#lines + 1] = name .. ': ' .. value
                    end
                    request:respond({[':status'] = '200'}, table.concat(lines, '\\n'))
                  end
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
";

type Headers = Vec<(String, Vec<u8>)>;

/// Returns the requests of the test: each header twice, empty values, and the exceptions of the tables.
fn requests() -> Vec<Vec<(&'static str, &'static str)>> {
    let repeated = |name| vec![(name, "a"), ("x-between", "c"), (name, "b")];
    let mut requests: Vec<_> = JOINED.into_iter().chain(REMOVED).chain(SEPARATE).map(repeated).collect();
    // Envoy supports only `chunked`, and then reads a body.
    requests.retain(|headers| headers[0].0 != "transfer-encoding");
    requests.extend([
        vec![("accept", "a"), ("accept", ""), ("accept", "b")],
        vec![("accept", ""), ("accept", "b")],
        vec![("accept", "a, b"), ("accept", "c"), ("accept", "d")],
        vec![("te", "trailers"), ("te", "trailers")],
        vec![("te", "trailers")],
        vec![("te", "gzip")],
        vec![("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
    ]);
    requests
}

/// Returns the headers in the response of the filter, except those that a connection manager adds.
fn of_filter(text: &str, sent: &[(&str, &str)]) -> Headers {
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let sent_or_unknown = lines.filter(|(name, _)| sent.iter().any(|(own, _)| own == name));
    sent_or_unknown.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect()
}

/// Returns the headers by the table. The order of different headers is not compared.
fn by_table(sent: &[(&str, &str)], version: HttpVersion) -> Headers {
    let sent = sent.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    received(sent, version)
}

fn assert_same(mut by_envoy: Headers, mut by_table: Headers, about: &str) {
    // The sort is stable: the values of one header keep their order.
    by_envoy.sort_by(|(one, _), (other, _)| one.cmp(other));
    by_table.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(by_envoy, by_table, "{about}");
}

#[test]
fn http1_filter_receives_headers_as_the_tables_say() -> Result<()> {
    let scratch = Scratch::new()?;
    let envoy = Envoy::start(BOOTSTRAP, scratch.path())?;
    let mut client = Client::new(envoy.listener_port("outbound")?);
    for sent in requests() {
        let bytes: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let answer = client.get("any", "/", &bytes)?;
        assert_eq!(answer.status, 200, "{sent:?}");
        let by_envoy = of_filter(&answer.text(), &sent);
        assert_same(by_envoy, by_table(&sent, HttpVersion::Http1), &format!("{sent:?}"));
    }
    Ok(())
}

/// Sends a request by HTTP/2 and returns the response's text.
async fn over_http2(port: u16, headers: &[(&str, &str)]) -> Result<String> {
    let failed = |error: hyper::Error| Error(error.to_string());
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection);
    let mut request = Request::get("http://any/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Error(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn http2_filter_receives_headers_as_the_tables_say() -> Result<()> {
    let scratch = Scratch::new()?;
    let envoy = Envoy::start(BOOTSTRAP, scratch.path())?;
    let port = envoy.listener_port("outbound")?;
    let runtime = Runtime::new()?;
    for sent in requests() {
        // HTTP/2 has no hop-by-hop headers (RFC 9113, section 8.2.2), except `te: trailers`.
        let hop_by_hop = ["connection", "keep-alive", "proxy-connection", "upgrade", "te"];
        if hop_by_hop.contains(&sent[0].0) && sent[0].1 != "trailers" {
            continue;
        }
        let text = runtime.block_on(over_http2(port, &sent))?;
        assert_same(of_filter(&text, &sent), by_table(&sent, HttpVersion::Http2), &format!("{sent:?}"));
    }
    Ok(())
}

#[test]
fn upgrade_that_envoy_allows_keeps_its_headers() -> Result<()> {
    let scratch = Scratch::new()?;
    let allowed = BOOTSTRAP.replace(
        "          route_config:",
        "          upgrade_configs: [{upgrade_type: websocket}]\n          route_config:",
    );
    let envoy = Envoy::start(&allowed, scratch.path())?;
    let sent = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
    let bytes = sent.map(|(name, value)| (name, value.as_bytes()));
    let answer = Client::new(envoy.listener_port("outbound")?).get("any", "/", &bytes)?;
    assert_same(of_filter(&answer.text(), &sent), by_table(&sent, HttpVersion::Http1), "an upgrade");
    Ok(())
}
