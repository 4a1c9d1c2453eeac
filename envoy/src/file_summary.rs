//! The number of objects in a file, as one line for the user.

use crate::object_type::Kind;

/// The number of objects in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSummary {
    /// The name of the file.
    pub file: String,
    /// The number of TrafficSplits.
    pub traffic_splits: usize,
    /// The number of HTTPRouteGroups.
    pub http_route_groups: usize,
    /// The number of Services.
    pub services: usize,
    /// The file contains no YAML document. Helm writes such files for disabled templates.
    pub is_empty: bool,
    /// Kind and name of each ignored object.
    pub ignored: Vec<String>,
}

// === impl FileSummary ===

impl FileSummary {
    /// Counts an object.
    pub(crate) fn count(&mut self, kind: Kind) {
        match kind {
            Kind::TrafficSplit => self.traffic_splits += 1,
            Kind::HttpRouteGroup => self.http_route_groups += 1,
            Kind::Service => self.services += 1,
        }
    }

    /// Returns the number of objects of each kind: `1 TrafficSplit, 3 Services`.
    #[must_use]
    pub fn content(&self) -> String {
        let counts = [
            (self.traffic_splits, "TrafficSplit"),
            (self.http_route_groups, "HTTPRouteGroup"),
            (self.services, "Service"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> =
            counts.map(|(count, kind)| format!("{count} {kind}{}", if count == 1 { "" } else { "s" })).collect();
        if counts.is_empty() { "no TrafficSplit".into() } else { counts.join(", ") }
    }
}
