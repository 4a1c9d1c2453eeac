//! An HTTP/1.1 server on which no client can hold a connection for long or take all connections.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::warn;

/// Limits of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest time until the request's headers have arrived.
    pub(crate) header_timeout: Duration,
    /// The longest time until the response is sent. Each connection has one request.
    pub(crate) request_timeout: Duration,
    pub(crate) max_connections: usize,
    /// Connections from one address: one client must leave room for others.
    pub(crate) max_connections_per_address: usize,
}

/// For probes and scrapes, which take milliseconds.
pub(crate) const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(5),
    request_timeout: Duration::from_secs(10),
    max_connections: 256,
    max_connections_per_address: 16,
};

/// The time between a failed accept, e.g. without a free file descriptor, and the next.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);

/// Serves requests for as long as the process runs. Connections beyond the limits are closed at once.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits) {
    let connections = Connections::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(why) => {
                warn!(%why, "accepting a connection failed");
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        if let Some(connection) = connections.open(peer.ip(), limits) {
            let served = serve_connection(stream, router.clone(), limits);
            tokio::spawn(async move {
                served.await;
                drop(connection);
            });
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, limits: Limits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client's mistake needs no log line.
    _ = timeout(limits.request_timeout, connection).await;
}

/// The number of open connections by the client's address.
#[derive(Clone, Debug, Default)]
struct Connections(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// An open connection, until it is dropped.
struct Connection {
    connections: Connections,
    address: IpAddr,
}

impl Connections {
    fn open(&self, address: IpAddr, limits: Limits) -> Option<Connection> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = open.get(&address).copied().unwrap_or_default();
        if of_address >= limits.max_connections_per_address || open.values().sum::<usize>() >= limits.max_connections {
            return None;
        }
        open.insert(address, of_address + 1);
        Some(Connection { connections: self.clone(), address })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMITS, Limits, serve};
    use axum::Router;
    use axum::routing::get;
    use std::future;
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const SHORT: Limits = Limits {
        header_timeout: Duration::from_millis(200),
        request_timeout: Duration::from_millis(400),
        max_connections: 4,
        ..LIMITS
    };

    async fn start(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/never", get(future::pending::<&'static str>));
        tokio::spawn(serve(listener, router, limits));
        address
    }

    async fn answer(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A connection that the server has closed may be reset.
        _ = stream.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        _ = stream.read_to_string(&mut answer).await;
        answer
    }

    const REQUEST: &str = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

    #[tokio::test]
    async fn each_connection_serves_one_request() {
        let address = start(LIMITS).await;
        let answer = answer(address, &REQUEST.repeat(2)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }

    #[tokio::test]
    async fn slow_request_headers_close_the_connection() {
        let address = start(SHORT).await;
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut sent = 0;
        for byte in REQUEST.bytes().cycle() {
            if stream.write_all(&[byte]).await.is_err() || begun.elapsed() > Duration::from_secs(5) {
                break;
            }
            sent += 1;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(2) && sent < REQUEST.len(), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn request_above_the_time_limit_closes_the_connection() {
        let address = start(SHORT).await;
        let begun = Instant::now();
        assert_eq!(answer(address, &REQUEST.replace("livez", "never")).await, "");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn idle_connections_above_the_limit_are_closed_and_free_their_slots() {
        let address = start(SHORT).await;
        let mut idle = Vec::new();
        for _ in 0..SHORT.max_connections {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(answer(address, REQUEST).await, "");
        tokio::time::sleep(SHORT.header_timeout * 2).await;
        assert!(answer(address, REQUEST).await.ends_with("ok\n"));
    }

    #[tokio::test]
    async fn one_client_address_cannot_use_all_connections() {
        let address = start(Limits { max_connections_per_address: 2, ..LIMITS }).await;
        let _idle = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        assert_eq!(answer(address, REQUEST).await, "");
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = other.connect(address).await.unwrap();
        other.write_all(REQUEST.as_bytes()).await.unwrap();
        let mut answer = String::new();
        other.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
}
