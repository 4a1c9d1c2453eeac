//! Clients of Envoy: one that sends any bytes, and a load of many clients.

use crate::pod::version;
use crate::{Error, Result, wait_for};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The limit of the time for one response.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP/1.1 client on one keep-alive connection. It sends its input unchanged, valid or not, and never repeats a
/// request.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    connections: u64,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers in order, with lower-case names and unchanged values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the first value of this header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers_named(name).into_iter().next()
    }

    /// Returns all values of this header.
    #[must_use]
    pub fn headers_named(&self, name: &str) -> Vec<String> {
        let named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// Returns the name of the pod that answered; empty if none did.
    #[must_use]
    pub fn pod(&self) -> String {
        self.header("pod").unwrap_or_default()
    }

    /// Returns the deployment of the pod that answered, e.g. `httpbin-v1`.
    #[must_use]
    pub fn version(&self) -> String {
        version(&self.pod()).to_owned()
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns all values of this request header that the pod received.
    #[must_use]
    pub fn received(&self, name: &str) -> Vec<String> {
        let seen: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let headers = seen["headers"].as_array().cloned().unwrap_or_default();
        let named = headers.iter().filter(|pair| pair[0] == name);
        named.filter_map(|pair| pair[1].as_str().map(str::to_owned)).collect()
    }

    fn closes(&self) -> bool {
        self.headers_named("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Client {
    /// Returns a client of this port of 127.0.0.1. The client connects at its first request.
    #[must_use]
    pub fn new(port: u16) -> Client {
        Client::of((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Returns a client of this address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Client {
        Client { address, connection: None, connections: 0 }
    }

    /// Returns the number of connections that the client opened; more than one means that the server closed one.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Sends `GET path`. `host` and header values may be any bytes.
    pub fn get(&mut self, host: impl AsRef<[u8]>, path: &str, headers: &[(&str, &[u8])]) -> Result<Answer> {
        self.request("GET", host, path, headers)
    }

    /// Sends a request without a body.
    pub fn request(
        &mut self,
        method: &str,
        host: impl AsRef<[u8]>,
        path: &str,
        headers: &[(&str, &[u8])],
    ) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: ").into_bytes();
        request.extend_from_slice(host.as_ref());
        request.extend_from_slice(b"\r\n");
        for (name, value) in headers {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        self.send(&request, method == "HEAD")
    }

    /// Sends a body of this content type.
    ///
    /// # Errors
    /// Any status but 2xx.
    pub fn send_body(&mut self, method: &str, path: &str, content_type: &str, body: &str) -> Result<Answer> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
        );
        let answer = self.send_raw(request.as_bytes())?;
        match answer.status {
            200..300 => Ok(answer),
            status => Err(format!("{method} {path}: {status} {}", answer.text()).into()),
        }
    }

    /// Sends these bytes unchanged and reads one response.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<Answer> {
        self.send(bytes, bytes.starts_with(b"HEAD "))
    }

    fn send(&mut self, bytes: &[u8], head: bool) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        connection.get_mut().write_all(bytes)?;
        let (answer, delimited) = read_answer(&mut connection, head)?;
        if delimited && !answer.closes() {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    fn connect(&mut self) -> Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address).map_err(|error| format!("{}: {error}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        self.connections += 1;
        Ok(BufReader::new(stream))
    }
}

/// Reads one final response, and returns whether the connection can be reused.
fn read_answer(stream: &mut impl BufRead, head: bool) -> Result<(Answer, bool)> {
    loop {
        let line = read_line(stream)?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status else {
            return Err(format!("not an HTTP/1.1 response: {text:?}").into());
        };
        let headers = read_headers(stream)?;
        if (100..200).contains(&status) {
            continue;
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if head || status == 204 || status == 304 {
            return Ok((answer, true));
        }
        if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            answer.body = read_chunks(stream)?;
            return Ok((answer, true));
        }
        let Some(length) = answer.header("content-length") else {
            stream.read_to_end(&mut answer.body)?;
            return Ok((answer, false));
        };
        let length: usize = length.parse().map_err(|_| Error(format!("content-length: {length}")))?;
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body)?;
        return Ok((answer, true));
    }
}

fn read_headers(stream: &mut impl BufRead) -> Result<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec();
        headers.push((name, value));
    }
}

fn read_chunks(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = String::from_utf8_lossy(&read_line(stream)?).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| Error(format!("not a chunk size: {line:?}")))?;
        if size == 0 {
            read_headers(stream)?;
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        read_line(stream)?;
    }
}

