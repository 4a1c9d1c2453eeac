//! Tests in a real Envoy that measure memory, VMs or timing.
//!
//! They have a target of their own because cargo runs one target after another: the load of other tests would
//! disturb the measurements.

mod host;
mod reload;
mod vm_lifecycle;
