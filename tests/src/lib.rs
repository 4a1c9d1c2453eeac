//! The harness of the end-to-end tests: a real [`Envoy`](envoy::Envoy), the [`Pod`](pod::Pod)s behind it, a
//! [`Client`](client::Client) that can send any bytes, a [`Load`](client::Load) that runs while the configuration
//! changes, and the guide's Services, [`HttpbinFixture`](httpbin::HttpbinFixture).
//!
//! The harness treats a bootstrap as text. All functions block. They wait for a state, not for a fixed time, and
//! their errors name the state.

pub mod bootstrap;
pub mod cases;
pub mod client;
pub mod configurations;
pub mod envoy;
pub mod guide;
pub mod hostile;
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

/// The limit of [`wait_for`].
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// An error message. `Debug` prints the text unchanged, so that a failing test is readable.
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

/// Returns the root of this workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Repeats `probe` every few milliseconds until it returns a value.
///
/// # Errors
/// [`WAIT_TIMEOUT`] has passed; the message names `what`.
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

/// Reports whether `hits` of `n` is within `sigmas` standard deviations of probability `p`. At 0 and 1 the share must
/// be exact.
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
