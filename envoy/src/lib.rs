//! Renders TrafficSplits as Envoy and Istio configuration.
//!
//! Data flows one way: Kubernetes objects in, Envoy or Istio configuration out. The library performs no I/O, and every
//! function is deterministic: the same input gives the same bytes.
//!
//! - [`load`] parses documents of Kubernetes objects into one plugin [`Configuration`].
//! - [`plugin_config`], [`ecds`], [`bootstrap`], [`envoy_filter`] and [`wasm_plugin`] render a configuration.
//! - [`plan()`] plans the configuration of a whole Kubernetes cluster; [`status_value`] and [`status_events`] report the result.
//! - [`check_wiring`] reports mistakes in the configuration of an Envoy that loads the filter.
//! - [`explain`] explains the decision for one request.
//!
//! [`Configuration`]: traffic_split::Configuration

mod admission;
mod backend_warnings;
mod bootstrap;
mod condition;
mod configuration_errors;
mod configuration_warnings;
mod diagnostic;
mod document;
mod ecds;
mod empty_keys;
mod enabled_hosts;
mod explain;
mod file_summary;
mod foreign_format;
mod host_warnings;
mod input_file;
mod istio;
mod istio_rules;
mod json_stream;
mod known_names;
mod known_services;
mod load;
mod located;
mod match_warnings;
mod message;
mod number_text;
mod object_type;
mod origin;
mod path_pattern;
mod plan;
mod plugin_config;
mod roots;
mod route_group;
mod safe_text;
mod served_filter;
mod service_facts;
mod service_mistakes;
mod service_ports;
mod service_problems;
mod snapshot;
mod source_map;
mod split_route;
mod status;
mod suggestion;
mod syntax_remedy;
mod unknown_fields;
mod unknown_ports;
mod unsplit_requests;
mod wiring;
mod wiring_check;
mod yaml;

pub use bootstrap::{Address, BootstrapOptions, Endpoint, ExternalHost, bootstrap};
pub use condition::Condition;
pub use diagnostic::{Diagnostic, Position, Severity};
pub use ecds::{EcdsFile, EcdsOptions, content_version, ecds};
pub use explain::{Explanation, Header, RequestDescription, explain};
pub use file_summary::FileSummary;
pub use host_warnings::bootstrap_warnings;
pub use input_file::InputFile;
pub use istio::{IstioOptions, PatchContext, enabled_for_all_hosts, envoy_filter, envoy_filter_yaml, wasm_plugin};
pub use load::{Input, LoadOptions, load};
pub use plan::{EnvoyFilterPlan, ServedVersion, SplitStatus, plan, plan_after_refusal, stored_bytes};
pub use plugin_config::plugin_config;
pub use safe_text::one_line;
pub use served_filter::{next_vm_epoch, remove_splits, served_configuration, served_vm_epoch, vm_epoch_after};
pub use service_facts::EXPORT_TO;
pub use service_ports::Protocol;
pub use snapshot::{ClusterSnapshot, GroupObject, SplitObject};
pub use split_route::SplitRoute;
pub use status::{StatusEvent, status_events, status_value};
pub use suggestion::{did_you_mean, nearest};
pub use unknown_ports::unknown_ports;
pub use unsplit_requests::unsplit_requests;
pub use wiring::{BACKEND_HEADER, FailurePolicy, VM_EPOCHS, WasmSource, increment_vm_epoch, vm_epoch};
pub use wiring_check::{EnvoyConfiguration, WiringReport, check_watched_file, check_wiring};
