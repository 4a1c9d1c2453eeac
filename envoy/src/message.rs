//! Messages of conditions: one line each. The length is bounded while a message is built, because messages quote texts of tenants.

use traffic_split::{Object, Problem};

/// Maximum number of characters of a condition's message. The API server refuses a status whose message has more than 32,768 bytes.
const MAX_MESSAGE_CHARACTERS: usize = 8000;

/// Maximum number of problems of one object that a message lists.
const MAX_LISTED_PROBLEMS: usize = 20;

/// Room for `; and N more`.
const RESERVED_CHARACTERS: usize = 32;

/// A list of items, separated by `; `. A message that exceeds its limit is cut and ends in `…`.
pub(crate) struct Message {
    text: String,
    remaining_characters: usize,
    is_cut: bool,
}

/// Returns the text of a condition's message: the text, cut to 8,000 characters.
pub(crate) fn bounded(mut text: String) -> String {
    // A character has at least one byte.
    if text.len() <= MAX_MESSAGE_CHARACTERS {
        text.shrink_to_fit();
        return text;
    }
    let mut message = Message::new();
    message.push(&[&text]);
    message.into_text()
}

/// Returns problems in one line, each with its field: at most 20 problems and 8,000 characters.
pub(crate) fn list_problems(problems: &[Problem]) -> String {
    let text = |problem: &Problem| match (&problem.object, problem.field.as_str()) {
        (Object::Configuration, _) => problem.to_string(),
        (_, "") => problem.message.clone(),
        (_, field) => format!("{field}: {}", problem.message),
    };
    let mut message = Message::with_limit(MAX_MESSAGE_CHARACTERS - RESERVED_CHARACTERS);
    let mut listed = 0;
    for problem in problems.iter().take(MAX_LISTED_PROBLEMS) {
        listed += 1;
        if !message.push(&[&text(problem)]) {
            break;
        }
    }
    let mut text = message.text;
    if listed < problems.len() {
        text.push_str(&format!("; and {} more", problems.len() - listed));
    }
    text.shrink_to_fit();
    text
}

// === impl Message ===

impl Message {
    /// Returns an empty message of a condition.
    pub(crate) fn new() -> Self {
        Self::with_limit(MAX_MESSAGE_CHARACTERS)
    }

    fn with_limit(max_characters: usize) -> Self {
        Self { text: String::new(), remaining_characters: max_characters, is_cut: false }
    }

    /// Appends an item, given in parts. Returns whether the item fits.
    pub(crate) fn push(&mut self, parts: &[&str]) -> bool {
        let separator = if self.text.is_empty() { "" } else { "; " };
        [separator].iter().chain(parts).all(|part| self.append(part))
    }

    fn append(&mut self, part: &str) -> bool {
        if self.is_cut {
            return false;
        }
        let remaining = self.remaining_characters;
        // Count at most as many characters as fit: a part may be very long. A character has at least one byte.
        let length =
            if part.len() <= remaining { part.chars().count() } else { part.chars().take(remaining + 1).count() };
        if length <= remaining {
            self.text.push_str(part);
            self.remaining_characters -= length;
            return true;
        }
        self.text.extend(part.chars().take(remaining));
        self.text.pop();
        self.text.push('…');
        self.is_cut = true;
        false
    }

    /// Returns whether an item did not fit.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn into_text(mut self) -> String {
        self.text.shrink_to_fit();
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_MESSAGE_CHARACTERS, Message, bounded};

    #[test]
    fn text_of_exactly_the_limit_is_kept_and_one_more_character_cuts_it() {
        for character in ["a", "é"] {
            let full = character.repeat(MAX_MESSAGE_CHARACTERS);
            assert_eq!(bounded(full.clone()), full);
            let mut message = Message::new();
            assert!(message.push(&[&full]) && !message.is_cut());
            assert!(!message.push(&["b"]) && message.is_cut());
            let cut = format!("{}…", character.repeat(MAX_MESSAGE_CHARACTERS - 1));
            assert_eq!(message.into_text(), cut);
            assert_eq!(bounded(full + "b"), cut);
        }
    }
}
