//! The filter, the command and the controller on a real mesh. Run these tests with `--test-threads=1`: they bind the
//! same ports.

mod controller;
mod enabled_hosts;
mod faults;
mod guide;
mod istio;
mod keep;
mod objects;
mod push_time;
mod tenants;
