//! A condition of a TrafficSplit's status.

use crate::message;

/// The status, reason and message of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether the condition's status is `True`.
    pub is_met: bool,
    /// The reason: one word in camel case.
    pub reason: &'static str,
    /// What is wrong and what to do; may be empty. A condition that is met may have a hint.
    pub message: String,
}

// === impl Condition ===

impl Condition {
    pub(crate) fn met(reason: &'static str) -> Self {
        Self { is_met: true, reason, message: String::new() }
    }

    /// Returns a condition with the status `True` and a message.
    pub(crate) fn met_with_hint(reason: &'static str, hint: String) -> Self {
        Self { is_met: true, reason, message: hint }
    }

    /// Returns a condition with the status `False`. The message is cut to the length that the API server accepts.
    pub(crate) fn unmet(reason: &'static str, message: String) -> Self {
        Self { is_met: false, reason, message: message::bounded(message) }
    }
}