fn read_line(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err("the connection ended within a response".into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// The results of a [`Load`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Responses of status 200 by the deployment of the pod that answered.
    pub by_pod: BTreeMap<String, u64>,
    /// Requests without a response of status 200.
    pub failed: u64,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections opened: one for each client, unless a connection was closed.
    pub connections: u64,
    /// The first few errors.
    pub errors: Vec<String>,
}

impl Tally {
    /// Returns the number of all requests, failed ones included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_pod.values().sum::<u64>() + self.failed
    }

    /// Returns the number of responses from this deployment.
    #[must_use]
    pub fn of(&self, version: &str) -> u64 {
        self.by_pod.get(version).copied().unwrap_or(0)
    }

    /// Returns the difference to an earlier tally of the same load.
    #[must_use]
    pub fn since(&self, earlier: &Tally) -> Tally {
        let mut difference = self.clone();
        for (version, count) in &mut difference.by_pod {
            *count -= earlier.of(version);
        }
        for (status, count) in &mut difference.statuses {
            *count -= earlier.statuses.get(status).copied().unwrap_or(0);
        }
        difference.failed -= earlier.failed;
        difference.connections -= earlier.connections;
        difference.errors.drain(..earlier.errors.len());
        difference
    }

    /// Counts the outcome of one request.
    pub fn count(&mut self, outcome: &Result<Answer>) {
        let error = match outcome {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                if answer.status == 200 {
                    *self.by_pod.entry(answer.version()).or_default() += 1;
                    return;
                }
                format!("{} {}", answer.status, answer.text())
            }
            Err(error) => error.to_string(),
        };
        self.failed += 1;
        if self.errors.len() < 5 {
            self.errors.push(error);
        }
    }
}

/// Clients that repeat `GET /json` on keep-alive connections until they are stopped.
///
/// A load that reaches [`Load::MAX_DURATION`] or [`Load::MAX_REQUESTS`] counts a failure: a test must not pass after
/// its load has ended.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// The maximum duration of a load.
    pub const MAX_DURATION: Duration = Duration::from_secs(300);
    /// The maximum number of requests of a load.
    pub const MAX_REQUESTS: u64 = 1_000_000;

    /// Starts `concurrency` clients of `port` that request `host` without a pause.
    #[must_use]
    pub fn start(port: u16, host: &str, concurrency: usize) -> Load {
        Load::paced(port, host, concurrency, Duration::ZERO)
    }

    /// Starts `concurrency` clients that pause after each response.
    #[must_use]
    pub fn paced(port: u16, host: &str, concurrency: usize, pause: Duration) -> Load {
        let shared = Arc::new(Shared::default());
        let deadline = Instant::now() + Load::MAX_DURATION;
        let threads = (0..concurrency).map(|_| {
            let (shared, host) = (shared.clone(), host.to_owned());
            std::thread::spawn(move || {
                let mut client = Client::new(port);
                while !shared.stop.load(Ordering::Relaxed) {
                    if Instant::now() >= deadline || shared.sent.fetch_add(1, Ordering::Relaxed) >= Load::MAX_REQUESTS {
                        shared.tally().count(&Err("the load reached its limit".into()));
                        break;
                    }
                    let before = client.connections();
                    let outcome = client.get(&host, "/json", &[]);
                    let mut tally = shared.tally();
                    tally.connections += client.connections() - before;
                    tally.count(&outcome);
                    drop(tally);
                    // Do not retry in a tight loop while connections are refused.
                    let pause = if outcome.is_err() { pause.max(Duration::from_millis(10)) } else { pause };
                    if !pause.is_zero() {
                        std::thread::sleep(pause);
                    }
                }
            })
        });
        let threads = threads.collect();
        Load { shared, threads }
    }

    /// Returns the results so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.shared.tally().clone()
    }

    /// Waits until the results are accepted, and returns them.
    pub fn wait_until(&self, what: &str, accepts: impl Fn(&Tally) -> bool) -> Result<Tally> {
        wait_for(what, || Ok(Some(self.tally()).filter(&accepts)))
            .map_err(|error| Error(format!("{error}; so far: {:?}", self.tally())))
    }

    /// Waits for this many more responses, and returns the results since the call.
    pub fn more(&self, requests: u64) -> Result<Tally> {
        let before = self.tally();
        let enough = before.total() + requests;
        let after = self.wait_until(&format!("{requests} more requests"), |tally| tally.total() >= enough)?;
        Ok(after.since(&before))
    }

    /// Stops the clients, waits for their open requests, and returns the results.
    #[must_use]
    pub fn stop(mut self) -> Tally {
        self.end();
        self.tally()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::read_answer;

    #[test]
    fn reading_stops_at_the_end_of_each_response() {
        let mut bytes: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nPod: a\xff\r\n\r\n\
            3\r\nabc\r\n2;x=y\r\nde\r\n0\r\ntrailer: 1\r\n\r\nHTTP/1.1 503 No\r\ncontent-length: 2\r\nConnection: close\r\n\r\nnorest";
        let (first, delimited) = read_answer(&mut bytes, false).expect("chunked");
        assert_eq!((first.status, first.text().as_str(), delimited), (200, "abcde", true));
        assert_eq!(first.headers[1], ("pod".to_owned(), b"a\xff".to_vec()));
        let (second, _) = read_answer(&mut bytes, false).expect("with its length");
        assert_eq!((second.status, second.text().as_str(), second.closes()), (503, "no", true));
        assert!(read_answer(&mut bytes, false).is_err(), "half an answer is none");
    }
}
