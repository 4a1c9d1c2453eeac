//! Problems of a configuration: the object, the field, and what is wrong.

use std::fmt;

/// The object of a configuration that has a [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Object {
    /// The plugin configuration itself: its own keys.
    Configuration,
    /// An entry of `trafficSplits`.
    TrafficSplit {
        /// Index in the list, from 0.
        index: usize,
        /// `namespace/name`, only `name` without a namespace, or empty if the metadata is invalid.
        name: String,
    },
    /// An entry of `httpRouteGroups`.
    HttpRouteGroup {
        /// Index in the list, from 0.
        index: usize,
        /// `namespace/name`, only `name` without a namespace, or empty if the metadata is invalid.
        name: String,
    },
    /// An entry of `services`.
    Service {
        /// Key of the entry: `namespace/name`; quoted if it is invalid.
        name: String,
    },
}

/// One problem of a configuration: its object, field and message.
///
/// Displayed as `<object>: <field>: <message>`, for example
/// `trafficSplits[0] httpbin/http-split: spec.backends[1].weight: -5 is negative; use 0 or more`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object that has the problem.
    pub object: Object,
    /// Path of the field in that object; empty if the whole object has the problem.
    pub field: String,
    /// What is wrong and what to do, as a predicate of the field: `is missing`.
    pub message: String,
}

// === impl Object ===

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (list, index, name) = match self {
            Self::Configuration => return f.write_str("configuration"),
            Self::Service { name } => return write!(f, "services {name}"),
            Self::TrafficSplit { index, name } => ("trafficSplits", index, name),
            Self::HttpRouteGroup { index, name } => ("httpRouteGroups", index, name),
        };
        write!(f, "{list}[{index}]")?;
        if name.is_empty() {
            return Ok(());
        }
        write!(f, " {name}")
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
