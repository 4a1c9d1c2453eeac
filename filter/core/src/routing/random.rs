//! Random numbers of a decision.

/// A source of random numbers. A decision calls it only if something depends on a random number.
pub trait RandomSource {
    /// Returns a number that is uniform over all of `u64`. It need not be unpredictable.
    fn number(&mut self) -> u64;
    /// Returns unpredictable bytes; `None` if the system provides none.
    fn id(&mut self) -> Option<[u8; 16]>;
}

/// Returns `random · total / 2⁶⁴`, rounded down: uniform over `0..total`.
pub(crate) fn scale(random: u64, total: u128) -> u128 {
    // In two halves: the product of a `total` above 64 bits would overflow 128 bits.
    let random = u128::from(random);
    let (high, low) = (total >> 64, total & u128::from(u64::MAX));
    random * high + ((random * low) >> 64)
}
