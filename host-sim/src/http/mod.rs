//! HTTP messages and their headers.

pub(crate) mod headers;
pub(crate) mod message;
