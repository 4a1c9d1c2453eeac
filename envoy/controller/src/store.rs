//! The objects of one kind. Each version of an object is validated once, and no object or namespace exceeds its share of memory.

use crate::error_text::{LogLimit, one_line};
use crate::projection::{Kind, NotKept};
use crate::raw_object::RawObject;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// The objects of one kind. One task writes; any task may take a snapshot.
#[derive(Debug)]
pub(crate) struct Store<K: Kind> {
    kind: K,
    state: Mutex<State<K::Kept>>,
}

#[derive(Debug)]
struct State<T> {
    /// By `namespace/name`.
    entries: BTreeMap<String, Entry<T>>,
    /// JSON after projection, by namespace.
    bytes: BTreeMap<String, usize>,
    /// The number of entries with a problem, by namespace. These entries do not count against the namespace's share.
    problems: BTreeMap<String, usize>,
    /// The namespaces with more than [`MAX_PROBLEMS`] unusable objects; the others are not stored.
    overflowed: BTreeSet<String>,
    /// Whether an object without room may have room now.
    has_room_again: bool,
    log_limit: LogLimit,
}

#[derive(Debug)]
struct Entry<T> {
    namespace: String,
    version: String,
    /// The part of the namespace's share that the entry uses.
    bytes: usize,
    problem: Option<Problem>,
    /// `None` for an object that is ignored.
    kept: Option<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Unreadable,
    /// The namespace's share is used up.
    NoRoom,
}

/// Maximum number of unusable objects of one namespace that are stored. Further unusable objects are ignored.
const MAX_PROBLEMS: usize = 4096;

impl<K: Kind> Store<K> {
    pub(crate) fn new(kind: K) -> Self {
        let state = State {
            entries: BTreeMap::new(),
            bytes: BTreeMap::new(),
            problems: BTreeMap::new(),
            overflowed: BTreeSet::new(),
            has_room_again: false,
            log_limit: LogLimit::default(),
        };
        Self { kind, state: Mutex::new(state) }
    }

    /// Adds or replaces an object, unless the store has this version; returns whether planning may depend on the change.
    pub(crate) fn apply(&self, object: &RawObject<'_>) -> bool {
        let key = object.key();
        let room = {
            let state = self.state();
            let known = state.entries.get(&key);
            let is_the_same = known.is_some_and(|entry| entry.version == object.version);
            if is_the_same && known.is_some_and(|entry| entry.problem != Some(Problem::NoRoom)) {
                return false;
            }
            let used = state.bytes.get(&object.namespace).copied().unwrap_or_default();
            K::MAX_NAMESPACE_BYTES - (used - known.map_or(0, |entry| entry.bytes))
        };
        // Without the lock: validation may take long, and only this task writes.
        let read = self.kind.read(object, room);
        let unreadable = |problem, why: &str| Entry {
            namespace: object.namespace.clone(),
            version: object.version.clone(),
            bytes: 0,
            problem: Some(problem),
            kept: self.kind.unreadable(object, why.to_owned()),
        };
        let (entry, why) = match read {
            Ok(read) => {
                let (namespace, version) = (object.namespace.clone(), object.version.clone());
                (Entry { namespace, version, bytes: read.bytes, problem: None, kept: Some(read.kept) }, None)
            }
            Err(NotKept::NoRoom) => {
                let (namespace, kind, limit) = (&object.namespace, K::NAME, K::MAX_NAMESPACE_BYTES >> 20);
                let why =
                    format!("unreadable: namespace {namespace} holds more than {limit} MiB of {kind}s; delete some");
                (unreadable(Problem::NoRoom, &why), Some(why))
            }
            Err(NotKept::Unreadable(why)) => (unreadable(Problem::Unreadable, &why), Some(why)),
        };
        let mut state = self.state();
        let old = state.remove(&key);
        let is_stored = entry.problem.is_none() || state.has_room_for_problem(&object.namespace);
        if !is_stored {
            let is_first = state.overflowed.insert(object.namespace.clone());
            if is_first && state.log_limit.allows() {
                let namespace = one_line(&object.namespace);
                warn!(
                    kind = K::NAME,
                    namespace,
                    limit = MAX_PROBLEMS,
                    "too many unusable objects; ignoring the others"
                );
            }
        } else if let Some(why) = why
            && old.as_ref().and_then(|old| old.problem) != entry.problem
            && state.log_limit.allows()
        {
            warn!(kind = K::NAME, object = one_line(&key), why = one_line(&why), "the object cannot be used");
        }
        let is_the_same = match (&old, is_stored) {
            (Some(old), true) => match (&old.kept, &entry.kept) {
                (Some(old), Some(new)) => self.kind.is_same(old, new),
                (old, new) => old.is_none() && new.is_none(),
            },
            (old, is_stored) => old.is_none() && !is_stored,
        };
        if old.as_ref().is_some_and(|old| old.bytes > entry.bytes) {
            state.look_for_room(&object.namespace);
        }
        if old.is_some_and(|old| old.problem.is_some()) && entry.problem.is_none() {
            state.look_for_ignored(&object.namespace);
        }
        if is_stored {
            state.insert(key, entry);
        }
        !is_the_same
    }

