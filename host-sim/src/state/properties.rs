//! Properties of one request or one connection.

use std::collections::BTreeMap;

/// Properties of one request or one connection.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    /// The properties that the test set.
    pub given: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The properties that the filter set.
    pub set: BTreeMap<Vec<u8>, Vec<u8>>,
}
