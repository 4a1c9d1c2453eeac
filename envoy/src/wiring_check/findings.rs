//! Collects findings, and merges equal findings about several places.

use crate::diagnostic::{Diagnostic, Severity};

/// The consequence of most mistakes.
pub(super) const SILENCE: &str = "the root Services serve every request without an error";

/// The page that describes the parts of the wiring.
pub(super) const PARTS: &str = "docs/bare-envoy.md, step 4";

/// Maximum number of places that one diagnostic names.
const MAX_PLACES: usize = 3;

/// The findings of one check, in the order in which they were found.
#[derive(Default)]
pub(super) struct Findings {
    findings: Vec<Finding>,
}

struct Finding {
    severity: Severity,
    places: Vec<String>,
    field: String,
    message: String,
}

// === impl Findings ===

impl Findings {
    /// Records a mistake that has an unwanted effect.
    pub(super) fn error(&mut self, place: &str, field: &str, message: impl Into<String>) {
        self.add(Severity::Error, place, field, message.into());
    }

    /// Records a setting that is probably a mistake.
    pub(super) fn warning(&mut self, place: &str, field: &str, message: impl Into<String>) {
        self.add(Severity::Warning, place, field, message.into());
    }

    fn add(&mut self, severity: Severity, place: &str, field: &str, message: String) {
        let is_same =
            |known: &&mut Finding| known.severity == severity && known.field == field && known.message == message;
        match self.findings.iter_mut().find(is_same) {
            // Listeners may share a route configuration.
            Some(known) if known.places.iter().any(|known| known == place) => {}
            Some(known) => known.places.push(place.into()),
            None => {
                self.findings.push(Finding { severity, places: vec![place.into()], field: field.into(), message });
            }
        }
    }

    /// Returns one diagnostic for each finding, which names up to three places.
    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let diagnostic = |finding: Finding| {
            let Finding { severity, places, field, message } = finding;
            Diagnostic::new(severity, "", join(&places), field, message)
        };
        self.findings.into_iter().map(diagnostic).collect()
    }
}

/// Returns up to three places as one text. Omits the part that a place has in common with the previous place.
fn join(places: &[String]) -> String {
    let mut text = String::new();
    let mut last_parent = "";
    for place in places.iter().take(MAX_PLACES) {
        let parent = place.rfind(", ").map_or(0, |comma| comma + 2);
        let (parent, own) = place.split_at(parent);
        if !text.is_empty() {
            text.push_str("; ");
        }
        if parent != last_parent {
            text.push_str(parent);
        }
        text.push_str(own);
        last_parent = parent;
    }
    if places.len() > MAX_PLACES {
        text.push_str(&format!(" and {} more", places.len() - MAX_PLACES));
    }
    text
}
