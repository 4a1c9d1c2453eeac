//! The controller: watches a Kubernetes cluster, and keeps one EnvoyFilter and the statuses of TrafficSplits up to date.
//!
//! Data flows one way:
//! 1. `watch` lists and watches each kind; `projection` keeps the parts that planning uses; `store` holds them.
//! 2. `wakeup` starts a pass when changes have paused; `reconcile` runs the pass while this replica holds the `lease`.
//! 3. `cluster` takes a snapshot, [`traffic_split_envoy::plan`] plans it, and `apply` writes the EnvoyFilter.
//! 4. `status_writer` writes the statuses that differ, and `events` publishes what is new in them.
//!
//! `server` serves health and `metrics`.

mod apply;
mod client;
mod cluster;
mod error_text;
mod events;
mod kubernetes;
mod lease;
mod metrics;
mod own_writes;
mod projection;
mod raw_object;
mod reconcile;
mod run;
mod server;
mod signals;
mod status_writer;
mod store;
mod token_bucket;
mod uninstall;
mod vm_rotation;
mod wakeup;
mod watch;
mod watches;

pub use client::Failure;
pub use run::{Options, run};
pub use uninstall::uninstall;
