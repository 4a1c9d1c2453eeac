//! Timeouts of split requests in a real Envoy with the rendered bootstrap: the deadline of gRPC clients and `--timeout`.

use crate::render::Rendered;
use e2e::Result;
use e2e::client::TIMEOUT;
use e2e::httpbin::ROOT;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// The content type of gRPC, and the deadline.
const GRPC: &str = "content-type: application/grpc\r\nte: trailers\r\n";

/// The Service of the server that never responds.
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: httpbin-v3, namespace: httpbin}
spec: {ports: [{port: 14001}]}
";

/// An Envoy whose split sends all requests to a server that never responds.
struct Unresponsive {
    rendered: Rendered,
    _server: TcpListener,
}

impl Unresponsive {
    fn start(options: &[&str]) -> Result<Unresponsive> {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let endpoint = format!("httpbin-v3.httpbin={}", server.local_addr()?);
        let options = [&["--endpoint", endpoint.as_str()], options].concat();
        let rendered = Rendered::start_with("clusterDomain: cluster.local\n", &options, |guide, scratch| {
            let split = fs::read_to_string(guide.traffic_split(scratch, 100, 0)?)?;
            let path = scratch.join("unresponsive.yaml");
            fs::write(&path, format!("{}---\n{SERVICE}", split.replace("httpbin-v1", "httpbin-v3")))?;
            Ok(path)
        })?;
        rendered.load_filter()?;
        Ok(Unresponsive { rendered, _server: server })
    }

    /// Returns the response, or `None` if there is none within `patience`.
    fn ask(&self, method: &str, headers: &str, patience: Duration) -> Result<Option<String>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.rendered.port))?;
        stream.set_read_timeout(Some(patience))?;
        write!(stream, "{method} /json HTTP/1.1\r\nhost: {ROOT}\r\nconnection: close\r\n{headers}\r\n")?;
        let mut response = String::new();
        match stream.read_to_string(&mut response) {
            Ok(_) => Ok(Some(response)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[test]
fn grpc_deadline_ends_a_split_call() -> Result<()> {
    let envoy = Unresponsive::start(&[])?;
    let deadline = format!("{GRPC}grpc-timeout: 200m\r\ncontent-length: 0\r\n");
    let response = envoy.ask("POST", &deadline, TIMEOUT)?.expect("the deadline has passed");
    // DEADLINE_EXCEEDED
    assert!(response.contains("\r\ngrpc-status: 4\r\n"), "{response}");
    // The deadline also ends a call whose request is still open.
    let open = format!("{GRPC}grpc-timeout: 200m\r\ntransfer-encoding: chunked\r\n");
    let response = envoy.ask("POST", &open, TIMEOUT)?.expect("the deadline has passed");
    assert!(response.contains("\r\ngrpc-status: 4\r\n"), "{response}");
    // Without a deadline, there is no timeout.
    let patience = Duration::from_millis(600);
    assert_eq!(envoy.ask("POST", &format!("{GRPC}content-length: 0\r\n"), patience)?, None);
    assert_eq!(envoy.ask("GET", "", patience)?, None);
    Ok(())
}

#[test]
fn timeout_applies_to_all_requests_and_a_shorter_deadline_before_it() -> Result<()> {
    let envoy = Unresponsive::start(&["--timeout", "400ms"])?;
    let response = envoy.ask("GET", "", TIMEOUT)?.expect("the timeout has passed");
    assert!(response.starts_with("HTTP/1.1 504 "), "{response}");
    for deadline in ["", "grpc-timeout: 100m\r\n", "grpc-timeout: 1H\r\n"] {
        let headers = format!("{GRPC}{deadline}content-length: 0\r\n");
        let response = envoy.ask("POST", &headers, TIMEOUT)?.expect("the timeout has passed");
        // UNAVAILABLE
        assert!(response.contains("\r\ngrpc-status: 14\r\n"), "{deadline}: {response}");
    }
    // A deadline has no effect on requests other than gRPC.
    let response = envoy.ask("GET", "grpc-timeout: 1H\r\n", TIMEOUT)?.expect("the timeout has passed");
    assert!(response.starts_with("HTTP/1.1 504 "), "{response}");
    Ok(())
}
