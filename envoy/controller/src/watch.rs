//! Keeps a [`Store`] as the API server has it: lists the objects of a kind page by page, then watches for changes. Objects are
//! taken out of the responses as raw JSON, so none of them makes a list or a watch fail.

use crate::error_text::{RepeatedFailure, describe, one_line};
use crate::projection::Kind;
use crate::raw_object::{RawObject, elements, fields, raw, text};
use crate::store::Store;
use crate::wakeup::Wakeup;
use futures::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use futures::{FutureExt, pin_mut};
use kube::Client;
use kube::api::{ApiResource, DynamicObject, ListParams, Resource, WatchParams};
use kube::core::Request;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// The API server ends a watch after this. A connection on which nothing comes for [`IDLE_TIMEOUT`] is dead.
const WATCH_SECONDS: u32 = 15;
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest wait after a failure, and the first.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// A watch that ends sooner is begun again after this.
const MIN_WATCH: Duration = Duration::from_secs(1);
/// Between two lists that look for room for objects that had none.
const MIN_RELIST_INTERVAL: Duration = Duration::from_secs(30);
/// Objects per page of a list. A page of more than [`MAX_PAGE_BYTES`] is requested again with half of the objects.
const PAGE_SIZE: u32 = 50;
const MAX_PAGE_BYTES: usize = 8 << 20;
/// An object in JSON. etcd takes 1.5 MiB, of which each byte may be escaped as six.
const MAX_OBJECT_BYTES: usize = 16 << 20;
/// Watch events that have come meanwhile are read together up to this size, so that of several versions of an object only the
/// last is validated.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Pages that all watches together hold at once.
pub(crate) const MAX_CONCURRENT_PAGES: usize = 2;

/// What a watch reads.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) resource: ApiResource,
    /// `None` for all namespaces.
    pub(crate) namespace: Option<String>,
    /// Only the object with this name.
    pub(crate) name: Option<String>,
}

/// What the watches of all kinds share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Notified of each change that planning may depend on.
    pub(crate) wakeup: Wakeup,
    /// [`MAX_CONCURRENT_PAGES`].
    pub(crate) pages: Arc<Semaphore>,
    /// Counts the failures.
    pub(crate) failures: prometheus_client::metrics::counter::Counter,
}

/// Watches a kind until the process ends. The receiver hears when the store has all objects for the first time.
pub(crate) fn watch<K: Kind>(
    client: Client,
    source: Source,
    kind: K,
    shared: &Shared,
) -> (Arc<Store<K>>, oneshot::Receiver<()>) {
    let store = Arc::new(Store::new(kind));
    let (listed, is_listed) = oneshot::channel();
    let watcher = Watcher {
        request: Request::new(DynamicObject::url_path(&source.resource, source.namespace.as_deref())),
        client,
        field_selector: source.name.map(|name| format!("metadata.name={name}")),
        store: store.clone(),
        shared: shared.clone(),
        listed: Some(listed),
        version: None,
        listed_at: None,
        failures: RepeatedFailure::default(),
    };
    tokio::spawn(watcher.run());
    (store, is_listed)
}

struct Watcher<K: Kind> {
    client: Client,
    request: Request,
    field_selector: Option<String>,
    store: Arc<Store<K>>,
    shared: Shared,
    listed: Option<oneshot::Sender<()>>,
    /// The resourceVersion to watch from; `None` if a list is due.
    version: Option<String>,
    listed_at: Option<Instant>,
    failures: RepeatedFailure,
}

/// Why a list or a watch ended early.
#[derive(Debug)]
enum Failure {
    /// The API server no longer has the version: a new list is due.
    Gone(String),
    Other(String),
}

/// What came of a request for a page.
enum Page {
    Read(String),
    TooLarge,
}

// === impl Watcher ===

