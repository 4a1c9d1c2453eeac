//! From TrafficSplits to Envoy configuration.
//!
//! [`load`] reads Kubernetes documents into one plugin [`Configuration`]; [`plugin_config`],
//! [`ecds`], [`bootstrap`], [`envoy_filter`] and [`wasm_plugin`] render it for whoever takes it from there, and [`explain`] says what
//! becomes of one request. All of them are pure and deterministic: the same input gives the same
//! bytes.
//!
//! [`Configuration`]: traffic_split::Configuration

mod admission;
mod bootstrap;
#[cfg(feature = "controller")]
pub mod controller;
mod document;
mod ecds;
#[cfg(feature = "controller")]
mod error_text;
mod explain;
mod istio;
mod istio_rules;
#[cfg(feature = "controller")]
mod lease;
mod load;
#[cfg(feature = "controller")]
mod metrics;
#[cfg(feature = "controller")]
mod own_writes;
mod plan;
#[cfg(feature = "controller")]
mod projection;
#[cfg(feature = "controller")]
mod raw_object;
#[cfg(feature = "controller")]
mod served_filter;
#[cfg(feature = "controller")]
mod server;
mod snapshot;
mod status;
#[cfg(feature = "controller")]
mod store;
#[cfg(feature = "controller")]
mod vm_rotation;
#[cfg(feature = "controller")]
mod wakeup;
#[cfg(feature = "controller")]
mod watch;
mod wiring;
mod yaml;

pub use bootstrap::{Address, Bootstrap, Endpoint, Host, bootstrap};
pub use document::Protocol;
pub use ecds::{Ecds, ecds, version};
pub use explain::{Answer, Described, Header, explain};
pub use istio::{Context, Istio, envoy_filter, envoy_filter_yaml, next_vm_epoch, served_configuration, wasm_plugin};
pub use load::{Fault, FileSummary, Input, load};
pub use plan::{Plan, Said, Serves, Verdict, bytes, plan, plan_if_refused};
pub use snapshot::{ClusterSnapshot, GroupObject, SplitObject};
pub use status::{News, news, status};
pub use wiring::{BACKEND_HEADER, FailurePolicy, SplitRoute, VM_EPOCHS, Wasm, vm_epoch};

use traffic_split::Configuration;

const ALWAYS_JSON: &str = "a configuration is made of texts, numbers, lists and maps by text";

/// The plugin configuration as pretty JSON: what the filter reads.
pub fn plugin_config(configuration: &Configuration) -> String {
    format!("{}\n", serde_json::to_string_pretty(configuration).expect(ALWAYS_JSON))
}
