//! Tests of the whole controller against a mock API server. Time is virtual, so each runs in milliseconds.

mod conflicts;
mod debounce;
mod envoy_filter;
mod events;
mod leadership;
mod refusals;
mod statuses;
mod uninstall;
mod unreadable_objects;
mod vm_rotation;
