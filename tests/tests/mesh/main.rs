//! The filter, the command and the controller on a real mesh. Run with `--test-threads=1`: the tests bind the same
//! ports.

mod controller;
mod faults;
mod guide;
mod istio;
mod keep;
mod objects;
mod tenants;
