//! The filter in the simulator `host-sim`.

mod cases;
mod configurations;
mod faults;
mod filter;
mod guide;
mod hostile;
