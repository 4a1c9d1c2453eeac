//! The kinds of objects that the controller watches, and the parts that it keeps of each.

mod istio;
mod kubernetes;
mod smi;
#[cfg(test)]
mod tests;

pub(crate) use istio::{DestinationRules, EnvoyFilters, Sidecars, VirtualServices};
pub(crate) use kubernetes::{Namespaces, Services};
pub(crate) use smi::{HttpRouteGroups, TrafficSplits};
