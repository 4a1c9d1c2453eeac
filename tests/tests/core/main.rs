//! The cases and generated configurations, decided by the crate `traffic-split` alone.

mod cases;
mod configurations;
