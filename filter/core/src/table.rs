//! Choosing among weighted backends.

use crate::cluster::Cluster;
use crate::rendezvous;
use crate::weight::Weight;

/// The backends that take part for one port, in the split's order. A random number picks each in
/// proportion to its weight; a value always picks the same one.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Box<[Entry]>,
}

/// A backend as one port's table has it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its place among the split's backends.
    pub(crate) backend: usize,
    pub(crate) cluster: Cluster,
    pub(crate) weight: Weight,
    /// The sum of the weights up to and with this one, in billionths.
    sum: u128,
}

impl Table {
    /// A table of these backends: place, cluster, weight.
    pub(crate) fn new(backends: impl IntoIterator<Item = (usize, Cluster, Weight)>) -> Self {
        let mut sum = 0;
        let entry = |(backend, cluster, weight): (usize, Cluster, Weight)| {
            sum += u128::from(weight.billionths());
            Entry { backend, cluster, weight, sum }
        };
        Self { entries: backends.into_iter().map(entry).collect() }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The sum of all weights, in billionths.
    pub(crate) fn sum(&self) -> u128 {
        self.entries.last().map_or(0, |entry| entry.sum)
    }

    /// The entry of a backend, by its place among the split's.
    pub(crate) fn entry(&self, backend: usize) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.backend == backend)
    }

    /// The choice for a random number that is uniform over all of `u64`; `None` if there is
    /// nothing to choose. One of weight 0 has no more of the sum than the one before it.
    pub(crate) fn pick(&self, random: u64) -> Option<&Entry> {
        let point = scale(random, self.sum());
        self.entries.get(self.entries.partition_point(|entry| entry.sum <= point))
    }

    /// The choice for a value, by [`rendezvous`]; `None` if there is nothing to choose.
    pub(crate) fn pick_by(&self, value: &[u8], split: &str, backends: &[Box<str>]) -> Option<&Entry> {
        let weighted = self.entries.iter().filter(|entry| entry.weight > Weight::default());
        let scored = weighted.filter_map(|entry| {
            let name = &**backends.get(entry.backend)?;
            Some((rendezvous::score(rendezvous::hash(split, name, value), entry.weight), name, entry))
        });
        let first =
            scored.min_by(|(one, name, _), (other, other_name, _)| one.total_cmp(other).then(name.cmp(other_name)));
        first.map(|(_, _, entry)| entry)
    }
}

/// `random · total / 2⁶⁴`, rounded down: uniform over `0..total`. In two halves, since the
/// product needs more than 128 bits when `total` needs more than 64.
fn scale(random: u64, total: u128) -> u128 {
    let random = u128::from(random);
    let (high, low) = (total >> 64, total & u128::from(u64::MAX));
    random * high + ((random * low) >> 64)
}
