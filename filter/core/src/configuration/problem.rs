//! What is wrong with a configuration, and where.

use std::fmt;

/// The part of a configuration that a [`Problem`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Object {
    /// The plugin configuration itself: its own keys.
    Configuration,
    /// An entry of `trafficSplits`.
    TrafficSplit {
        /// Its place in the list, from 0.
        index: usize,
        /// `namespace/name`, as far as it could be read: may be empty.
        name: String,
    },
    /// An entry of `httpRouteGroups`.
    HttpRouteGroup {
        /// Its place in the list, from 0.
        index: usize,
        /// `namespace/name`, as far as it could be read: may be empty.
        name: String,
    },
    /// An entry of `services`.
    Service {
        /// Its key: `namespace/name`.
        name: String,
    },
}

/// One thing wrong: which object, which of its fields, what and why.
///
/// Displayed as `trafficSplits[0] httpbin/http-split: spec.backends[1].weight: -5 is negative`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object it is about.
    pub object: Object,
    /// The path of the field in that object; empty if it is about the whole object.
    pub field: String,
    /// What is wrong with the field, so that it reads on from its name.
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
