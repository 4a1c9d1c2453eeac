//! Parsing and validation of the plugin configuration.
//!
//! [`parsing`] reads the plugin configuration, [`traffic_split`], [`http_route_group`] and [`service`] read the objects
//! in it, [`validation`] checks across objects, and [`budget`] limits the cost of a configuration to a sidecar.
//! This module does not use requests: [`routing`](crate::routing) depends on this module, never the reverse.

pub(crate) mod annotations;
pub(crate) mod budget;
pub(crate) mod cluster_template;
pub(crate) mod cookie_attributes;
pub(crate) mod cost;
pub(crate) mod http_route_group;
#[cfg(test)]
mod known_fields;
pub(crate) mod names;
pub(crate) mod parsing;
pub(crate) mod pattern;
pub(crate) mod pattern_size;
pub(crate) mod plugin_configuration;
pub(crate) mod problem;
pub(crate) mod reader;
pub(crate) mod service;
pub(crate) mod service_name;
pub(crate) mod strict_json;
pub(crate) mod traffic_split;
pub(crate) mod validation;
pub(crate) mod weight;
