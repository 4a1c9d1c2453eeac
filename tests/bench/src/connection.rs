//! A keep-alive connection of the load generator.

use e2e::{Error, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The limit of one read or write.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that sends the same request again and again.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    response: Vec<u8>,
    body_start: usize,
}

// === impl Connection ===

impl Connection {
    /// Opens a connection.
    pub(crate) fn open(address: SocketAddr, request: Vec<u8>) -> Result<Connection> {
        let stream = TcpStream::connect(address).map_err(|error| Error(format!("{address}: {error}")))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Connection { stream, request, response: Vec::with_capacity(1024), body_start: 0 })
    }

    /// Sends the request and reads the response. The response must have a `content-length`, as all responses here.
    ///
    /// # Errors
    /// The status is not 200, or the connection ends.
    pub(crate) fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        self.response.clear();
        let mut end = None;
        while end.is_none_or(|end| self.response.len() < end) {
            let mut bytes = [0; 2048];
            let length = self.stream.read(&mut bytes)?;
            if length == 0 {
                return Err(Error(format!("the connection ended after {:?}", String::from_utf8_lossy(&self.response))));
            }
            self.response.extend_from_slice(&bytes[..length]);
            if end.is_none()
                && let Some(head) = self.response.windows(4).position(|window| window == b"\r\n\r\n")
            {
                self.body_start = head + 4;
                end = Some(self.body_start + content_length(&self.response[..head])?);
            }
        }
        if self.response.starts_with(b"HTTP/1.1 200 ") {
            Ok(())
        } else {
            Err(Error(format!("not a response of status 200: {:?}", String::from_utf8_lossy(&self.response))))
        }
    }

    /// Returns the body of the last response.
    pub(crate) fn body(&self) -> &str {
        str::from_utf8(&self.response[self.body_start..]).unwrap_or_default()
    }
}

fn content_length(head: &[u8]) -> Result<usize> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let start = head.windows(NAME.len()).position(|window| window == NAME).map(|start| start + NAME.len());
    let digits = start.and_then(|start| head[start..].split(|byte| *byte == b'\r').next());
    let length = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    length.ok_or_else(|| Error(format!("no content-length in {:?}", String::from_utf8_lossy(head))))
}

#[cfg(test)]
mod tests {
    use super::content_length;

    #[test]
    fn content_length_is_found_at_any_place() {
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nserver: envoy").unwrap(), 12);
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\nserver: envoy\r\ncontent-length: 0").unwrap(), 0);
        assert!(content_length(b"HTTP/1.1 200 OK\r\nserver: envoy").is_err());
    }
}
