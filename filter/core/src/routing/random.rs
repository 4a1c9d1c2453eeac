//! Random numbers of a decision.

/// A source of random numbers. A decision calls the source only if the result depends on a random number.
pub trait RandomSource {
    /// Returns a random number, uniform over all of `u64`. It need not be unpredictable.
    fn number(&mut self) -> u64;
    /// Returns 16 unpredictable bytes for a new sticky cookie; `None` if no secure random source is available.
    fn id(&mut self) -> Option<[u8; 16]>;
}

/// Returns `random · total / 2⁶⁴`, rounded down: uniform over `0..total`.
pub(crate) fn scale(random: u64, total: u128) -> u128 {
    // Multiply in two halves: with a `total` above 64 bits, the product would overflow 128 bits.
    let random = u128::from(random);
    let (high, low) = (total >> 64, total & u128::from(u64::MAX));
    random * high + ((random * low) >> 64)
}
