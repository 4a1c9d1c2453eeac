//! Choosing among weighted backends.

use crate::cluster::Cluster;
use crate::weight::Weight;

/// The backends that take part for one port, each with a weight above 0; a random number picks
/// each in proportion to its weight.
#[derive(Debug, Default)]
pub(crate) struct Table {
    choices: Box<[Choice]>,
    /// The sum of the weights up to and with each choice's, in billionths.
    sums: Box<[u128]>,
}

/// A backend as one port's table has it.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Its place among the split's backends.
    pub(crate) backend: usize,
    pub(crate) cluster: Cluster,
}

impl Table {
    /// A table of those of the choices whose weight is above 0.
    pub(crate) fn new(choices: impl IntoIterator<Item = (Choice, Weight)>) -> Self {
        let mut sum = 0;
        let (choices, sums): (Vec<_>, Vec<_>) = choices
            .into_iter()
            .filter(|(_, weight)| *weight > Weight::default())
            .map(|(choice, weight)| {
                sum += u128::from(weight.billionths());
                (choice, sum)
            })
            .unzip();
        Self { choices: choices.into(), sums: sums.into() }
    }

    /// The choice for a random number that is uniform over all of `u64`; `None` if there is
    /// nothing to choose.
    pub(crate) fn pick(&self, random: u64) -> Option<&Choice> {
        let point = scale(random, *self.sums.last()?);
        self.choices.get(self.sums.partition_point(|&sum| sum <= point))
    }
}

/// `random · total / 2⁶⁴`, rounded down: uniform over `0..total`. In two halves, since the
/// product needs more than 128 bits when `total` needs more than 64.
fn scale(random: u64, total: u128) -> u128 {
    let random = u128::from(random);
    let (high, low) = (total >> 64, total & u128::from(u64::MAX));
    random * high + ((random * low) >> 64)
}
