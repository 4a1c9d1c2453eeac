//! The API server's responses to lists and watches, as text: takes their objects into a [`Store`], without decoding whole objects,
//! so no object makes a list or a watch fail.

use crate::error_text::describe;
use crate::projection::Kind;
use crate::raw_object::{RawObject, elements, fields, raw, text};
use crate::store::Store;
use std::collections::BTreeSet;
use std::io;

/// Why a list or a watch ended early.
#[derive(Debug)]
pub(crate) enum WatchError {
    /// The API server no longer has the version: a new list is due.
    Gone(String),
    Other(String),
}

/// A page of a list.
pub(crate) struct ListPage {
    pub(crate) version: String,
    pub(crate) continue_token: Option<String>,
    /// The namespaces of the objects that have changed.
    pub(crate) changed: BTreeSet<String>,
}

/// Puts the objects of a page into the store; also returns their keys.
///
/// # Errors
/// If the text is not a list with a resourceVersion.
pub(crate) fn read_page<K: Kind>(store: &Store<K>, page: &str) -> Result<(ListPage, Vec<String>), WatchError> {
    let page = raw(page).map_err(|why| WatchError::Other(format!("the list is not JSON: {why}")))?;
    let [metadata, items] = fields(page, ["metadata", "items"]);
    let metadata = metadata.map(|metadata| fields(metadata, ["resourceVersion", "continue"]));
    let [version, token] =
        metadata.unwrap_or_default().map(|field| field.and_then(text).filter(|text| !text.is_empty()));
    let Some(version) = version else {
        return Err(WatchError::Other("the list has no metadata.resourceVersion".into()));
    };
    let mut listed = ListPage { version, continue_token: token, changed: BTreeSet::new() };
    let mut keys = Vec::new();
    for object in items.map(elements).unwrap_or_default().into_iter().filter_map(RawObject::new) {
        if store.apply(&object) {
            listed.changed.insert(object.namespace.clone());
        }
        keys.push(object.key());
    }
    Ok((listed, keys))
}

/// WatchEvents of a watch.
#[derive(Default)]
pub(crate) struct WatchEvents {
    /// The resourceVersion of the last event.
    pub(crate) version: Option<String>,
    /// The namespaces of the objects that have changed.
    pub(crate) changed: BTreeSet<String>,
    pub(crate) failure: Option<WatchError>,
}

/// Applies events to the store. Only the last event of each object counts.
pub(crate) fn read_events<K: Kind>(store: &Store<K>, lines: &[String]) -> WatchEvents {
    let mut read = WatchEvents::default();
    let mut changes: Vec<(bool, RawObject<'_>)> = Vec::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let event = raw(line).map(|event| fields(event, ["type", "object"]));
        let (kind, object) = match event {
            Ok([Some(kind), Some(object)]) => (text(kind).unwrap_or_default(), object),
            Ok(_) => continue,
            Err(why) => {
                read.failure = Some(WatchError::Other(format!("a watch event is not JSON: {why}")));
                break;
            }
        };
        match kind.as_str() {
            "ADDED" | "MODIFIED" | "DELETED" => {
                if let Some(object) = RawObject::new(object) {
                    let version = Some(object.resource_version.clone()).filter(|version| !version.is_empty());
                    read.version = version.or(read.version);
                    changes.push((kind == "DELETED", object));
                }
            }
            "BOOKMARK" => {
                let [metadata] = fields(object, ["metadata"]);
                let version = metadata.and_then(|metadata| text(fields(metadata, ["resourceVersion"])[0]?));
                read.version = version.or(read.version);
            }
            "ERROR" => {
                let [code, message] = fields(object, ["code", "message"]);
                let code = code.map(|code| code.get().to_owned()).unwrap_or_default();
                let message = format!("{} ({code})", message.and_then(text).unwrap_or_default());
                let failure = if code == "410" { WatchError::Gone(message) } else { WatchError::Other(message) };
                read.failure = Some(failure);
                break;
            }
            _ => {}
        }
    }
    let mut seen = BTreeSet::new();
    changes.reverse();
    changes.retain(|(_, object)| seen.insert(object.key()));
    for (is_deleted, object) in changes.iter().rev() {
        let changed = if *is_deleted { store.delete(&object.key()) } else { store.apply(object) };
        if changed {
            read.changed.insert(object.namespace.clone());
        }
    }
    read
}

// === impl WatchError ===

impl From<kube::Error> for WatchError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 410 => Self::Gone(describe(&error)),
            _ => Self::Other(describe(&error)),
        }
    }
}

impl From<io::Error> for WatchError {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}
