//! A whole HTTP message.

use crate::headers::Headers;

/// Headers, body and trailers of a request or a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The headers, pseudo-headers such as `:status` among them.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers; empty if there are none.
    pub trailers: Headers,
}

/// A response: what an upstream answers, and what a client gets.
pub type Response = Message;

// === impl Message ===

impl Message {
    /// A response with this status, and nothing else.
    #[must_use]
    pub fn status_only(status: u16) -> Response {
        let mut headers = Headers::default();
        headers.add(b":status", status.to_string());
        Message { headers, ..Message::default() }
    }

    /// A header beside those there are, as any bytes; its name gets lower case.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// The body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// A trailer beside those there are.
    #[must_use]
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.add(name.as_ref(), value.as_ref());
        self
    }

    /// The status of a response; `None` if it has none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.headers.get(":status")?).ok()?.parse().ok()
    }
}
