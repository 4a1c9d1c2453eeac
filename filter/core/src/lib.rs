//! SMI `TrafficSplit`: plugin configuration → rules → decision.
//!
//! Everything that is decided is decided here, and nothing here does I/O, reads a clock or
//! keeps a global: [`Configuration`] is what a control plane writes, [`Rules`] is what one
//! client's sidecar makes of it, and [`Rules::decide`] says for one [`Request`] and one random
//! number where it goes. The Proxy-Wasm filter and the commands are adapters around it.
//!
//! ```
//! use std::borrow::Cow;
//! use traffic_split::{Configuration, Decision, Request, Rules};
//!
//! struct Get(&'static str);
//! impl Request for Get {
//!     fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
//!         (name == ":authority").then_some(Cow::Borrowed(self.0.as_bytes()))
//!     }
//!     fn destination_port(&self) -> Option<u16> {
//!         None
//!     }
//! }
//!
//! let configuration = Configuration::from_json(
//!     br#"{"trafficSplits": [{
//!         "apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit",
//!         "metadata": {"name": "http-split", "namespace": "httpbin"},
//!         "spec": {"service": "httpbin", "backends": [{"service": "httpbin-v1", "weight": 100}]}}]}"#,
//! )
//! .map_err(|problems| problems[0].to_string())?;
//! let rules = Rules::new(&configuration, None);
//! let Decision::Backend(pick) = rules.decide(&Get("httpbin.httpbin:14001"), 0) else { panic!() };
//! assert_eq!(pick.cluster, "outbound|14001||httpbin-v1.httpbin.svc.cluster.local");
//! # Ok::<(), String>(())
//! ```

mod authority;
mod cluster;
mod configuration;
mod json;
mod name;
mod problem;
mod read;
mod rules;
mod table;
mod traffic_split;
mod weight;

pub use cluster::ClusterTemplate;
pub use configuration::{Configuration, Service};
pub use json::Strict;
pub use name::{is_label, is_subdomain};
pub use problem::{Object, Problem};
pub use rules::{Decision, Pick, Reason, Request, Rules, WhyRoot};
pub use traffic_split::{Backend, Metadata, Spec, TrafficSplit};
pub use weight::Weight;
