//! Publishes Events of TrafficSplits.

use crate::error_text::{LogLimit, one_line};
use crate::kubernetes::CONTROLLER_NAME;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use tracing::{info, warn};
use traffic_split_envoy::StatusEvent;

/// Publishes Events in the name of this replica.
pub(crate) struct EventPublisher {
    recorder: Recorder,
    log_limit: Arc<Mutex<LogLimit>>,
}

impl EventPublisher {
    /// `identity` is this replica's name.
    pub(crate) fn new(client: Client, identity: &str, log_limit: Arc<Mutex<LogLimit>>) -> Self {
        let reporter = Reporter { controller: CONTROLLER_NAME.into(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter), log_limit }
    }

    /// Publishes Events of a TrafficSplit. A failure is only logged: the status has the same message.
    pub(crate) async fn publish(&self, object: &Value, events: Vec<StatusEvent>) {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let regarding = ObjectReference {
            api_version: Some(text("/apiVersion")),
            kind: Some("TrafficSplit".into()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: Some(text("/metadata/uid")),
            ..ObjectReference::default()
        };
        for status_event in events {
            let type_ = if status_event.is_warning { EventType::Warning } else { EventType::Normal };
            info!(
                split = format!("{namespace}/{name}"),
                reason = status_event.reason,
                message = one_line(&status_event.message),
                "published an Event"
            );
            let event = Event {
                type_,
                reason: status_event.reason.into(),
                // Kubernetes limits a note to 1 kB.
                note: Some(status_event.message.chars().take(250).collect()),
                // Kubernetes merges Events with the same action and keeps only the first note, so each message has another action.
                action: format!("Program-{:x}", hash(&status_event.message)),
                secondary: None,
            };
            if let Err(why) = self.recorder.publish(&event, &regarding).await
                && self.log_limit.lock().is_ok_and(|mut limit| limit.allows())
            {
                warn!(why = one_line(&why.to_string()), "publishing an Event failed");
            }
        }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
