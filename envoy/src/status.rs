//! The status and the Events of a TrafficSplit, derived from the plan.

use crate::condition::Condition;
use crate::document;
use crate::plan::{ServedVersion, SplitStatus};
use serde_json::{Value, json};

/// A Kubernetes Event about a change of a TrafficSplit's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEvent {
    /// Whether the Event's type is `Warning` and not `Normal`.
    pub is_warning: bool,
    /// The Event's reason: the reason of the condition that changed.
    pub reason: &'static str,
    /// The Event's message.
    pub message: String,
}

/// Returns the `status` of a TrafficSplit. Conditions that did not change keep their `lastTransitionTime`. `object` is
/// the TrafficSplit with its present status, `now` the time in RFC 3339.
#[must_use]
pub fn status_value(split: &SplitStatus, object: &Value, now: &str) -> Value {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let conditions = conditions(split).map(|(name, condition)| {
        let old = old_condition(object, name);
        let status = if condition.is_met { "True" } else { "False" };
        let since =
            old.filter(|old| old["status"] == status).and_then(|old| document::text(old, "/lastTransitionTime"));
        let message = match old {
            Some(old) if is_same(condition, old) => old["message"].clone(),
            _ => condition.message.as_str().into(),
        };
        let mut value = json!({
            "type": name,
            "status": status,
            "reason": condition.reason,
            "message": message,
            "lastTransitionTime": since.unwrap_or(now),
        });
        // While sidecars have an earlier version, `Programmed` keeps the generation of that version.
        let observed = match (name, split.served_version) {
            ("Programmed", ServedVersion::LastGood) => old.and_then(|old| old.get("observedGeneration")?.as_i64()),
            _ => generation,
        };
        if let Some(observed) = observed {
            value["observedGeneration"] = observed.into();
        }
        value
    });
    json!({"state": split.state(), "backends": split.backends, "conditions": conditions})
}

/// Returns the Events for the conditions that differ from those in the status of `object`.
#[must_use]
pub fn status_events(split: &SplitStatus, object: &Value) -> Vec<StatusEvent> {
    let is_new = |(name, condition): &(&str, &Condition)| match old_condition(object, name) {
        // A hint changes for many splits at once.
        Some(old) if condition.is_met && old["status"] == "True" => old["reason"] != condition.reason,
        Some(old) => !is_same(condition, old),
        // A new split whose other conditions are met needs one Event only.
        None => !condition.is_met || *name == "Programmed",
    };
    let event = |(_, condition): (&str, &Condition)| StatusEvent {
        is_warning: !condition.is_met,
        reason: condition.reason,
        message: match condition.is_met {
            true => format!("sidecars get {}", split.backends),
            false => condition.message.clone(),
        },
    };
    // A split that is not accepted is not programmed either: one Event is enough.
    let is_reported = |(name, condition): &(&str, &Condition)| match *name {
        "Accepted" => !condition.is_met,
        "Programmed" => split.accepted.is_met,
        _ => !condition.is_met,
    };
    conditions(split).into_iter().filter(is_reported).filter(is_new).map(event).collect()
}

/// Returns whether a condition of the status has the same reason and message. Ignores digits in a refusal: the API server's
/// messages contain ports and times that differ in each attempt.
fn is_same(condition: &Condition, old: &Value) -> bool {
    let without_digits = |text: &str| text.replace(|char: char| char.is_ascii_digit(), "");
    let message = document::text(old, "/message").unwrap_or_default();
    let is_same_message = match condition.reason {
        "Refused" => without_digits(message) == without_digits(&condition.message),
        _ => message == condition.message,
    };
    old["reason"] == condition.reason && is_same_message
}

fn conditions(split: &SplitStatus) -> [(&'static str, &Condition); 5] {
    [
        ("Accepted", &split.accepted),
        ("Programmed", &split.programmed),
        ("ResolvedRefs", &split.resolved),
        ("RulesApply", &split.rules_apply),
        ("Reachable", &split.reachable),
    ]
}

fn old_condition<'o>(object: &'o Value, name: &str) -> Option<&'o Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == name)
}
