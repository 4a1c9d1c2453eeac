//! Renders TrafficSplits as Envoy and Istio configuration.
//!
//! Data flows one way: Kubernetes objects in, Envoy or Istio configuration out. The library performs no I/O, and every
//! function is deterministic: the same input gives the same bytes.
//!
//! - [`load`] parses documents of Kubernetes objects into one plugin [`Configuration`].
//! - [`plugin_config`], [`ecds`], [`bootstrap`], [`envoy_filter`] and [`wasm_plugin`] render a configuration.
//! - [`plan`] decides what sidecars get of a whole Kubernetes cluster, and [`status`] reports it on each TrafficSplit.
//! - [`explain`] explains the decision for one request.
//!
//! [`Configuration`]: traffic_split::Configuration

mod admission;
mod bootstrap;
mod condition;
mod document;
mod ecds;
mod explain;
mod istio;
mod istio_rules;
mod load;
mod plan;
mod plugin_config;
mod served_filter;
mod snapshot;
mod status;
mod wiring;
mod yaml;

pub use bootstrap::{Address, Bootstrap, Endpoint, Host, bootstrap};
pub use condition::Said;
pub use document::Protocol;
pub use ecds::{Ecds, ecds, version};
pub use explain::{Answer, Described, Header, explain};
pub use istio::{Context, Istio, envoy_filter, envoy_filter_yaml, wasm_plugin};
pub use load::{Fault, FileSummary, Input, InputFile, load};
pub use plan::{Plan, Serves, Verdict, bytes, plan, plan_if_refused};
pub use plugin_config::plugin_config;
pub use served_filter::{next_vm_epoch, served_configuration, served_vm_epoch, vm_epoch_after, without_splits};
pub use snapshot::{ClusterSnapshot, EXPORT_TO, GroupObject, SplitObject};
pub use status::{News, news, status};
pub use wiring::{BACKEND_HEADER, FailurePolicy, SplitRoute, VM_EPOCHS, Wasm, following_vm_epoch, vm_epoch};
pub use yaml::one_line;
