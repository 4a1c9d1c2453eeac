//! Clients in front of Envoy: one that can send any bytes, and many that keep sending.

use crate::pod::version;
use crate::{Error, Result, wait_for};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a client waits for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP/1.1 client on one keep-alive connection. It writes what it is told, valid or not, and never
/// sends a request twice.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    connections: u64,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers in their order, names in lower case, values as they are.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of this header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers_named(name).into_iter().next()
    }

    /// Every value of this header.
    #[must_use]
    pub fn headers_named(&self, name: &str) -> Vec<String> {
        let named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The name of the pod that answered, empty if none did.
    #[must_use]
    pub fn pod(&self) -> String {
        self.header("pod").unwrap_or_default()
    }

    /// The deployment of the pod that answered, e.g. `httpbin-v1`.
    #[must_use]
    pub fn version(&self) -> String {
        version(&self.pod()).to_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Every value of this request header as it reached the pod.
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
    /// A client of this port of 127.0.0.1; it connects when it first sends.
    #[must_use]
    pub fn new(port: u16) -> Client {
        Client::of((Ipv4Addr::LOCALHOST, port).into())
    }

    /// A client of this address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Client {
        Client { address, connection: None, connections: 0 }
    }

    /// How many connections it has opened: more than one means that the server closed one.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Sends `GET path`. `host` may be any bytes, and so may header values.
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

    /// Sends a body of this type; any status but 2xx is an error.
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

    /// Sends these bytes as they are, and reads one answer.
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

/// Reads one final answer, and whether the connection can be used after it.
fn read_answer(stream: &mut impl BufRead, head: bool) -> Result<(Answer, bool)> {
    loop {
        let line = read_line(stream)?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status else {
            return Err(format!("no HTTP/1.1 answer: {text:?}").into());
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
        let size = usize::from_str_radix(size, 16).map_err(|_| Error(format!("no chunk size: {line:?}")))?;
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
        return Err("the connection ended within an answer".into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// What a [`Load`] has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by the deployment of the pod that gave them; only those with status 200.
    pub by_pod: BTreeMap<String, u64>,
    /// Requests without an answer of status 200.
    pub failed: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections opened: one for each client, unless one was closed or broke.
    pub connections: u64,
    /// The first few failures, in words.
    pub errors: Vec<String>,
}

impl Tally {
    /// All requests, failed ones too.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_pod.values().sum::<u64>() + self.failed
    }

    /// Answers of this deployment.
    #[must_use]
    pub fn of(&self, version: &str) -> u64 {
        self.by_pod.get(version).copied().unwrap_or(0)
    }

    /// What was added since an earlier tally of the same load.
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

    /// Counts one request's outcome.
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

/// Clients that send `GET /json` one after the other on keep-alive connections until they are stopped, and in any
/// case no longer than [`Load::MAX_DURATION`] and no more than [`Load::MAX_REQUESTS`] requests: ending by itself counts as a failure, so
/// that nobody takes for unharmed what wasn't seen.
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
    /// The longest a load runs.
    pub const MAX_DURATION: Duration = Duration::from_secs(300);
    /// The most requests a load sends.
    pub const MAX_REQUESTS: u64 = 1_000_000;

    /// Starts `concurrency` clients of `port` that ask `host` as fast as they are answered.
    #[must_use]
    pub fn start(port: u16, host: &str, concurrency: usize) -> Load {
        Load::paced(port, host, concurrency, Duration::ZERO)
    }

    /// The same, each client pausing after each answer.
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
                        shared.tally().count(&Err("the load has ended by itself".into()));
                        break;
                    }
                    let before = client.connections();
                    let outcome = client.get(&host, "/json", &[]);
                    let mut tally = shared.tally();
                    tally.connections += client.connections() - before;
                    tally.count(&outcome);
                    drop(tally);
                    // Whoever refuses connections isn't asked in a tight loop.
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

    /// What it has seen so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.shared.tally().clone()
    }

    /// Waits until what it has seen is accepted; gives that.
    pub fn wait_until(&self, what: &str, accepts: impl Fn(&Tally) -> bool) -> Result<Tally> {
        wait_for(what, || Ok(Some(self.tally()).filter(&accepts)))
            .map_err(|error| Error(format!("{error}; so far: {:?}", self.tally())))
    }

    /// Waits until this many more requests have been answered; gives what was added.
    pub fn more(&self, requests: u64) -> Result<Tally> {
        let before = self.tally();
        let enough = before.total() + requests;
        let after = self.wait_until(&format!("{requests} more requests"), |tally| tally.total() >= enough)?;
        Ok(after.since(&before))
    }

    /// Stops it, waits for the requests under way, and gives what it has seen.
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
