//! A Kubernetes API server in the same process: it stores objects, serves lists and watches, checks resourceVersions, and
//! answers with errors where a test asks for them.

use axum::body::Body as ResponseBody;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A mock API server. Clones share their objects.
#[derive(Clone)]
pub(crate) struct MockApiServer(Arc<Mutex<State>>);

struct State {
    /// The last resourceVersion.
    version: u64,
    objects: BTreeMap<Key, Value>,
    /// All changes, for watches that begin at an older version.
    changes: Vec<Change>,
    watches: Vec<Watch>,
    requests: Vec<(Instant, String)>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// The plural name, e.g. `trafficsplits`.
    resource: String,
    namespace: String,
    name: String,
}

#[derive(Clone)]
struct Change {
    version: u64,
    kind: &'static str,
    key: Key,
    object: Value,
}

struct Watch {
    resource: String,
    name: Option<String>,
    events: UnboundedSender<Result<String, Infallible>>,
}

/// The effect on requests whose description starts with `requests`.
struct Rule {
    requests: String,
    is_once: bool,
    effect: Effect,
}

#[derive(Clone)]
enum Effect {
    Answer(u16, String),
    /// No answer comes.
    Hang,
    /// Another client's request comes first.
    Before(Arc<dyn Fn(&MockApiServer) + Send + Sync>),
}

/// A request, taken apart.
struct Call {
    /// As in RBAC rules: `list`, `get`, `update` and so on.
    verb: &'static str,
    key: Key,
    is_status: bool,
    query: BTreeMap<String, String>,
    body: Value,
}

type Answer = Result<Value, (u16, String)>;

// === impl MockApiServer ===

