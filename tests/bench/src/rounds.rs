//! Measures in rounds, so that whatever else happens on the machine disturbs all variants alike.

use e2e::Result;
use fastrand::Rng;

/// Calls `measure` once a round with each index below `count`, in random order. `progress` is called after each round.
pub(crate) fn in_random_order(
    count: usize,
    rounds: u32,
    mut progress: impl FnMut(u32),
    mut measure: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    let mut rng = Rng::new();
    let mut order: Vec<usize> = (0..count).collect();
    for round in 1..=rounds {
        rng.shuffle(&mut order);
        order.iter().try_for_each(|&index| measure(index))?;
        progress(round);
    }
    Ok(())
}
