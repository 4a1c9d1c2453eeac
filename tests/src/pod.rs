//! The HTTP servers behind Envoy.

use crate::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

/// An HTTP server on 127.0.0.1 that speaks HTTP/1.1 and h2c.
///
/// The status is 200 (`/status/NNN`: `NNN`, as in httpbin), and the header `pod` has the name of the pod.
/// `/cookies/set?NAME=VALUE` sets that cookie. The body is the received request as JSON: `{"pod", "method", "path",
/// "headers": [[name, value], …]}`, with bytes that are not UTF-8 replaced. The server and its connections end when
/// this value is dropped.
#[derive(Debug)]
pub struct Pod {
    name: String,
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    requests: AtomicU64,
    last: Mutex<Value>,
}

impl Pod {
    /// Starts a pod of the deployment `version`, e.g. `httpbin-v1`. Its name is like a ReplicaSet's pod name.
    pub fn start(version: &str) -> Result<Pod> {
        let listener = runtime()?.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let name = format!("{version}-77c99dccc9-{}", suffix(address.port()));
        let state = Arc::new(State::default());
        let server = runtime()?.spawn(serve(listener, name.as_str().into(), state.clone()));
        Ok(Pod { name, address, state, server })
    }

    /// Returns the value of the header `pod` in its responses.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address of the listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of received requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Returns the last received request in the format of the response body; `null` before the first one.
    #[must_use]
    pub fn last_request(&self) -> Value {
        self.state.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Returns the deployment of a pod: the name without the two parts that a ReplicaSet adds.
#[must_use]
pub fn version(pod: &str) -> &str {
    pod.rsplitn(3, '-').nth(2).unwrap_or(pod)
}

fn suffix(port: u16) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = usize::from(port);
    let mut name = String::new();
    for _ in 0..5 {
        name.push(char::from(ALPHABET[rest % ALPHABET.len()]));
        rest /= ALPHABET.len();
    }
    name
}

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let runtime =
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build());
    runtime.as_ref().map_err(|error| error.to_string().into())
}

async fn serve(listener: TcpListener, name: Arc<str>, state: Arc<State>) {
    // The connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let (name, state) = (name.clone(), state.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, name.clone(), state.clone()));
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    pod: Arc<str>,
    state: Arc<State>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    // Read the whole body: a response before its end would close the client's connection.
    let _ = body.collect().await;
    let mut headers: Vec<(String, String)> = Vec::new();
    if let Some(authority) = head.uri.authority() {
        headers.push(("host".to_owned(), authority.to_string()));
    }
    for (name, value) in &head.headers {
        headers.push((name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    }
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let seen = json!({"pod": *pod, "method": head.method.as_str(), "path": path, "headers": headers});
    let text = seen.to_string();
    *state.last.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    let mut response = Response::new(Full::new(Bytes::from(text)));
    if let Some(status) = path.strip_prefix("/status/") {
        *response.status_mut() = status.parse().unwrap_or(StatusCode::BAD_REQUEST);
    }
    let headers = response.headers_mut();
    if let Some(Ok(cookie)) = path.strip_prefix("/cookies/set?").map(str::parse) {
        headers.insert("set-cookie", cookie);
    }
    headers.insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    if let Ok(pod) = pod.parse() {
        headers.insert("pod", pod);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn pod_name_yields_its_deployment() {
        assert_eq!(version("httpbin-v1-77c99dccc9-x2k4p"), "httpbin-v1");
        assert_eq!(version("httpbin-77c99dccc9-x2k4p"), "httpbin");
        assert_eq!(version("lonely"), "lonely");
    }
}
