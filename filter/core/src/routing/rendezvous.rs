//! Sticky picks: weighted rendezvous hashing.
//!
//! Each backend that has the request's port and a weight above 0 gets a score from the value and its
//! own name; the smallest wins. The value is that of the sticky header, bytes as they are; or that
//! of the sticky cookie, without spaces and one pair of quotes around it; or the fresh one, which is
//! 22 characters of base64url. Of a value longer than 8,192 bytes the first 8,192 count. With
//!
//! - h = XXH3-64 (seed 0) of the bytes `namespace/name` 0x00 backend 0x00 value, where
//!   `namespace/name` is the TrafficSplit and backend the Service's bare name,
//! - u = ((h >> 11) + 0.5) / 2⁵³ in doubles,
//! - w = the weight in billionths (10⁻⁹) as the nearest double,
//!
//! the score is −ln(u) / w, with `ln` as `libm::log` (that of FreeBSD and musl) computes it on
//! every target, since others differ in the last bit. Of equal scores the smaller name wins, byte by byte.
//!
//! −ln(u) / w is exponentially distributed with rate w, and the first of several such clocks to
//! ring is each with probability wᵢ / Σw: the exponential race. So shares follow weights. Since a
//! backend's score depends on its own weight only, a value moves from i to j only if wⱼ / wᵢ grew:
//! nobody else is moved, and a canary that only grows never gives a user back. It is the
//! logarithmic method of Schindelhauer and Schomaker, *Weighted Distributed Hash Tables*
//! (SPAA 2005), over the rendezvous hashing of Thaler and Ravishankar (1998).
//!
//! The formula is part of the contract: `tests/rendezvous.json` has vectors, to the bit.

use crate::configuration::weight::Weight;
use xxhash_rust::xxh3::xxh3_64;

/// The longest part of a value that counts, in bytes.
pub const MAX_VALUE_BYTES: usize = 8 << 10;

/// h of a value for one backend of the split `namespace/name`.
pub fn hash(split: &str, backend: &str, value: &[u8]) -> u64 {
    xxh3_64(&[split.as_bytes(), backend.as_bytes(), value].join(&0))
}

/// −ln(u) / w: the smallest wins. Infinite for a weight of 0, which never does.
pub fn score(hash: u64, weight: Weight) -> f64 {
    const TWO_TO_THE_53: f64 = 9_007_199_254_740_992.0;
    let u = ((hash >> 11) as f64 + 0.5) / TWO_TO_THE_53;
    match weight.billionths() {
        0 => f64::INFINITY,
        // For the greatest u, which is 1, this is −0: smaller than all others.
        weight => -libm::log(u) / weight as f64,
    }
}
