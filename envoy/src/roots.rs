//! The root Services of a configuration's splits.

use std::collections::BTreeSet;
use traffic_split::Configuration;

/// Returns the roots of all splits: namespace and name.
pub(crate) fn roots(configuration: &Configuration) -> BTreeSet<(&str, &str)> {
    let splits = configuration.traffic_splits.iter();
    splits.map(|split| (split.metadata.namespace.as_str(), split.spec.service.as_str())).collect()
}
