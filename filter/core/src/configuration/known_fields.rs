//! Test support: checks that the list of an object's known fields contains all fields of the serialized object.

use serde::Serialize;

/// Asserts that a value serializes to an object with known fields only.
#[track_caller]
pub(crate) fn assert_known_fields(value: &impl Serialize, known: &[&str]) {
    let value = serde_json::to_value(value).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().collect();
    assert!(keys.iter().all(|key| known.contains(&key.as_str())), "{keys:?} {known:?}");
}
