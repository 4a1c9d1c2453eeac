//! SMI `TrafficSplit`: parses a plugin configuration, builds rules from it, and decides where each request goes.
//!
//! Pure logic: no I/O, no clock, no global state. [`Configuration`] is the parsed plugin configuration, [`Rules`] are
//! the rules of one client's sidecar, and [`Rules::decide`] selects the root or a backend for a [`Request`]. The
//! Proxy-Wasm filter and the commands are adapters around this crate.
//!
//! The module `configuration` parses and validates. The module `routing` decides where a request goes: root lookup,
//! matching, selection, mirroring, and their explanation.
//!
//! ```
//! use std::borrow::Cow;
//! use traffic_split::{Configuration, Decision, RandomSource, Request, Rules};
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
//! struct Fixed(u64);
//! impl RandomSource for Fixed {
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
//! let Decision::Backend(pick) = rules.decide(&Get("httpbin.httpbin:14001"), &mut Fixed(0)) else { panic!() };
//! assert_eq!(pick.cluster, "outbound|14001||httpbin-v1.httpbin.svc.cluster.local");
//! # Ok::<(), String>(())
//! ```

mod configuration;
mod routing;

pub use configuration::annotations::{Annotations, Mirror};
pub use configuration::budget::{Budget, Cost, Exceeded, Ledger, Resource, Scope};
pub use configuration::cluster_template::ClusterTemplate;
pub use configuration::cookie_attributes::CookieAttributes;
pub use configuration::cost::escape_bytes;
pub use configuration::http_route_group::{HttpMatch, HttpRouteGroup, HttpRouteGroupSpec};
pub use configuration::names::{is_label, is_subdomain, is_token};
pub use configuration::pattern::Pattern;
pub use configuration::plugin_configuration::Configuration;
pub use configuration::problem::{Object, Problem};
pub use configuration::service::{HostRoot, Service};
pub use configuration::strict_json::Strict;
pub use configuration::traffic_split::{Backend, MatchReference, Metadata, Spec, TrafficSplit};
pub use configuration::weight::Weight;
pub use routing::counter::Reason;
pub use routing::decision::{Decision, Pick, RootReason};
pub use routing::matching::{FailedMatch, MatchCondition};
pub use routing::port::{GivenPort, PortRule, port_of_request};
pub use routing::random::RandomSource;
pub use routing::rendezvous;
pub use routing::request::Request;
pub use routing::rules::Rules;
pub use routing::trace::{Certain, DecidedBy, RoutingTrace, Share};
