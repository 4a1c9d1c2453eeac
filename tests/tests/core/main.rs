//! The cases and the generated configurations in the crate `traffic-split`, without a host.

mod cases;
mod configurations;
