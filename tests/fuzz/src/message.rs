//! Rules for messages about untrusted input.

use std::fmt::Display;

/// Checks that a message is one line without control characters: it is written to logs and terminals.
pub(crate) fn check(message: impl Display) {
    let message = message.to_string();
    assert!(!message.is_empty(), "a message is empty");
    assert!(!message.contains(char::is_control), "a message has control characters: {message:?}");
}
