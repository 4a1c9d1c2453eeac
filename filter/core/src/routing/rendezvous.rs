//! Sticky picks by weighted rendezvous hashing.
//!
//! Each backend that serves the request's port and has a weight above 0 gets a score from the sticky value and the
//! backend's name. The backend with the smallest score is selected. The sticky value is one of these:
//!
//! - the value of the sticky header, unchanged,
//! - the value of the sticky cookie, without surrounding spaces and one pair of surrounding quotes,
//! - the value of a new sticky cookie: 22 characters of base64url.
//!
//! Only the first 8,192 bytes of a value count. With
//!
//! - h = XXH3-64 (seed 0) of the bytes `namespace/name` 0x00 backend 0x00 value, where
//!   `namespace/name` is the TrafficSplit and backend is the Service's bare name,
//! - u = ((h >> 11) + 0.5) / 2⁵³ in doubles,
//! - w = the weight in billionths (10⁻⁹) as the nearest double,
//!
//! the score is −ln(u) / w. `ln` is `libm::log` (of FreeBSD and musl) on every target, because other implementations
//! differ in the last bit. If scores are equal, the backend whose name is smaller byte by byte is selected.
//!
//! −ln(u) / w is exponentially distributed with rate w. Backend i has the smallest score with probability wᵢ / Σw, so
//! shares follow weights. A backend's score depends only on its own weight, so a value moves from i to j only if
//! wⱼ / wᵢ grew: all other users stay, and a canary whose weight only grows never loses a user.
//!
//! Source: the logarithmic method of Schindelhauer and Schomaker, *Weighted Distributed Hash Tables* (SPAA 2005), based
//! on the rendezvous hashing of Thaler and Ravishankar (1998).
//!
//! The formula is part of the public contract: `tests/rendezvous.json` has bit-exact test vectors.

use crate::configuration::weight::Weight;
use xxhash_rust::xxh3::xxh3_64;

/// Maximum number of bytes of a value that count.
pub const MAX_VALUE_BYTES: usize = 8 << 10;

/// Returns h, the hash of a sticky value for a backend. `split` is `namespace/name`, `backend` is the bare Service
/// name.
pub fn hash(split: &str, backend: &str, value: &[u8]) -> u64 {
    xxh3_64(&[split.as_bytes(), backend.as_bytes(), value].join(&0))
}

/// Returns the score −ln(u) / w; the smallest score is selected. A weight of 0 has an infinite score.
pub fn score(hash: u64, weight: Weight) -> f64 {
    const TWO_TO_THE_53: f64 = 9_007_199_254_740_992.0;
    let u = ((hash >> 11) as f64 + 0.5) / TWO_TO_THE_53;
    match weight.billionths() {
        0 => f64::INFINITY,
        // The largest u is 1, and its score −0 is smaller than all others.
        weight => -libm::log(u) / weight as f64,
    }
}
