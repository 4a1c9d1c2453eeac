//! The filter in the simulator `host-sim`.

mod cases;
mod configurations;
mod filter;
mod guide;
