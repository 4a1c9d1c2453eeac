//! The controller: watches a Kubernetes cluster, and keeps one EnvoyFilter and the statuses of the TrafficSplits up to date.
//!
//! Data flows one way:
//! 1. `watch` lists and watches each of the `kinds`; `projection` keeps the parts that planning uses; `store` holds them.
//! 2. `wakeup` starts a pass when changes have paused; `reconcile` runs the pass while this replica holds the `lease`.
//! 3. `cluster` takes a snapshot, [`traffic_split_envoy::plan`] plans it, and `apply` writes the EnvoyFilter.
//! 4. `status_writer` writes the statuses that differ, and `events` publishes an Event for each new problem.
//!
//! `controller` puts these parts together; `run` connects it to the process. `server` serves health and `metrics`.

mod apply;
mod client;
mod clock;
mod cluster;
mod controller;
mod error_text;
mod events;
mod kinds;
mod kubernetes;
mod lease;
mod metrics;
mod own_writes;
mod projection;
mod raw_object;
mod reconcile;
mod run;
#[cfg(test)]
mod scenarios;
mod server;
mod signals;
mod status_writer;
mod store;
#[cfg(test)]
mod testing;
mod token_bucket;
mod uninstall;
mod vm_rotation;
mod wakeup;
mod watch;
mod watch_response;
mod watches;

pub use client::Failure;
pub use run::{Options, run};
pub use uninstall::uninstall;