impl<K: Kind> Watcher<K> {
    async fn run(mut self) {
        loop {
            let ended = match self.version.clone() {
                None => self.list().await,
                Some(version) => self.follow(&version).await,
            };
            if let Err(why) = ended {
                self.back_off(why).await;
            }
            let may_relist = self.listed_at.is_none_or(|at| at.elapsed() >= MIN_RELIST_INTERVAL);
            if self.version.is_some() && may_relist && self.store.take_has_room_again() {
                self.version = None;
            }
        }
    }

    async fn back_off(&mut self, why: Failure) {
        self.shared.failures.inc();
        let why = match why {
            Failure::Gone(why) => {
                self.version = None;
                why
            }
            Failure::Other(why) => why,
        };
        if self.failures.should_log(&why) {
            let failures = self.failures.count();
            warn!(kind = K::NAME, why = one_line(&why), failures, "the watch failed; trying again");
        }
        sleep((MIN_BACKOFF * (1 << (self.failures.count() - 1).min(6))).min(MAX_BACKOFF)).await;
    }

    /// Tells the reconcile loop that objects of these namespaces have changed.
    fn tell(&self, namespaces: &BTreeSet<String>) {
        namespaces.iter().for_each(|namespace| self.shared.wakeup.changed(namespace));
    }

    fn succeeded(&mut self) {
        let failures = self.failures.reset();
        if failures > 0 {
            info!(kind = K::NAME, failures, "the watch works again");
        }
    }

    /// Brings the store to what the API server has now.
    async fn list(&mut self) -> Result<(), Failure> {
        let pages = self.shared.pages.clone();
        let mut seen = BTreeSet::new();
        let mut limit = PAGE_SIZE;
        let mut continue_token = None;
        let version = loop {
            let _permit = pages.acquire().await.map_err(|why| Failure::Other(why.to_string()))?;
            let page = match self.page(limit, continue_token.take()).await? {
                (Page::Read(page), _) => page,
                (Page::TooLarge, token) => {
                    (limit, continue_token) = (limit / 2, token);
                    continue;
                }
            };
            let is_small = page.len() < MAX_PAGE_BYTES / 4;
            let store = self.store.clone();
            let (listed, keys) = in_background(move || read_page(&store, &page)).await??;
            seen.extend(keys);
            self.tell(&listed.changed);
            match listed.continue_token {
                Some(token) => continue_token = Some(token),
                None => break listed.version,
            }
            if is_small {
                limit = (limit * 2).min(PAGE_SIZE);
            }
        };
        // Objects that are gone leave the store last; a pass in between sees them as it saw them before.
        self.tell(&self.store.retain(&seen));
        self.succeeded();
        (self.version, self.listed_at) = (Some(version), Some(Instant::now()));
        if let Some(listed) = self.listed.take() {
            _ = listed.send(());
        }
        Ok(())
    }

    /// Requests a page; also returns the token that the page was requested with.
    async fn page(&self, limit: u32, continue_token: Option<String>) -> Result<(Page, Option<String>), Failure> {
        let parameters = ListParams {
            field_selector: self.field_selector.clone(),
            limit: Some(limit),
            continue_token,
            ..ListParams::default()
        };
        let request = self.request.list(&parameters).map_err(|why| Failure::Other(why.to_string()))?;
        let max_bytes = if limit > 1 { MAX_PAGE_BYTES } else { MAX_OBJECT_BYTES };
        let body = self.client.request_stream(request).await.map_err(Failure::from)?;
        pin_mut!(body);
        let mut page = Vec::new();
        (body.take(max_bytes as u64 + 1).read_to_end(&mut page).await).map_err(Failure::from)?;
        if page.len() > max_bytes {
            if limit > 1 {
                return Ok((Page::TooLarge, parameters.continue_token));
            }
            return Err(Failure::Other(format!("an object has more than {} MiB of JSON", MAX_OBJECT_BYTES >> 20)));
        }
        Ok((Page::Read(into_text(page)), parameters.continue_token))
    }

