//! SMI `TrafficSplit`: plugin configuration → rules → decision.
//!
//! Everything that is decided is decided here, and nothing here does I/O, reads a clock or
//! keeps a global: [`Configuration`] is what a control plane writes, [`Rules`] is what one
//! client's sidecar makes of it, and [`Rules::decide`] says for one [`Request`] and some
//! [`Chance`] where it goes. The Proxy-Wasm filter and the commands are adapters around it.
//!
//! ```
//! use std::borrow::Cow;
//! use traffic_split::{Chance, Configuration, Decision, Request, Rules};
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
//! struct Always(u64);
//! impl Chance for Always {
//!     fn number(&mut self) -> u64 {
//!         self.0
//!     }
//!     fn id(&mut self) -> Option<[u8; 16]> {
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
//! let Decision::Backend(pick) = rules.decide(&Get("httpbin.httpbin:14001"), &mut Always(0)) else { panic!() };
//! assert_eq!(pick.cluster, "outbound|14001||httpbin-v1.httpbin.svc.cluster.local");
//! # Ok::<(), String>(())
//! ```

mod annotations;
mod authority;
mod budget;
mod cluster;
mod configuration;
mod cookie;
mod http_route_group;
mod json;
mod name;
mod pattern;
mod pattern_size;
mod problem;
mod read;
pub mod rendezvous;
mod request;
mod rules;
mod split;
mod traffic_split;
mod weight;

pub use annotations::{Annotations, Mirror};
pub use budget::{Budget, Cost, Exceeded, Ledger, Resource, Scope};
pub use cluster::ClusterTemplate;
pub use configuration::{Configuration, HostRoot, Service};
pub use cookie::CookieAttributes;
pub use http_route_group::{HttpMatch, HttpRouteGroup, HttpRouteGroupSpec};
pub use json::Strict;
pub use name::{is_label, is_subdomain, is_token};
pub use pattern::Pattern;
pub use problem::{Object, Problem};
pub use request::{Chance, Request};
pub use rules::{By, Decision, Explanation, Pick, Reason, Rules, Share, Trail, WhyRoot};
pub use split::{Condition, Miss};
pub use traffic_split::{Backend, MatchReference, Metadata, Spec, TrafficSplit};
pub use weight::Weight;
