//! What the end-to-end tests are made of: a real [`Envoy`](envoy::Envoy), the [`Pod`](pod::Pod)s behind it, a
//! [`Client`](client::Client) in front of it that can send any bytes, a [`Load`](client::Load) that runs while the
//! configuration changes, and the guide's [`HttpbinFixture`](httpbin::HttpbinFixture).
//!
//! Nothing here knows how Envoy is configured: a bootstrap is a string. Everything blocks, waits for states rather
//! than for time, and gives up with an error that says what was awaited.

pub mod bootstrap;
pub mod cases;
pub mod client;
pub mod configurations;
pub mod envoy;
pub mod guide;
pub mod httpbin;
pub mod mesh;
pub mod pod;
pub mod process;
pub mod relay;
#[path = "../../host-sim/tests/report/mod.rs"]
pub mod report;
pub mod scratch;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long [`wait_for`] waits before it gives up.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// What went wrong, in words. Its `Debug` is the same text, so that a test that returns it fails readably.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(pub String);

/// A result of the harness.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Error(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Error(text.to_owned())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error(error.to_string())
    }
}

/// The root of this workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Asks every few milliseconds until there is an answer; gives up after [`WAIT_TIMEOUT`] with an error that names `what`.
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(Error(format!("waited {} s for {what}", WAIT_TIMEOUT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether `hits` of `n` is what probability `p` gives, within `sigmas` standard deviations. At 0 and 1 it is exact.
#[must_use]
pub fn is_share(hits: u64, n: u64, p: f64, sigmas: f64) -> bool {
    let (hits, n) = (hits as f64, n as f64);
    let room = sigmas * (n * p * (1.0 - p)).sqrt();
    (hits - n * p).abs() <= room + 1e-9
}

#[cfg(test)]
mod tests {
    use super::is_share;

    #[test]
    fn share_has_no_tolerance_at_probabilities_0_and_1() {
        assert!(is_share(540, 1000, 0.5, 4.0));
        assert!(!is_share(600, 1000, 0.5, 4.0));
        assert!(is_share(0, 1000, 0.0, 4.0));
        assert!(!is_share(1, 1000, 0.0, 4.0));
        assert!(!is_share(999, 1000, 1.0, 4.0));
    }
}
