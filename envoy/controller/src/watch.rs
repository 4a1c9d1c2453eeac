//! Keeps a [`Store`] in step with the API server: lists the objects of a kind page by page, then watches for changes.

use crate::error_text::{RepeatedFailure, one_line};
use crate::projection::Kind;
use crate::store::Store;
use crate::wakeup::Wakeup;
use crate::watch_response::{WatchError, read_events, read_page};
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

/// The API server ends a watch after this time. A connection without data for [`IDLE_TIMEOUT`] is dead.
const WATCH_SECONDS: u32 = 15;
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest and the shortest time between a failure and the next attempt.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// After a watch that ends sooner, the next one starts after this time.
const MIN_WATCH_TIME: Duration = Duration::from_secs(1);
/// The shortest time between two lists for objects that exceeded their namespace's room.
const MIN_RELIST_INTERVAL: Duration = Duration::from_secs(30);
/// Objects per page of a list. A page of more than [`MAX_PAGE_BYTES`] is requested again with half of the objects.
const PAGE_SIZE: u32 = 50;
const MAX_PAGE_BYTES: usize = 8 << 20;
/// One object in JSON. etcd stores 1.5 MiB, and JSON may escape each byte as six.
const MAX_OBJECT_BYTES: usize = 16 << 20;
/// Watch events that have arrived are read together up to this size, so that only the last of several versions of an object is
/// validated.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Maximum number of pages that all watches together hold in memory.
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
pub(crate) struct WatchContext {
    /// Woken by each change that planning may depend on.
    pub(crate) wakeup: Wakeup,
    /// [`MAX_CONCURRENT_PAGES`] permits.
    pub(crate) pages: Arc<Semaphore>,
    /// Counts the failures.
    pub(crate) failures: prometheus_client::metrics::counter::Counter,
}

/// Watches a kind until the process ends. The receiver gets a message when the store has all objects for the first time.
pub(crate) fn watch<K: Kind>(
    client: Client,
    source: Source,
    kind: K,
    context: &WatchContext,
) -> (Arc<Store<K>>, oneshot::Receiver<()>) {
    let store = Arc::new(Store::new(kind));
    let (listed, is_listed) = oneshot::channel();
    let watcher = Watcher {
        request: Request::new(DynamicObject::url_path(&source.resource, source.namespace.as_deref())),
        client,
        field_selector: source.name.map(|name| format!("metadata.name={name}")),
        store: store.clone(),
        context: context.clone(),
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
    context: WatchContext,
    listed: Option<oneshot::Sender<()>>,
    /// The resourceVersion to watch from; `None` if a list is due.
    version: Option<String>,
    listed_at: Option<Instant>,
    failures: RepeatedFailure,
}

/// The response to a request for a page.
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

    async fn back_off(&mut self, why: WatchError) {
        self.context.failures.inc();
        let why = match why {
            WatchError::Gone(why) => {
                self.version = None;
                why
            }
            WatchError::Other(why) => why,
        };
        if self.failures.should_log(&why) {
            let failures = self.failures.count();
            warn!(kind = K::NAME, why = one_line(&why), failures, "watch failed; retrying");
        }
        sleep((MIN_BACKOFF * (1 << (self.failures.count() - 1).min(6))).min(MAX_BACKOFF)).await;
    }

    /// Wakes the reconcile loop for changes in these namespaces.
    fn wake(&self, namespaces: &BTreeSet<String>) {
        namespaces.iter().for_each(|namespace| self.context.wakeup.changed(namespace));
    }

    fn succeeded(&mut self) {
        let failures = self.failures.reset();
        if failures > 0 {
            info!(kind = K::NAME, failures, "watch recovered");
        }
    }

    /// Lists all objects into the store, and removes those that no longer exist.
    async fn list(&mut self) -> Result<(), WatchError> {
        let pages = self.context.pages.clone();
        let mut seen = BTreeSet::new();
        let mut limit = PAGE_SIZE;
        let mut continue_token = None;
        let version = loop {
            let _permit = pages.acquire().await.map_err(|why| WatchError::Other(why.to_string()))?;
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
            self.wake(&listed.changed);
            match listed.continue_token {
                Some(token) => continue_token = Some(token),
                None => break listed.version,
            }
            if is_small {
                limit = (limit * 2).min(PAGE_SIZE);
            }
        };
        // Deleted objects leave the store last, so that a pass during the list does not miss objects of later pages.
        self.wake(&self.store.retain(&seen));
        self.succeeded();
        (self.version, self.listed_at) = (Some(version), Some(Instant::now()));
        if let Some(listed) = self.listed.take() {
            _ = listed.send(());
        }
        Ok(())
    }

    /// Requests a page. Also returns its continue token, so that the request can be repeated.
    async fn page(&self, limit: u32, continue_token: Option<String>) -> Result<(Page, Option<String>), WatchError> {
        let parameters = ListParams {
            field_selector: self.field_selector.clone(),
            limit: Some(limit),
            continue_token,
            ..ListParams::default()
        };
        let request = self.request.list(&parameters).map_err(|why| WatchError::Other(why.to_string()))?;
        let max_bytes = if limit > 1 { MAX_PAGE_BYTES } else { MAX_OBJECT_BYTES };
        let body = self.client.request_stream(request).await.map_err(WatchError::from)?;
        pin_mut!(body);
        let mut page = Vec::new();
        (body.take(max_bytes as u64 + 1).read_to_end(&mut page).await).map_err(WatchError::from)?;
        if page.len() > max_bytes {
            if limit > 1 {
                return Ok((Page::TooLarge, parameters.continue_token));
            }
            return Err(WatchError::Other(format!("an object has more than {} MiB of JSON", MAX_OBJECT_BYTES >> 20)));
        }
        Ok((Page::Read(into_text(page)), parameters.continue_token))
    }

    /// Applies changes after this resourceVersion to the store, until the API server ends the watch.
    async fn follow(&mut self, version: &str) -> Result<(), WatchError> {
        let begun = Instant::now();
        let parameters = WatchParams {
            field_selector: self.field_selector.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = self.request.watch(&parameters, version).map_err(|why| WatchError::Other(why.to_string()))?;
        let body = self.client.request_stream(request).await.map_err(WatchError::from)?;
        pin_mut!(body);
        loop {
            let first = timeout(IDLE_TIMEOUT, read_line(&mut body)).await;
            let first = first.map_err(|_| WatchError::Other(format!("no data for {IDLE_TIMEOUT:?}")))??;
            let Some(first) = first else { break };
            let mut size = first.len();
            let mut lines = vec![first];
            let mut ended = false;
            while size < MAX_BATCH_BYTES && !ended {
                // If only the first part of a line has arrived, wait for the rest.
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
                    Err(_) => return Err(WatchError::Other(format!("no data for {IDLE_TIMEOUT:?}"))),
                }
            }
            let store = self.store.clone();
            let read = in_background(move || read_events(&store, &lines)).await?;
            self.wake(&read.changed);
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
        if begun.elapsed() < MIN_WATCH_TIME {
            sleep(MIN_WATCH_TIME).await;
        }
        self.succeeded();
        Ok(())
    }
}

/// Runs a task that may take long on a separate thread, so that it blocks no other task.
async fn in_background<R: Send + 'static>(task: impl FnOnce() -> R + Send + 'static) -> Result<R, WatchError> {
    spawn_blocking(task).await.map_err(|why| WatchError::Other(format!("reading objects failed: {why}")))
}