    /// Removes an object; returns whether the store had it.
    pub(crate) fn delete(&self, key: &str) -> bool {
        let mut state = self.state();
        let Some(old) = state.remove(key) else { return false };
        if old.bytes > 0 {
            state.look_for_room(&old.namespace);
        }
        if old.problem.is_some() {
            state.look_for_ignored(&old.namespace);
        }
        true
    }

    /// Removes all objects but these; returns the namespaces of the removed objects.
    pub(crate) fn retain(&self, keys: &BTreeSet<String>) -> BTreeSet<String> {
        let is_gone =
            |(key, entry): (&String, &Entry<_>)| (!keys.contains(key)).then(|| (key.clone(), entry.namespace.clone()));
        let gone: Vec<_> = self.state().entries.iter().filter_map(is_gone).collect();
        gone.into_iter().filter(|(key, _)| self.delete(key)).map(|(_, namespace)| namespace).collect()
    }

    /// Returns whether objects that had no room may have room now, so that a new list is due. Resets this state.
    pub(crate) fn take_has_room_again(&self) -> bool {
        std::mem::take(&mut self.state().has_room_again)
    }

    /// Calls `take` for each object, in the order of the keys; returns the results.
    pub(crate) fn snapshot<R>(&self, take: impl FnMut(&K::Kept) -> R) -> Vec<R> {
        self.state().entries.values().filter_map(|entry| entry.kept.as_ref()).map(take).collect()
    }

