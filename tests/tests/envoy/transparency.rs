//! Requests, responses and copies pass a real Envoy with the rendered bootstrap as if there were no proxy.

use crate::render::{Rendered, config};
use e2e::client::{Client, TIMEOUT};
use e2e::httpbin::ROOT;
use e2e::pod::Pod;
use e2e::{Result, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends a request and returns the response up to the end of the connection.
fn exchange(port: u16, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

/// Returns the values of a header in the last request that a pod received.
fn received(pod: &Pod, name: &str) -> Vec<String> {
    let request = pod.last_request();
    let headers = request["headers"].as_array().cloned().unwrap_or_default();
    let values = headers.iter().filter(|header| header[0] == name);
    values.filter_map(|header| header[1].as_str().map(str::to_owned)).collect()
}

#[test]
fn request_and_response_pass_unchanged() -> Result<()> {
    let rendered =
        Rendered::start_with(&config()?, &["--http10"], |guide, scratch| guide.traffic_split(scratch, 100, 0))?;
    rendered.configure()?;
    let v1 = &rendered.httpbin.v1;

    // A server ignores offers of unknown protocols.
    for offer in ["TLS/1.2", "TLS/1.0, TLS/1.2", "h2c", "foo", "", "websocket2", "web", "HTTP/2.0, foo"] {
        let request =
            format!("GET /json HTTP/1.1\r\nhost: {ROOT}\r\nconnection: upgrade, close\r\nupgrade: {offer}\r\n\r\n");
        let response = exchange(rendered.port, &request)?;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{offer}: {response}");
        assert!(response.contains("\r\npod: httpbin-v1-"), "{offer}: {response}");
        assert_eq!((received(v1, "upgrade"), received(v1, "connection")), (vec![], vec![]), "{offer}");
    }
    let response = exchange(rendered.port, &format!("GET /json HTTP/1.0\r\nhost: {ROOT}\r\n\r\n"))?;
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{response}");
    assert!(response.contains("\r\npod: httpbin-v1-"), "{response}");
    let response = exchange(rendered.port, "GET /json HTTP/1.0\r\n\r\n")?;
    assert!(response.starts_with("HTTP/1.0 400 "), "no host selects no Service: {response}");

    let mut client = Client::new(rendered.port);
    let id: &[u8] = b"11111111-2222-4333-8444-555555555555";
    let headers: &[(&str, &[u8])] = &[("x-request-id", id), ("a_b", b"1"), ("x-forwarded-for", b"203.0.113.7")];
    let path = "/a/../b//c/%2e%2F;d?e=/../f";
    let answer = client.get("httpbin.httpbin.:14001", path, headers)?;
    assert_eq!((answer.status, answer.version().as_str()), (200, "httpbin-v1"));
    assert_eq!(
        (&v1.last_request()["path"], answer.received("host")),
        (&json!(path), vec!["httpbin.httpbin.:14001".into()])
    );
    for (name, value) in headers {
        assert_eq!(answer.received(name), [String::from_utf8_lossy(value)], "{name}");
    }
    // The pod sends no `server`.
    assert_eq!(answer.header("server"), None);
    let upload = format!("POST /json HTTP/1.1\r\nhost: {ROOT}\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx");
    assert_eq!(client.send_raw(upload.as_bytes())?.received("expect"), ["100-continue"]);
    Ok(())
}

#[test]
fn http_1_0_gets_426_by_default() -> Result<()> {
    let rendered = Rendered::start_with(&config()?, &[], |guide, scratch| guide.traffic_split(scratch, 100, 0))?;
    let response = exchange(rendered.port, &format!("GET /json HTTP/1.0\r\nhost: {ROOT}\r\n\r\n"))?;
    assert!(response.starts_with("HTTP/1.0 426 ") || response.starts_with("HTTP/1.1 426 "), "{response}");
    Ok(())
}

#[test]
fn copy_equals_the_request_and_is_marked() -> Result<()> {
    let rendered = Rendered::start_with(&config()?, &[], |guide, scratch| {
        let split = fs::read_to_string(guide.traffic_split(scratch, 1, 0)?)?;
        let annotations = "metadata:\n  annotations:\n    traffic-split/mirror: httpbin-v2=100\n    \
                           traffic-split/sticky-cookie: version-of\n";
        assert_eq!(split.matches("metadata:\n").count(), 1);
        let path = scratch.join("mirrored.yaml");
        fs::write(&path, split.replace("metadata:\n", annotations))?;
        Ok(path)
    })?;
    rendered.configure()?;
    let [v1, v2] = [&rendered.httpbin.v1, &rendered.httpbin.v2];
    let mut client = Client::new(rendered.port);
    for host in [ROOT, "HTTPBIN.httpbin.svc.cluster.local.:14001", "httpbin.httpbin"] {
        let copies = v2.requests();
        let answer = client.get(host, "/json?a=b", &[("x-mark", b"mine")])?;
        assert_eq!((answer.status, answer.version().as_str()), (200, "httpbin-v1"), "{host}");
        wait_for("the copy", || Ok((v2.requests() > copies).then_some(())))?;

        let (request, copy) = (v1.last_request(), v2.last_request());
        assert_eq!((&copy["method"], &copy["path"]), (&request["method"], &request["path"]));
        // Envoy adds these two to copies.
        let added = ["x-envoy-internal", "x-forwarded-for"];
        let ours = |header: &Value| header[0].as_str().is_some_and(|name| name.starts_with("x-traffic-split-"));
        let others = |request: &Value| -> Vec<Value> {
            let headers = request["headers"].as_array().cloned().unwrap_or_default();
            let is_added = |header: &Value| added.iter().any(|name| header[0] == *name);
            headers.into_iter().filter(|header| !ours(header) && !is_added(header)).collect()
        };
        assert_eq!(others(&copy), others(&request));
        assert_eq!(received(v2, "host"), [host]);

        assert_eq!(received(v1, "x-traffic-split-backend"), ["httpbin-v1"]);
        assert_eq!(received(v1, "x-traffic-split-mirror"), ["httpbin/httpbin-v2|14001"]);
        let copied = copy["headers"].as_array().cloned().unwrap_or_default();
        let copied: Vec<_> = copied.into_iter().filter(ours).collect();
        assert_eq!(copied, [json!(["x-traffic-split-mirror", "copy"])]);
    }
    // Envoy counts copies as internal requests.
    let stat = |cluster: &str, origin: &str| {
        let name = format!("cluster.httpbin/{cluster}|14001.{origin}.upstream_rq_200");
        Ok::<_, e2e::Error>(rendered.envoy.find_stat(&name)?.unwrap_or(0))
    };
    assert_eq!(stat("httpbin-v2", "internal")?, v2.requests());
    assert_eq!(stat("httpbin-v2", "external")?, 0);
    assert_eq!(stat("httpbin-v1", "internal")?, 0);
    assert_eq!(stat("httpbin-v1", "external")?, v1.requests());
    Ok(())
}
