//! The clusters that a route table knows.

use std::collections::BTreeSet;

/// The known clusters: all but the empty name, unless some are named.
#[derive(Clone, Debug, Default)]
pub(super) struct Clusters(Option<BTreeSet<Vec<u8>>>);

impl Clusters {
    /// Adds known clusters. From then on, all others are unknown.
    pub(super) fn extend(&mut self, names: impl IntoIterator<Item = Vec<u8>>) {
        self.0.get_or_insert_default().extend(names);
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.0.as_ref().is_none_or(|clusters| clusters.contains(name))
    }
}