    fn state(&self) -> MutexGuard<'_, State<K::Kept>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn remove(&mut self, key: &str) -> Option<Entry<T>> {
        let entry = self.entries.remove(key)?;
        if let Some(bytes) = self.bytes.get_mut(&entry.namespace) {
            *bytes -= entry.bytes;
            if *bytes == 0 {
                self.bytes.remove(&entry.namespace);
            }
        }
        if entry.problem.is_some()
            && let Some(problems) = self.problems.get_mut(&entry.namespace)
        {
            *problems -= 1;
            if *problems == 0 {
                self.problems.remove(&entry.namespace);
            }
        }
        Some(entry)
    }

    fn insert(&mut self, key: String, entry: Entry<T>) {
        *self.bytes.entry(entry.namespace.clone()).or_default() += entry.bytes;
        if entry.problem.is_some() {
            *self.problems.entry(entry.namespace.clone()).or_default() += 1;
        }
        self.entries.insert(key, entry);
    }

    fn has_room_for_problem(&self, namespace: &str) -> bool {
        self.problems.get(namespace).is_none_or(|problems| *problems < MAX_PROBLEMS)
    }

    /// Asks for a new list if objects of a namespace are not stored. The namespace is in `overflowed` again if the list has more
    /// than fit.
    fn look_for_ignored(&mut self, namespace: &str) {
        self.has_room_again |= self.overflowed.remove(namespace);
    }

    fn look_for_room(&mut self, namespace: &str) {
        self.look_for_ignored(namespace);
        self.has_room_again |=
            self.entries.values().any(|entry| entry.problem == Some(Problem::NoRoom) && entry.namespace == namespace);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{MAX_PROBLEMS, Store};
    use crate::projection::{Kind, NotKept, Projected};
    use crate::raw_object::{RawObject, fields, raw, text};
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Objects whose spec is a text of one byte per character. The text `bad` cannot be read.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Texts {
        /// How many objects have been read.
        pub(crate) reads: Arc<AtomicUsize>,
    }

    impl Kind for Texts {
        type Kept = String;

        const NAME: &'static str = "Text";
        const MAX_NAMESPACE_BYTES: usize = 10;

        fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<String>, NotKept> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let kept = fields(object.json, ["spec"])[0].and_then(text).unwrap_or_default();
            match kept.len() {
                _ if kept == "bad" => Err(NotKept::Unreadable("is bad".into())),
                bytes if bytes > room => Err(NotKept::NoRoom),
                bytes => Ok(Projected { kept, bytes }),
            }
        }

        fn unreadable(&self, _: &RawObject<'_>, why: String) -> Option<String> {
            Some(why)
        }
    }

    pub(crate) fn object(namespace: &str, name: &str, version: u32, spec: &str) -> String {
        format!(
            r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}","uid":"u","resourceVersion":"{version}"}},"spec":"{spec}"}}"#
        )
    }

    impl Store<Texts> {
        pub(crate) fn texts(&self) -> Vec<String> {
            self.snapshot(String::clone)
        }

        #[track_caller]
        fn put(&self, namespace: &str, name: &str, version: u32, spec: &str) -> bool {
            self.apply(&RawObject::new(raw(&object(namespace, name, version, spec)).unwrap()).unwrap())
        }
    }

    const FULL: &str = "unreadable: namespace ns holds more than 0 MiB of Texts; delete some";

    #[test]
    fn each_version_of_an_object_is_validated_once() {
        let kind = Texts::default();
        let (store, reads) = (Store::new(kind.clone()), || kind.reads.load(Ordering::Relaxed));
        assert!(store.put("ns", "a", 1, "x") && !store.put("ns", "a", 1, "x"));
        assert!(store.put("ns", "b", 1, "bad") && !store.put("ns", "b", 1, "bad"));
        assert_eq!((store.texts(), reads()), (vec!["x".into(), "is bad".into()], 2));
        assert!(store.put("ns", "a", 2, "y") && store.put("ns", "b", 2, "z"));
        assert_eq!((store.texts(), reads()), (vec!["y".into(), "z".into()], 4));
        assert!(store.delete("ns/a") && !store.delete("ns/a"));
        assert!(store.retain(&BTreeSet::from(["ns/b".to_owned(), "ns/c".to_owned()])).is_empty());
        assert_eq!(store.retain(&BTreeSet::new()), BTreeSet::from(["ns".to_owned()]));
        assert!(store.texts().is_empty() && store.state().bytes.is_empty());
    }

    #[test]
    fn namespace_stores_objects_up_to_its_share() {
        let store = Store::new(Texts::default());
        assert!(store.put("ns", "a", 1, "123456") && store.put("ns", "b", 1, "12345"));
        assert_eq!(store.texts(), ["123456", FULL]);
        // The limit applies neither to another namespace nor to objects that fit or are replaced.
        assert!(store.put("other", "b", 1, "1234567890") && store.put("ns", "c", 1, "1234"));
        assert!(store.put("ns", "a", 2, "654321"));
        assert_eq!(store.texts(), ["654321", FULL, "1234", "1234567890"]);
        // The object that grows loses its own place.
        assert!(store.put("ns", "c", 2, "12345"));
        assert_eq!(store.texts(), ["654321", FULL, FULL, "1234567890"]);
    }

    #[test]
    fn object_above_the_share_is_read_again_when_the_share_has_room() {
        let store = Store::new(Texts::default());
        store.put("ns", "a", 1, "123456");
        store.put("ns", "b", 1, "12345");
        assert!(!store.put("ns", "b", 1, "12345"), "it has no room yet");
        assert!(!store.take_has_room_again());
        store.put("ns", "a", 2, "1234567");
        assert!(!store.take_has_room_again());
        store.put("ns", "a", 3, "1");
        assert!(store.take_has_room_again() && !store.take_has_room_again());
        assert!(store.put("ns", "b", 1, "12345"));
        assert_eq!(store.texts(), ["1", "12345"]);
        store.put("ns", "c", 1, "12345");
        store.delete("other/x");
        assert!(!store.take_has_room_again());
        store.delete("ns/b");
        assert!(store.take_has_room_again());
    }

    #[test]
    fn object_that_becomes_unreadable_frees_its_share() {
        let store = Store::new(Texts::default());
        store.put("ns", "a", 1, "1234567890");
        store.put("ns", "b", 1, "1");
        assert!(store.put("ns", "a", 2, "bad") && store.take_has_room_again());
        assert!(store.put("ns", "b", 1, "1"));
        assert_eq!(store.texts(), ["is bad", "1"]);
    }

    #[test]
    fn unusable_objects_above_the_limit_are_stored_after_others_are_deleted() {
        let store = Store::new(Texts::default());
        for number in 0..MAX_PROBLEMS {
            assert!(store.put("ns", &format!("bad{number}"), 1, "bad"));
        }
        assert!(!store.put("ns", "more", 1, "bad") && !store.put("ns", "large", 1, "12345678901"));
        assert_eq!(store.texts().len(), MAX_PROBLEMS);
        assert!(!store.take_has_room_again());
        // Objects that can be used, and other namespaces, have room.
        assert!(store.put("ns", "good", 1, "1") && store.put("other", "bad", 1, "bad"));
        // A stored object that becomes unusable loses its place.
        assert!(store.put("ns", "good", 2, "bad") && store.take_has_room_again());
        assert!(!store.put("ns", "more", 1, "bad"));
        store.delete("other/bad");
        assert!(!store.take_has_room_again());
        assert!(store.delete("ns/bad0") && store.take_has_room_again());
        assert!(store.put("ns", "more", 1, "bad"));
        store.put("ns", "large", 1, "12345678901");
        assert!(store.put("ns", "bad1", 2, "1") && store.take_has_room_again());
        store.retain(&BTreeSet::new());
        assert!(store.state().problems.is_empty() && store.state().entries.is_empty());
    }
}
