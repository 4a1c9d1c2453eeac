//! A condition of a TrafficSplit's status.

/// A condition's status, reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it holds.
    pub holds: bool,
    /// One word.
    pub reason: &'static str,
    /// What there is to know, and what to do; may be empty.
    pub message: String,
}

// === impl Said ===

impl Said {
    pub(crate) fn yes(reason: &'static str) -> Self {
        Self { holds: true, reason, message: String::new() }
    }

    pub(crate) fn no(reason: &'static str, mut message: String) -> Self {
        /// A condition's message may have 32,768 bytes; with a longer one the API server takes no status at all.
        const MOST_CHARACTERS: usize = 8000;
        if let Some((end, _)) = message.char_indices().nth(MOST_CHARACTERS) {
            message.truncate(end);
            message.push('…');
        }
        Self { holds: false, reason, message }
    }
}
