//! A verdict as Kubernetes shows it: the status of a TrafficSplit, and what changed in it that people want to hear of.

use crate::condition::Said;
use crate::document;
use crate::plan::{Serves, Verdict};
use serde_json::{Value, json};

/// Something to tell of a TrafficSplit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether somebody should do something.
    pub is_warning: bool,
    /// One word.
    pub reason: &'static str,
    /// What there is to know.
    pub message: String,
}

/// The status of a TrafficSplit, which keeps what stays as it is of the one that the object has; `now` is the time, in
/// RFC 3339.
#[must_use]
pub fn status(verdict: &Verdict, object: &Value, now: &str) -> Value {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let conditions = conditions(verdict).map(|(name, said)| {
        let old = condition(object, name);
        let status = if said.holds { "True" } else { "False" };
        let since =
            old.filter(|old| old["status"] == status).and_then(|old| document::text(old, "/lastTransitionTime"));
        let mut condition = json!({
            "type": name,
            "status": status,
            "reason": said.reason,
            "message": old.filter(|old| is_said(said, old)).map_or(&json!(said.message), |old| &old["message"]),
            "lastTransitionTime": since.unwrap_or(now),
        });
        // Of which version it is said: that sidecars have an earlier one was said when they got it.
        let observed = match (name, verdict.serves) {
            ("Programmed", Serves::LastGood) => old.and_then(|old| old.get("observedGeneration")?.as_i64()),
            _ => generation,
        };
        if let Some(observed) = observed {
            condition["observedGeneration"] = observed.into();
        }
        condition
    });
    json!({"state": verdict.state(), "backends": verdict.backends, "conditions": conditions})
}

/// What is new in a verdict since the object's status was written.
#[must_use]
pub fn news(verdict: &Verdict, object: &Value) -> Vec<News> {
    let is_new = |(name, said): &(&str, &Said)| match condition(object, name) {
        Some(old) => !is_said(said, old),
        // That nothing is missing is no news.
        None => !said.holds || *name == "Programmed",
    };
    let tell = |(_, said): (&str, &Said)| News {
        is_warning: !said.holds,
        reason: said.reason,
        message: if said.message.is_empty() {
            format!("sidecars get {}", verdict.backends)
        } else {
            said.message.clone()
        },
    };
    // Of what isn't accepted, why is told, and not that it therefore isn't given out.
    let told = |(name, said): &(&str, &Said)| match *name {
        "Accepted" => !said.holds,
        "Programmed" => verdict.accepted.holds,
        _ => !said.holds,
    };
    conditions(verdict).into_iter().filter(told).filter(is_new).map(tell).collect()
}

/// Whether a condition says it already, but for digits: the API server's own words may have ports and times in them, others at
/// each try.
fn is_said(said: &Said, condition: &Value) -> bool {
    let words = |text: &str| text.replace(|char: char| char.is_ascii_digit(), "");
    let message = document::text(condition, "/message").unwrap_or_default();
    let is_the_same = match said.reason {
        "Refused" => words(message) == words(&said.message),
        _ => message == said.message,
    };
    condition["reason"] == said.reason && is_the_same
}

fn conditions(verdict: &Verdict) -> [(&'static str, &Said); 5] {
    [
        ("Accepted", &verdict.accepted),
        ("Programmed", &verdict.programmed),
        ("ResolvedRefs", &verdict.resolved),
        ("RulesApply", &verdict.rules_apply),
        ("Reachable", &verdict.reachable),
    ]
}

fn condition<'o>(object: &'o Value, name: &str) -> Option<&'o Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == name)
}
