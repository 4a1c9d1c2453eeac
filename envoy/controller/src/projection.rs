//! Projection: the controller keeps only the parts of an object that planning uses. All other parts are skipped, so they cost no
//! memory and cannot make an object unreadable. The modules of `kinds` name the parts of each kind.

use crate::raw_object::{RawObject, each_field, elements, fields, parse, scalar};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// One kind of object: which parts are kept, and how many bytes.
pub(crate) trait Kind: Send + Sync + 'static {
    /// The kept parts of one object.
    type Kept: PartialEq + Send + Sync + 'static;

    /// The kind's name, as in `kind`.
    const NAME: &'static str;

    /// The largest object that is kept, in bytes of JSON after projection.
    const MAX_OBJECT_BYTES: usize = 128 << 10;

    /// The share of one namespace: bytes of JSON after projection, plus [`ENTRY_BYTES`] for each object.
    const MAX_NAMESPACE_BYTES: usize = 4 << 20;

    /// Reads and validates an object, of which `room` bytes may be kept.
    ///
    /// # Errors
    /// If the object cannot be read, or is larger than [`MAX_OBJECT_BYTES`](Self::MAX_OBJECT_BYTES) or the room.
    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept>;

    /// Returns whether a new version of an object needs no pass.
    fn is_same(&self, old: &Self::Kept, new: &Self::Kept) -> bool {
        old == new
    }

    /// Returns the entry for an object that cannot be read; `None` if the kind ignores such objects.
    fn unreadable(&self, object: &RawObject<'_>, why: String) -> Option<Self::Kept> {
        let _ = (object, why);
        None
    }
}

/// The kept parts of an object, with their size.
#[derive(Debug)]
pub(crate) struct Projected<T> {
    pub(crate) kept: T,
    /// The part of the namespace's share that the object uses: JSON after projection, plus [`ENTRY_BYTES`].
    pub(crate) bytes: usize,
}

/// Why an object is not kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotKept {
    /// The object cannot be read, or is too large; the message for its author.
    Unreadable(String),
    /// The object does not fit into its namespace's share.
    NoRoom,
}

/// The overhead of each object in its namespace's share: keys, versions, allocations.
const ENTRY_BYTES: usize = 512;

/// Checks the size of an object, in bytes of JSON after projection.
///
/// # Errors
/// If it is above the kind's limit.
pub(crate) fn within_limit<K: Kind>(bytes: usize) -> Result<(), NotKept> {
    if bytes <= K::MAX_OBJECT_BYTES {
        return Ok(());
    }
    let (size, limit) = (bytes.div_ceil(1024), K::MAX_OBJECT_BYTES >> 10);
    Err(NotKept::Unreadable(format!("the object has {size} KiB of JSON; the limit for a {} is {limit} KiB", K::NAME)))
}

/// Returns the bytes that an object of this size takes of its namespace's share.
///
/// # Errors
/// If the share has no room for it.
pub(crate) fn within_room(bytes: usize, room: usize) -> Result<usize, NotKept> {
    let bytes = bytes + ENTRY_BYTES;
    if bytes <= room { Ok(bytes) } else { Err(NotKept::NoRoom) }
}

/// Parses the part of an object with this name.
///
/// # Errors
/// If the part nests too deeply, or contains a number or text that Rust's types cannot represent.
pub(crate) fn parse_part(name: &str, part: &RawValue) -> Result<Value, NotKept> {
    parse(part).map_err(|why| NotKept::Unreadable(format!("{name}: {why}")))
}

/// Measures the kept parts of an object.
///
/// # Errors
/// If they are larger than the kind's limit or the room.
pub(crate) fn projected<K: Kind<Kept = Arc<Value>>>(
    value: Value,
    room: usize,
) -> Result<Projected<Arc<Value>>, NotKept> {
    let bytes = value.to_string().len();
    within_limit::<K>(bytes)?;
    Ok(Projected { bytes: within_room(bytes, room)?, kept: Arc::new(value) })
}

/// Returns the annotations whose keys are kept.
pub(crate) fn annotations<'a>(object: &RawObject<'a>, is_kept: impl Fn(&str) -> bool) -> Vec<(String, &'a RawValue)> {
    let mut kept = Vec::new();
    if let [Some(annotations)] = fields(object.metadata, ["annotations"]) {
        each_field(annotations, |key, value| {
            if is_kept(key) {
                kept.push((key.to_owned(), value));
            }
        });
    }
    kept
}

/// Returns an object with its `metadata.name` and `metadata.namespace` only.
pub(crate) fn with_name(object: &RawObject<'_>) -> Value {
    let mut metadata = json!({"name": object.name});
    if !object.namespace.is_empty() {
        metadata["namespace"] = object.namespace.as_str().into();
    }
    json!({"metadata": metadata})
}

/// Returns an object with its `apiVersion`, its `kind`, and the metadata that statuses, Events and validation need.
pub(crate) fn type_and_metadata<K: Kind>(object: &RawObject<'_>) -> Value {
    let mut value = Value::Object(scalars(object.json, ["apiVersion", "kind"]));
    if value.get("kind").is_none() {
        value["kind"] = K::NAME.into();
    }
    let names = ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"];
    value["metadata"] = scalars(object.metadata, names).into();
    value
}

/// Returns the members with these names that are a string, a number or a boolean.
pub(crate) fn scalars<const N: usize>(object: &RawValue, names: [&str; N]) -> Map<String, Value> {
    let found = names.into_iter().zip(fields(object, names));
    found.filter_map(|(name, value)| Some((name.to_owned(), scalar(value?)?))).collect()
}

/// Returns the elements of an array that are a string, a number or a boolean.
pub(crate) fn scalar_elements(array: Option<&RawValue>) -> Vec<Value> {
    array.map(elements).unwrap_or_default().into_iter().filter_map(scalar).collect()
}
