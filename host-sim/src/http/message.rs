//! A complete HTTP message.

use super::headers::Headers;

/// Headers, body and trailers of a request or a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The headers, including pseudo-headers such as `:status`.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers. Empty if the message has none.
    pub trailers: Headers,
}

/// An HTTP response, of the upstream or to the client.
pub type Response = Message;

// === impl Message ===

impl Message {
    /// Returns a response with this status and no other headers, body or trailers.
    #[must_use]
    pub fn status_only(status: u16) -> Response {
        let mut headers = Headers::default();
        headers.add(b":status", status.to_string());
        Message { headers, ..Message::default() }
    }

    /// Appends a header. The name is converted to lower case; the value may be any bytes.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Appends a trailer.
    #[must_use]
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.add(name.as_ref(), value.as_ref());
        self
    }

    /// Returns the status of a response, or `None` without a valid `:status`.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.headers.get(":status")?).ok()?.parse().ok()
    }
}
