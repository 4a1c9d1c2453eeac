//! An API server that gives prepared answers, also invalid ones.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future;
use std::sync::{Arc, Mutex};

/// An API server that gives these answers, one for each request, and none after the last. While the next answer is a list,
/// a watch ends without events.
#[derive(Clone, Default)]
pub(crate) struct ScriptedApiServer {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    /// The queries that took an answer, and the one after the last.
    queries: Arc<Mutex<Vec<String>>>,
}

impl ScriptedApiServer {
    /// Returns a server with these answers: each a status and a body.
    pub(crate) fn answering(answers: impl IntoIterator<Item = (u16, String)>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    /// Returns a client of this server.
    pub(crate) fn client(&self) -> Client {
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

    /// Returns the number of answers that are left.
    pub(crate) fn answers_left(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    /// Returns the queries that took an answer, and the one after the last.
    pub(crate) fn queries(&self) -> Vec<String> {
        self.queries.lock().unwrap().clone()
    }
}

/// Returns a page of a list.
pub(crate) fn list(version: u32, token: &str, items: &[String]) -> (u16, String) {
    let items = items.join(",");
    (
        200,
        format!(
            r#"{{"kind":"List","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{items}]}}"#
        ),
    )
}

/// Returns the events of a watch.
pub(crate) fn events(events: &[(&str, String)]) -> (u16, String) {
    (200, events.iter().map(|(kind, object)| format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")).collect())
}

/// Returns a failure as the API server describes it.
pub(crate) fn status(code: u16) -> String {
    format!(r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","code":{code}}}"#)
}
