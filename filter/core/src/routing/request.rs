//! The properties of a request that a decision reads.

use std::borrow::Cow;

/// A request. Each call may cost a hostcall, so a decision reads only what it needs, and no header twice.
pub trait Request {
    /// Returns the first value of a header. `name` is lower case and may be a pseudo-header such as `:authority`.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;
    /// Returns the destination port of the downstream connection; `None` if unknown.
    fn destination_port(&self) -> Option<u16>;
    /// Returns whether a body follows the headers. Defaults to `false`.
    fn has_body(&self) -> bool {
        false
    }
}
