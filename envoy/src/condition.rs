//! A condition of a TrafficSplit's status.

use crate::snapshot::MAX_MESSAGE_CHARACTERS;

/// A condition's status, reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub is_met: bool,
    /// One word.
    pub reason: &'static str,
    /// What there is to know, and what to do; may be empty.
    pub message: String,
}

// === impl Condition ===

impl Condition {
    pub(crate) fn met(reason: &'static str) -> Self {
        Self { is_met: true, reason, message: String::new() }
    }

    pub(crate) fn unmet(reason: &'static str, mut message: String) -> Self {
        if message.len() >= MAX_MESSAGE_CHARACTERS
            && message.chars().nth(MAX_MESSAGE_CHARACTERS).is_some()
            && let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARACTERS - 1)
        {
            message.truncate(end);
            message.push('…');
        }
        // Truncating keeps the memory.
        message.shrink_to_fit();
        Self { is_met: false, reason, message }
    }
}