impl MockApiServer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            version: 100,
            objects: BTreeMap::new(),
            changes: Vec::new(),
            watches: Vec::new(),
            requests: Vec::new(),
            rules: Vec::new(),
        })))
    }

    /// Returns a client of this server. Once `is_cut` is true, the client's requests reach the server no more.
    pub(crate) fn client(&self, is_cut: Arc<AtomicBool>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let (server, is_cut) = (server.clone(), is_cut.clone());
            async move {
                if is_cut.load(Ordering::Relaxed) {
                    future::pending::<()>().await;
                }
                Ok::<_, Infallible>(server.respond(request).await)
            }
        });
        Client::new(service, "default")
    }

    // --- What other clients do ---

    /// Creates an object, or replaces all of it but its status.
    pub(crate) fn put(&self, object: &Value) {
        let mut state = self.state();
        let key = Key::of(object);
        let object = match state.objects.get(&key) {
            None => object.clone(),
            Some(old) => {
                let mut new = old.clone();
                for (field, value) in object.as_object().into_iter().flatten().filter(|(field, _)| *field != "metadata")
                {
                    new[field] = value.clone();
                }
                new["metadata"]["annotations"] = object["metadata"]["annotations"].clone();
                new["metadata"]["labels"] = object["metadata"]["labels"].clone();
                new
            }
        };
        state.store(key, object);
    }

    /// Changes an object, e.g. its status.
    pub(crate) fn change(&self, resource: &str, key: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let key = Key::new(resource, key);
        let mut object = state.objects[&key].clone();
        change(&mut object);
        state.store(key, object);
    }

    /// Deletes an object, by its `namespace/name`.
    pub(crate) fn delete(&self, resource: &str, key: &str) {
        assert!(self.state().remove(&Key::new(resource, key)), "{resource} {key} does not exist");
    }

    // --- What tests see ---

    /// Returns an object, by its `namespace/name`.
    pub(crate) fn get(&self, resource: &str, key: &str) -> Option<Value> {
        self.state().objects.get(&Key::new(resource, key)).cloned()
    }

    /// Returns all objects of a resource.
    pub(crate) fn all(&self, resource: &str) -> Vec<Value> {
        let state = self.state();
        state.objects.iter().filter(|(key, _)| key.resource == resource).map(|(_, object)| object.clone()).collect()
    }

    /// Returns the times of requests whose description starts with `requests`, such as `patch trafficsplits/status ns/a`.
    pub(crate) fn times(&self, requests: &str) -> Vec<Instant> {
        let state = self.state();
        state.requests.iter().filter(|(_, request)| request.starts_with(requests)).map(|(at, _)| *at).collect()
    }

    /// Returns the number of these requests.
    pub(crate) fn count(&self, requests: &str) -> usize {
        self.times(requests).len()
    }

    /// Returns the requests that change objects, except those for Leases.
    pub(crate) fn writes(&self) -> Vec<String> {
        let is_write = |request: &&String| {
            ["create ", "update ", "patch ", "delete "].iter().any(|verb| request.starts_with(verb))
                && !request.contains(" leases ")
        };
        self.state().requests.iter().map(|(_, request)| request).filter(is_write).cloned().collect()
    }

    // --- Failures ---

    /// Answers these requests with an error, until [`heal`](Self::heal).
    pub(crate) fn refuse(&self, requests: &str, code: u16, message: &str) {
        self.rule(requests, false, Effect::Answer(code, message.to_owned()));
    }

    /// Answers the next one of these requests with an error.
    pub(crate) fn refuse_once(&self, requests: &str, code: u16, message: &str) {
        self.rule(requests, true, Effect::Answer(code, message.to_owned()));
    }

    /// Answers none of these requests, until [`heal`](Self::heal).
    pub(crate) fn hang(&self, requests: &str) {
        self.rule(requests, false, Effect::Hang);
    }

    /// Answers the next one of these requests after another client has done something.
    pub(crate) fn before_next(&self, requests: &str, change: impl Fn(&Self) + Send + Sync + 'static) {
        self.rule(requests, true, Effect::Before(Arc::new(change)));
    }

    /// Ends all failures.
    pub(crate) fn heal(&self) {
        self.state().rules.clear();
    }

    fn rule(&self, requests: &str, is_once: bool, effect: Effect) {
        self.state().rules.push(Rule { requests: requests.to_owned(), is_once, effect });
    }

    // --- Requests ---

    async fn respond(&self, request: Request<Body>) -> Response<ResponseBody> {
        let call = Call::read(request).await;
        let effect = {
            let mut state = self.state();
            let description = call.description();
            state.requests.push((Instant::now(), description.clone()));
            let rule = state.rules.iter().position(|rule| description.starts_with(&rule.requests));
            rule.map(|index| match state.rules[index].is_once {
                true => state.rules.remove(index).effect,
                false => state.rules[index].effect.clone(),
            })
        };
        match effect {
            Some(Effect::Answer(code, message)) => return response(Err((code, message))),
            Some(Effect::Hang) => return future::pending().await,
            Some(Effect::Before(change)) => change(self),
            None => {}
        }
        if call.verb == "watch" {
            return Response::new(self.watch(&call));
        }
        let answer = {
            let mut state = self.state();
            match call.verb {
                "list" => Ok(state.list(&call)),
                "get" => state.found(&call.key).cloned(),
                "create" => state.create(call.key, call.body),
                "update" => state.update(call.key, call.body),
                "patch" => state.patch(&call),
                "delete" => state.found(&call.key).cloned().inspect(|_| _ = state.remove(&call.key)),
                verb => Err((405, format!("{verb} is not supported"))),
            }
        };
        response(answer)
    }

    /// Sends the changes after the version that the client has, and those to come until the client's timeout.
    fn watch(&self, call: &Call) -> ResponseBody {
        let mut state = self.state();
        let (events, received) = unbounded();
        let watch = Watch { resource: call.key.resource.clone(), name: call.field_name(), events };
        let since: u64 = call.query["resourceVersion"].parse().unwrap();
        state.changes.iter().filter(|change| change.version > since).for_each(|change| watch.send(change));
        state.watches.push(watch);
        let seconds = call.query.get("timeoutSeconds").map_or(300, |seconds| seconds.parse().unwrap());
        ResponseBody::from_stream(received.take_until(sleep(Duration::from_secs(seconds)).boxed()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn response(answer: Answer) -> Response<ResponseBody> {
    let (code, body) = match answer {
        Ok(object) => (200, object),
        Err((code, message)) => {
            let reason = match code {
                403 => "Forbidden",
                404 => "NotFound",
                409 => "Conflict",
                422 => "Invalid",
                _ => "InternalError",
            };
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": message, "reason": reason, "code": code,
            });
            (code, status)
        }
    };
    Response::builder().status(code).body(ResponseBody::from(body.to_string())).unwrap()
}

// === impl State ===

impl State {
    fn found(&self, key: &Key) -> Found<'_> {
        self.objects.get(key).ok_or_else(|| (404, format!("{} \"{}\" not found", key.resource, key.name)))
    }

    fn list(&self, call: &Call) -> Value {
        let (resource, name) = (&call.key.resource, call.field_name());
        let is_listed = |key: &Key| key.resource == *resource && name.as_ref().is_none_or(|name| *name == key.name);
        let items: Vec<_> = self.objects.iter().filter(|(key, _)| is_listed(key)).map(|(_, object)| object).collect();
        json!({"kind": "List", "metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }

    fn create(&mut self, key: Key, mut object: Value) -> Answer {
        if self.objects.contains_key(&key) {
            return Err((409, format!("{} \"{}\" already exists", key.resource, key.name)));
        }
        if !key.namespace.is_empty() {
            object["metadata"]["namespace"] = key.namespace.as_str().into();
        }
        Ok(self.store(key, object))
    }

    fn update(&mut self, key: Key, object: Value) -> Answer {
        self.check_version(&key, &object)?;
        Ok(self.store(key, object))
    }

    fn patch(&mut self, call: &Call) -> Answer {
        self.check_version(&call.key, &call.body)?;
        let mut object = self.found(&call.key)?.clone();
        let is_patched = |field: &str| (field == "status") == call.is_status && field != "metadata";
        let fields = call.body.as_object().cloned().unwrap_or_default();
        merge(&mut object, fields.into_iter().filter(|(field, _)| is_patched(field)).collect());
        Ok(self.store(call.key.clone(), object))
    }

    fn check_version(&self, key: &Key, object: &Value) -> Result<(), (u16, String)> {
        let found = self.found(key)?;
        let version = &object["metadata"]["resourceVersion"];
        match version.is_null() || *version == found["metadata"]["resourceVersion"] {
            true => Ok(()),
            false => Err((409, format!("{} \"{}\" has been modified", key.resource, key.name))),
        }
    }

    /// Stores an object with a new version, and notifies watches. An object without a change keeps its version.
    fn store(&mut self, key: Key, mut object: Value) -> Value {
        let old = self.objects.get(&key);
        if old == Some(&object) {
            return object;
        }
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = self.version.to_string().into();
        match old {
            None => {
                metadata["uid"] = format!("uid-{}", self.version).into();
                metadata["creationTimestamp"] = format!("2026-01-01T00:00:00.{:06}Z", self.version).into();
                metadata["generation"] = 1.into();
            }
            Some(old) if old["spec"] != object["spec"] => {
                object["metadata"]["generation"] = (old["metadata"]["generation"].as_u64().unwrap() + 1).into();
            }
            Some(_) => {}
        }
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.objects.insert(key.clone(), object.clone());
        self.tell(Change { version: self.version, kind, key, object: object.clone() });
        object
    }

    fn remove(&mut self, key: &Key) -> bool {
        let Some(mut object) = self.objects.remove(key) else { return false };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell(Change { version: self.version, kind: "DELETED", key: key.clone(), object });
        true
    }

    fn tell(&mut self, change: Change) {
        self.watches.retain(|watch| !watch.events.is_closed());
        self.watches.iter().for_each(|watch| watch.send(&change));
        self.changes.push(change);
    }
}

type Found<'s> = Result<&'s Value, (u16, String)>;

/// Merges a patch into an object (RFC 7396).
fn merge(object: &mut Value, patch: Map<String, Value>) {
    for (field, value) in patch {
        match value {
            Value::Null => _ = object.as_object_mut().map(|object| object.remove(&field)),
            Value::Object(patch) => {
                if !object[&field].is_object() {
                    object[&field] = json!({});
                }
                merge(&mut object[&field], patch);
            }
            value => object[&field] = value,
        }
    }
}

// === impl Watch ===

impl Watch {
    fn send(&self, change: &Change) {
        if change.key.resource == self.resource && self.name.as_ref().is_none_or(|name| *name == change.key.name) {
            let event = json!({"type": change.kind, "object": change.object});
            // A client that has gone away is forgotten at the next change.
            _ = self.events.unbounded_send(Ok(format!("{event}\n")));
        }
    }
}

// === impl Key ===

impl Key {
    fn new(resource: &str, key: &str) -> Self {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        Self { resource: resource.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn of(object: &Value) -> Self {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = text("/kind").to_lowercase();
        Self { resource: format!("{kind}s"), namespace: text("/metadata/namespace"), name: text("/metadata/name") }
    }
}

// === impl Call ===

impl Call {
    async fn read(request: Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let query = head.uri.query().unwrap_or_default();
        let query: BTreeMap<_, _> = (query.split('&').filter_map(|pair| pair.split_once('=')))
            .map(|(name, value)| (name.to_owned(), value.replace("%3D", "=")))
            .collect();
        let mut path = head.uri.path().trim_start_matches('/').split('/').map(str::to_owned);
        // `/api/VERSION` or `/apis/GROUP/VERSION`.
        let version_parts = if path.next().as_deref() == Some("api") { 1 } else { 2 };
        let mut path: Vec<_> = path.skip(version_parts).collect();
        let namespace = match path.len() > 2 && path[0] == "namespaces" {
            true => path.drain(..2).nth(1).unwrap(),
            false => String::new(),
        };
        let is_status = path.get(2).is_some_and(|part| part == "status");
        let name = path.get(1).cloned();
        let verb = match (head.method, name.is_some()) {
            (Method::GET, true) => "get",
            (Method::GET, false) if query.contains_key("watch") => "watch",
            (Method::GET, false) => "list",
            (Method::POST, _) => "create",
            (Method::PUT, _) => "update",
            (Method::PATCH, _) => "patch",
            (Method::DELETE, _) => "delete",
            (method, _) => panic!("{method} is not supported"),
        };
        let in_body = || body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = Key { resource: path[0].clone(), namespace, name: name.unwrap_or_else(in_body) };
        Self { verb, key, is_status, query, body }
    }

    /// For example `patch trafficsplits/status ns/a`.
    fn description(&self) -> String {
        let Key { resource, namespace, name } = &self.key;
        let status = if self.is_status { "/status" } else { "" };
        format!("{} {resource}{status} {namespace}/{name}", self.verb)
    }

    /// The name in the field selector.
    fn field_name(&self) -> Option<String> {
        self.query.get("fieldSelector")?.strip_prefix("metadata.name=").map(str::to_owned)
    }
}
