//! The servers behind Envoy: they answer each request with their name, and count.

use crate::connection_manager::ROOT_BODY;
use crate::variants::BACKENDS;
use e2e::Result;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The servers of the root and of both backends. They run until the program ends.
pub(crate) struct Upstreams {
    /// The address of the root.
    pub(crate) root: SocketAddr,
    /// The addresses of the backends.
    pub(crate) backends: [SocketAddr; 2],
    /// Requests that the second backend has received.
    second: Arc<AtomicU64>,
}

// === impl Upstreams ===

impl Upstreams {
    /// Starts the servers.
    pub(crate) fn start() -> Result<Upstreams> {
        let (root, _) = start(ROOT_BODY)?;
        let (first, _) = start(BACKENDS[0])?;
        let (second, count) = start(BACKENDS[1])?;
        Ok(Upstreams { root, backends: [first, second], second: count })
    }

    /// Returns the number of requests that the second backend has received, copies included.
    pub(crate) fn requests_of_second(&self) -> u64 {
        self.second.load(Ordering::Relaxed)
    }
}

fn start(body: &'static str) -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counter = counter.clone();
            thread::spawn(move || serve(stream, body, &counter));
        }
    });
    Ok((address, count))
}

/// Answers the requests of a connection, which have no bodies.
fn serve(mut stream: TcpStream, body: &str, count: &AtomicU64) {
    let response =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let _ = stream.set_nodelay(true);
    let mut received = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        received.extend_from_slice(&bytes[..length]);
        while let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            received.drain(..end + 4);
            count.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(response.as_bytes()).is_err() {
                return;
            }
        }
    }
}