    /// Reads changes from this version on, until the API server ends the watch.
    async fn follow(&mut self, version: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        let parameters = WatchParams {
            field_selector: self.field_selector.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = self.request.watch(&parameters, version).map_err(|why| Failure::Other(why.to_string()))?;
        let body = self.client.request_stream(request).await.map_err(Failure::from)?;
        pin_mut!(body);
        loop {
            let first = timeout(IDLE_TIMEOUT, read_line(&mut body)).await;
            let first = first.map_err(|_| Failure::Other(format!("nothing came for {IDLE_TIMEOUT:?}")))??;
            let Some(first) = first else { break };
            let mut size = first.len();
            let mut lines = vec![first];
            let mut ended = false;
            while size < MAX_BATCH_BYTES && !ended {
                // A line of which only a part has come is waited for: its first part is read.
                match body.fill_buf().now_or_never() {
                    None => break,
                    Some(Err(why)) => return Err(why.into()),
                    Some(Ok(_)) => {}
                }
                match timeout(IDLE_TIMEOUT, read_line(&mut body)).await {
                    Ok(Ok(Some(line))) => {
                        size += line.len();
                        lines.push(line);
                    }
                    Ok(Ok(None)) => ended = true,
                    Ok(Err(why)) => return Err(why.into()),
                    Err(_) => return Err(Failure::Other(format!("nothing came for {IDLE_TIMEOUT:?}"))),
                }
            }
            let store = self.store.clone();
            let read = in_background(move || read_events(&store, &lines)).await?;
            self.tell(&read.changed);
            if let Some(version) = read.version {
                self.version = Some(version);
                self.succeeded();
            }
            if let Some(why) = read.failure {
                return Err(why);
            }
            if ended {
                break;
            }
        }
        if begun.elapsed() < MIN_WATCH {
            sleep(MIN_WATCH).await;
        }
        self.succeeded();
        Ok(())
    }
}

/// Runs what may take long where it holds up no other task.
async fn in_background<R: Send + 'static>(task: impl FnOnce() -> R + Send + 'static) -> Result<R, Failure> {
    spawn_blocking(task).await.map_err(|why| Failure::Other(format!("reading objects failed: {why}")))
}

/// Reads a line; `None` at the end, also in the middle of a line.
async fn read_line(body: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    body.take(MAX_OBJECT_BYTES as u64).read_until(b'\n', &mut line).await?;
    match line.last() {
        Some(b'\n') => Ok(Some(into_text(line))),
        _ if line.len() == MAX_OBJECT_BYTES => {
            Err(io::Error::other(format!("an event has more than {} MiB", MAX_OBJECT_BYTES >> 20)))
        }
        _ => Ok(None),
    }
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|why| String::from_utf8_lossy(why.as_bytes()).into_owned())
}

struct Listed {
    version: String,
    continue_token: Option<String>,
    /// The namespaces of the objects that have changed.
    changed: BTreeSet<String>,
}

/// Takes the objects of a page into the store; returns their keys, too.
///
/// # Errors
/// If the text is not a list with a version. No object in it makes it fail.
fn read_page<K: Kind>(store: &Store<K>, page: &str) -> Result<(Listed, Vec<String>), Failure> {
    let page = raw(page).map_err(|why| Failure::Other(format!("the list is not JSON: {why}")))?;
    let [metadata, items] = fields(page, ["metadata", "items"]);
    let metadata = metadata.map(|metadata| fields(metadata, ["resourceVersion", "continue"]));
    let [version, token] =
        metadata.unwrap_or_default().map(|field| field.and_then(text).filter(|text| !text.is_empty()));
    let Some(version) = version else {
        return Err(Failure::Other("the list has no metadata.resourceVersion".into()));
    };
    let mut listed = Listed { version, continue_token: token, changed: BTreeSet::new() };
    let mut keys = Vec::new();
    for object in items.map(elements).unwrap_or_default().into_iter().filter_map(RawObject::new) {
        if store.apply(&object) {
            listed.changed.insert(object.namespace.clone());
        }
        keys.push(object.key());
    }
    Ok((listed, keys))
}

