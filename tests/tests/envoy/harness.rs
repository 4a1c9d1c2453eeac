//! Tests of the harness: Envoy without the filter, pods that return their requests, and loads that count all
//! failures.

use e2e::client::{Client, Load};
use e2e::envoy::Envoy;
use e2e::httpbin::{HttpbinFixture, OTHER, ROOT};
use e2e::pod::Pod;
use e2e::scratch::{Scratch, replace};
use e2e::{Result, is_share};
use std::net::SocketAddr;

const HTTP2: &str = "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}";

fn cluster(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "
  - name: {name}
    type: STATIC
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}{more}",
        address.ip(),
        address.port()
    )
}

/// Returns a bootstrap with Envoy's own weighted clusters: v1 and v2 equally for any host but `other.httpbin`.
fn bootstrap(httpbin: &HttpbinFixture) -> String {
    let clusters = [
        cluster("v1", httpbin.v1.address(), ""),
        cluster("v2", httpbin.v2.address(), HTTP2),
        cluster("other", httpbin.other.address(), ""),
    ];
    format!(
        "
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
static_resources:
  listeners:
  - name: outbound
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: outbound
          route_config:
            name: outbound
            virtual_hosts:
            - name: other
              domains: ['other.httpbin', 'other.httpbin:*']
              routes: [{{match: {{prefix: /}}, route: {{cluster: other}}}}]
            - name: any
              domains: ['*']
              routes:
              - match: {{prefix: /}}
                route: {{weighted_clusters: {{clusters: [{{name: v1, weight: 50}}, {{name: v2, weight: 50}}]}}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:{}
",
        clusters.concat()
    )
}

#[test]
fn envoy_serves_the_pods_and_the_load_counts_every_answer() -> Result<()> {
    let (httpbin, scratch) = (HttpbinFixture::start()?, Scratch::new()?);
    let mut envoy = Envoy::start(&bootstrap(&httpbin), scratch.path())?;
    let port = envoy.listener_port("outbound")?;

    let load = Load::start(port, ROOT, 4);
    load.more(1000)?;
    let tally = load.stop();
    let (v1, v2) = (tally.of("httpbin-v1"), tally.of("httpbin-v2"));
    assert_eq!(tally.failed, 0, "{:?}", tally.errors);
    assert_eq!(tally.statuses.into_iter().collect::<Vec<_>>(), [(200, v1 + v2)]);
    assert_eq!(tally.connections, 4);
    assert!(is_share(v1, v1 + v2, 0.5, 5.0), "{v1} of {}", v1 + v2);
    assert_eq!((httpbin.v1.requests(), httpbin.v2.requests()), (v1, v2), "v2's Envoy cluster speaks HTTP/2");
    assert_eq!((httpbin.root.requests(), httpbin.other.requests()), (0, 0));

    assert_eq!(envoy.wait_for_stat("cluster.v1.upstream_rq_200", |count| count >= v1)?, v1);
    assert_eq!(envoy.stat("listener_manager.listener_modified")?, 0);
    let misspelt = envoy.stat("listener_manager.listener_modifeid").expect_err("no such stat");
    assert_eq!(misspelt.to_string(), "Envoy has no stat listener_manager.listener_modifeid");
    assert!(envoy.memory_allocated()? > 1_000_000);
    envoy.check_running()
}

#[test]
fn pod_returns_the_request_it_received() -> Result<()> {
    let (httpbin, scratch) = (HttpbinFixture::start()?, Scratch::new()?);
    let envoy = Envoy::start(&bootstrap(&httpbin), scratch.path())?;
    let mut client = Client::new(envoy.listener_port("outbound")?);

    let headers: &[(&str, &[u8])] = &[("x-twice", b"a"), ("x-twice", b"b"), ("x-bytes", b"\xff\xfe")];
    let answer = client.get(OTHER, "/json?a=b", headers)?;
    assert_eq!((answer.status, answer.pod().as_str()), (200, httpbin.other.name()));
    assert_eq!(answer.received("host"), [OTHER]);
    assert_eq!(answer.received("x-twice"), ["a", "b"]);
    assert_eq!(answer.received("x-bytes"), ["\u{fffd}\u{fffd}"]);
    assert_eq!(httpbin.other.last_request()["path"], "/json?a=b");

    assert_eq!(client.get(OTHER, "/status/503", &[])?.status, 503);
    assert_eq!(client.connections(), 1);
    // The client sends invalid bytes unchanged, and Envoy rejects them.
    assert_eq!(client.send_raw(b"GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n")?.status, 400);
    Ok(())
}

#[test]
fn failures_are_counted_and_described() -> Result<()> {
    let pod = Pod::start("httpbin-v1")?;
    let load = Load::start(pod.address().port(), ROOT, 2);
    load.more(10)?;
    drop(pod);
    load.wait_until("a failure", |tally| tally.failed > 0)?;
    let tally = load.stop();
    assert!(!tally.errors.is_empty());
    assert!(tally.of("httpbin-v1") >= 10);
    Ok(())
}

#[test]
fn rejected_bootstrap_is_an_error_with_the_reason() -> Result<()> {
    let scratch = Scratch::new()?;
    let error = Envoy::start("admin: {no_such_field: 1}\n", scratch.path()).expect_err("the bootstrap is invalid");
    assert!(error.to_string().contains("no_such_field"), "{error}");
    Ok(())
}

#[test]
fn file_replacement_leaves_no_temporary_file() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.join("ecds.yaml");
    replace(&path, "old")?;
    replace(&path, "new")?;
    assert_eq!(std::fs::read_to_string(&path)?, "new");
    assert_eq!(std::fs::read_dir(scratch.path())?.count(), 1);
    Ok(())
}