/// Reads a line. Returns `None` at the end of the body, also within a line.
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

#[cfg(test)]
mod tests {
    use super::{MAX_CONCURRENT_PAGES, MAX_PAGE_BYTES, Source, WatchContext, watch};
    use crate::kinds::{HttpRouteGroups, Services, TrafficSplits};
    use crate::own_writes::OwnWrites;
    use crate::projection::Kind;
    use crate::store::Store;
    use crate::store::tests::{Texts, object};
    use crate::testing::scripted_api_server::{ScriptedApiServer, events, list, status};
    use crate::wakeup::Wakeup;
    use kube::api::{ApiResource, GroupVersionKind};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep, timeout};

    /// Watches until every answer has been read; returns the store.
    async fn watched<K: Kind>(server: &ScriptedApiServer, kind: K) -> Arc<Store<K>> {
        let answers = server.answers_left();
        let context = WatchContext {
            wakeup: Wakeup::default(),
            pages: Arc::new(Semaphore::new(MAX_CONCURRENT_PAGES)),
            failures: Default::default(),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", K::NAME));
        let source = Source { resource, namespace: None, name: Some("it".into()) };
        let (store, listed) = watch(server.client(), source, kind, &context);
        timeout(Duration::from_secs(60), listed).await.unwrap().unwrap();
        // The request after the last answer.
        while server.queries().len() <= answers {
            sleep(Duration::from_millis(10)).await;
        }
        store
    }

    fn nested(levels: usize) -> String {
        "{\"a\":[".repeat(levels / 2) + "1e999" + &"]}".repeat(levels / 2)
    }

    fn of_version(queries: &[String]) -> Vec<&str> {
        let version = |query: &'_ String| query.find("resourceVersion=").map(|at| at + "resourceVersion=".len());
        queries.iter().map(|query| version(query).map_or("list", |at| &query[at..])).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn unreadable_object_does_not_affect_other_objects() {
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
            let server = ScriptedApiServer::answering([
                list(5, "", &[group("a", good), group("b", &deep), group("c", good)]),
                events(&[("ADDED", group("d", &deep)), ("ADDED", group("e", good)), ("MODIFIED", group("f", "1e999"))]),
            ]);
            let store = watched(&server, HttpRouteGroups).await;
            let groups = store.snapshot(|group| (group.key.clone(), group.group.clone().map(|_| ())));
            let too_deep = || Err("spec: nests more than 127 levels deep".to_owned());
            let wanted =
                [("ns/a", Ok(())), ("ns/b", too_deep()), ("ns/c", Ok(())), ("ns/d", too_deep()), ("ns/e", Ok(()))];
            let wanted: Vec<_> = wanted.into_iter().map(|(key, group)| (key.to_owned(), group)).collect();
            assert_eq!(groups[..5], wanted);
            assert!(groups[5].1.as_ref().unwrap_err().contains("number out of range"), "{groups:?}");
            assert_eq!(of_version(&server.queries()), ["list", "5", "1"]);
            // Such parts of other kinds are skipped.
            let server = ScriptedApiServer::answering([list(5, "", &[group("a", &deep)])]);
            assert_eq!(watched(&server, Services).await.snapshot(|_| ()).len(), 1);
            let server = ScriptedApiServer::answering([list(5, "", &[group("a", &deep)])]);
            let splits = TrafficSplits { cluster_domain: "cluster.local".into(), own_writes: OwnWrites::default() };
            let splits = watched(&server, splits).await.snapshot(|split| split.split.clone());
            let why = match levels {
                100_000 => "the object has 391 KiB of JSON; the limit for a TrafficSplit is 128 KiB",
                _ => "spec: nests more than 127 levels deep",
            };
            assert_eq!(splits, [Err(why.to_owned())]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_update_the_store_and_validate_each_version_once() {
        let bookmark = r#"{"metadata":{"resourceVersion":"30"}}"#.to_owned();
        let reversed = format!("{{\"object\":{},\"type\":\"ADDED\"}}\n", object("ns", "d", 23, "d"));
        let mut more =
            events(&[("MODIFIED", object("ns", "a", 21, "a21")), ("MODIFIED", object("ns", "a", 22, "a22"))]);
        more.1 += &reversed;
        let server = ScriptedApiServer::answering([
            list(20, "", &[object("ns", "a", 1, "a1"), object("ns", "b", 2, "b2")]),
            more,
            events(&[("DELETED", object("ns", "b", 24, "b2")), ("BOOKMARK", bookmark)]),
        ]);
        let kind = Texts::default();
        let store = watched(&server, kind.clone()).await;
        assert_eq!(store.texts(), ["a22", "d"]);
        // Two versions arrived together: only the last one was read.
        assert_eq!(kind.reads.load(Ordering::Relaxed), 4);
        assert_eq!(of_version(&server.queries()), ["list", "20", "23", "30"]);
        assert!(server.queries().iter().all(|query| query.contains("fieldSelector=metadata.name%3Dit")));
    }

    #[tokio::test(start_paused = true)]
    async fn expired_resource_version_starts_a_new_list() {
        let server = ScriptedApiServer::answering([
            list(20, "", &[object("ns", "a", 1, "a"), object("ns", "b", 2, "b")]),
            (410, status(410)),
            list(30, "", &[object("ns", "b", 2, "b"), object("ns", "c", 3, "c")]),
            events(&[("ADDED", object("ns", "d", 31, "d")), ("ERROR", status(410))]),
            list(40, "", &[object("ns", "d", 31, "d")]),
        ]);
        let kind = Texts::default();
        assert_eq!(watched(&server, kind.clone()).await.texts(), ["d"]);
        assert_eq!(kind.reads.load(Ordering::Relaxed), 4);
        assert_eq!(of_version(&server.queries()), ["list", "20", "list", "30", "list", "40"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_requests_are_retried_without_losing_objects() {
        let server = ScriptedApiServer::answering([
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
            // A response that is not a list removes no object.
            (410, status(410)),
            (200, "{}".into()),
            (200, "null".into()),
            list(30, "", &[object("ns", "a", 1, "a"), object("ns", "b", 21, "b")]),
        ]);
        assert_eq!(watched(&server, Texts::default()).await.texts(), ["a", "b"]);
        let wanted = ["list", "list", "list", "list", "20", "20", "21", "21", "21", "list", "list", "list", "30"];
        assert_eq!(of_version(&server.queries()), wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn page_above_the_size_limit_is_requested_in_smaller_pages() {
        let large = object("ns", "a", 1, &"x".repeat(MAX_PAGE_BYTES));
        let server = ScriptedApiServer::answering([
            list(20, "second", &[object("ns", "a", 1, "a")]),
            list(20, "third", &[large]),
            list(20, "", &[object("ns", "b", 1, "b")]),
        ]);
        assert_eq!(watched(&server, Texts::default()).await.texts(), ["a", "b"]);
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
    async fn objects_above_the_share_are_stored_after_others_are_deleted() {
        let [a, b] = [("a", "123456"), ("b", "12345")].map(|(name, spec)| object("ns", name, 1, spec));
        let server = ScriptedApiServer::answering([
            list(20, "", &[a.clone(), b.clone()]),
            events(&[("DELETED", a)]),
            list(30, "", &[b]),
        ]);
        let begun = Instant::now();
        assert_eq!(watched(&server, Texts::default()).await.texts(), ["12345"]);
        assert!((30..32).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
}