#[derive(Default)]
struct Events {
    /// The resourceVersion of the last event.
    version: Option<String>,
    /// The namespaces of the objects that have changed.
    changed: BTreeSet<String>,
    failure: Option<Failure>,
}

/// Takes events into the store. Of the events of one object only the last counts.
fn read_events<K: Kind>(store: &Store<K>, lines: &[String]) -> Events {
    let mut read = Events::default();
    let mut changes: Vec<(bool, RawObject<'_>)> = Vec::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let event = raw(line).map(|event| fields(event, ["type", "object"]));
        let (kind, object) = match event {
            Ok([Some(kind), Some(object)]) => (text(kind).unwrap_or_default(), object),
            Ok(_) => continue,
            Err(why) => {
                read.failure = Some(Failure::Other(format!("a watch event is not JSON: {why}")));
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
                let failure = if code == "410" { Failure::Gone(message) } else { Failure::Other(message) };
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

// === impl Failure ===

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 410 => Self::Gone(describe(&error)),
            _ => Self::Other(describe(&error)),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CONCURRENT_PAGES, MAX_PAGE_BYTES, Shared, Source, watch};
    use crate::own_writes::OwnWrites;
    use crate::projection::{HttpRouteGroups, Kind, Services, TrafficSplits};
    use crate::store::Store;
    use crate::store::tests::{Texts, object};
    use crate::wakeup::Wakeup;
    use http::{Request, Response};
    use kube::Client;
    use kube::api::{ApiResource, GroupVersionKind};
    use kube::client::Body;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future;
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep, timeout};

    /// An API server that gives these answers, one for each request, and none after the last. While the next answer is a list,
    /// a watch ends without events.
    #[derive(Clone, Default)]
    struct ApiServer {
        answers: Arc<Mutex<VecDeque<(u16, String)>>>,
        /// The queries that took an answer, and the one after the last.
        queries: Arc<Mutex<Vec<String>>>,
    }

    impl ApiServer {
        fn answering(answers: impl IntoIterator<Item = (u16, String)>) -> Self {
            Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
        }

        fn client(&self) -> Client {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let query = request.uri().query().unwrap_or_default().to_owned();
                    let is_list = |answer: &(u16, String)| answer.1.starts_with("{\"kind\":\"List\"");
                    let empty = Response::new(Body::empty());
                    if query.contains("watch=") && server.answers.lock().unwrap().front().is_some_and(is_list) {
                        return Ok(empty);
                    }
                    server.queries.lock().unwrap().push(query);
                    let answer = server.answers.lock().unwrap().pop_front();
                    let Some((status, body)) = answer else { return future::pending().await };
                    let response = Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            Client::new(service, "default")
        }

        /// Watches until every answer has been read; returns the store.
        async fn watched<K: Kind>(&self, kind: K) -> Arc<Store<K>> {
            let answers = self.answers.lock().unwrap().len();
            let shared = Shared {
                wakeup: Wakeup::default(),
                pages: Arc::new(Semaphore::new(MAX_CONCURRENT_PAGES)),
                failures: Default::default(),
            };
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", K::NAME));
            let source = Source { resource, namespace: None, name: Some("it".into()) };
            let (store, listed) = watch(self.client(), source, kind, &shared);
            timeout(Duration::from_secs(60), listed).await.unwrap().unwrap();
            // The request after the last answer.
            while self.queries.lock().unwrap().len() <= answers {
                sleep(Duration::from_millis(10)).await;
            }
            store
        }

        fn queries(&self) -> Vec<String> {
            self.queries.lock().unwrap().clone()
        }
    }

    fn list(version: u32, token: &str, items: &[String]) -> (u16, String) {
        let items = items.join(",");
        (
            200,
            format!(
                r#"{{"kind":"List","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{items}]}}"#
            ),
        )
    }

    fn events(events: &[(&str, String)]) -> (u16, String) {
        (200, events.iter().map(|(kind, object)| format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")).collect())
    }

    fn status(code: u16) -> String {
        format!(r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","code":{code}}}"#)
    }

    fn nested(levels: usize) -> String {
        "{\"a\":[".repeat(levels / 2) + "1e999" + &"]}".repeat(levels / 2)
    }

    fn of_version(queries: &[String]) -> Vec<&str> {
        let version = |query: &'_ String| query.find("resourceVersion=").map(|at| at + "resourceVersion=".len());
        queries.iter().map(|query| version(query).map_or("list", |at| &query[at..])).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_cannot_be_read_costs_only_itself() {
        for levels in [130, 10_000, 100_000] {
            let deep = nested(levels);
            let group = |name: &str, spec: &str| {
                format!(
                    r#"{{"apiVersion":"specs.smi-spec.io/v1alpha4","kind":"HTTPRouteGroup","metadata":{{"name":"{name}",
                        "namespace":"ns","uid":"u","resourceVersion":"1","labels":{deep}}},"spec":{spec},"other":{deep}}}"#
                )
                .replace('\n', " ")
            };
            let good = r#"{"matches":[{"name":"m","headers":{"h":"v"}}]}"#;
            let server = ApiServer::answering([
                list(5, "", &[group("a", good), group("b", &deep), group("c", good)]),
                events(&[("ADDED", group("d", &deep)), ("ADDED", group("e", good)), ("MODIFIED", group("f", "1e999"))]),
            ]);
            let store = server.watched(HttpRouteGroups).await;
            let groups = store.snapshot(|group| (group.key.clone(), group.group.clone().map(|_| ())));
            let too_deep = || Err("spec: nests more than 127 levels deep".to_owned());
            let wanted =
                [("ns/a", Ok(())), ("ns/b", too_deep()), ("ns/c", Ok(())), ("ns/d", too_deep()), ("ns/e", Ok(()))];
            let wanted: Vec<_> = wanted.into_iter().map(|(key, group)| (key.to_owned(), group)).collect();
            assert_eq!(groups[..5], wanted);
            assert!(groups[5].1.as_ref().unwrap_err().contains("number out of range"), "{groups:?}");
            assert_eq!(of_version(&server.queries()), ["list", "5", "1"]);
            // Of other kinds, such parts are skipped.
            let server = ApiServer::answering([list(5, "", &[group("a", &deep)])]);
            assert_eq!(server.watched(Services).await.snapshot(|_| ()).len(), 1);
            let server = ApiServer::answering([list(5, "", &[group("a", &deep)])]);
            let splits = TrafficSplits { cluster_domain: "cluster.local".into(), own: OwnWrites::default() };
            let splits = server.watched(splits).await.snapshot(|split| split.split.clone());
            let why = match levels {
                100_000 => "the object has 391 KiB of JSON; the limit for a TrafficSplit is 128 KiB",
                _ => "spec: nests more than 127 levels deep",
            };
            assert_eq!(splits, [Err(why.to_owned())]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_change_the_store_and_each_version_is_read_once() {
        let bookmark = r#"{"metadata":{"resourceVersion":"30"}}"#.to_owned();
        let reversed = format!("{{\"object\":{},\"type\":\"ADDED\"}}\n", object("ns", "d", 23, "d"));
        let mut more =
            events(&[("MODIFIED", object("ns", "a", 21, "a21")), ("MODIFIED", object("ns", "a", 22, "a22"))]);
        more.1 += &reversed;
        let server = ApiServer::answering([
            list(20, "", &[object("ns", "a", 1, "a1"), object("ns", "b", 2, "b2")]),
            more,
            events(&[("DELETED", object("ns", "b", 24, "b2")), ("BOOKMARK", bookmark)]),
        ]);
        let kind = Texts::default();
        let store = server.watched(kind.clone()).await;
        assert_eq!(store.texts(), ["a22", "d"]);
        // Of the two versions that came together only the last was read.
        assert_eq!(kind.reads.load(Ordering::Relaxed), 4);
        assert_eq!(of_version(&server.queries()), ["list", "20", "23", "30"]);
        assert!(server.queries().iter().all(|query| query.contains("fieldSelector=metadata.name%3Dit")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_follows_when_the_version_is_too_old() {
        let server = ApiServer::answering([
            list(20, "", &[object("ns", "a", 1, "a"), object("ns", "b", 2, "b")]),
            (410, status(410)),
            list(30, "", &[object("ns", "b", 2, "b"), object("ns", "c", 3, "c")]),
            events(&[("ADDED", object("ns", "d", 31, "d")), ("ERROR", status(410))]),
            list(40, "", &[object("ns", "d", 31, "d")]),
        ]);
        let kind = Texts::default();
        assert_eq!(server.watched(kind.clone()).await.texts(), ["d"]);
        assert_eq!(kind.reads.load(Ordering::Relaxed), 4);
        assert_eq!(of_version(&server.queries()), ["list", "20", "list", "30", "list", "40"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_retried_and_lose_nothing() {
        let server = ApiServer::answering([
            (403, status(403)),
            (200, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[".into()),
            (502, "<html>bad gateway</html>".into()),
            list(20, "", &[object("ns", "a", 1, "a")]),
            (500, status(500)),
            // Cut off in the middle.
            (
                200,
                events(&[("ADDED", object("ns", "b", 21, "b")), ("ADDED", object("ns", "c", 22, "c"))]).1[..170].into(),
            ),
            (200, "not JSON\n".into()),
            events(&[("ERROR", status(500))]),
            // A list that is not one takes nothing away.
            (410, status(410)),
            (200, "{}".into()),
            (200, "null".into()),
            list(30, "", &[object("ns", "a", 1, "a"), object("ns", "b", 21, "b")]),
        ]);
        assert_eq!(server.watched(Texts::default()).await.texts(), ["a", "b"]);
        let wanted = ["list", "list", "list", "list", "20", "20", "21", "21", "21", "list", "list", "list", "30"];
        assert_eq!(of_version(&server.queries()), wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_too_large_is_requested_in_parts() {
        let large = object("ns", "a", 1, &"x".repeat(MAX_PAGE_BYTES));
        let server = ApiServer::answering([
            list(20, "second", &[object("ns", "a", 1, "a")]),
            list(20, "third", &[large]),
            list(20, "", &[object("ns", "b", 1, "b")]),
        ]);
        assert_eq!(server.watched(Texts::default()).await.texts(), ["a", "b"]);
        let part = |query: &String| {
            let of = |name: &str| {
                let at = query.find(name)? + name.len();
                query[at..].split('&').next().map(str::to_owned)
            };
            (of("limit=").unwrap_or_default(), of("continue=").unwrap_or_default())
        };
        let parts: Vec<_> = server.queries()[..3].iter().map(part).collect();
        let wanted = [("50", ""), ("50", "second"), ("25", "second")];
        assert_eq!(parts, wanted.map(|(limit, token)| (limit.to_owned(), token.to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn objects_without_room_come_in_when_others_are_deleted() {
        let [a, b] = [("a", "123456"), ("b", "12345")].map(|(name, spec)| object("ns", name, 1, spec));
        let server = ApiServer::answering([
            list(20, "", &[a.clone(), b.clone()]),
            events(&[("DELETED", a)]),
            list(30, "", &[b]),
        ]);
        let begun = Instant::now();
        assert_eq!(server.watched(Texts::default()).await.texts(), ["12345"]);
        assert!((30..32).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
}
