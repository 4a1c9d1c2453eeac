//! The configuration of an Envoy, as `traffic-split check --envoy` reads it.

use crate::message;
use traffic_split_envoy::{EnvoyConfiguration, check_wiring};

/// Parses the configuration of an Envoy, YAML or JSON, and checks its wiring. Every message is one line.
pub fn envoy_configuration(data: &[u8]) {
    match EnvoyConfiguration::parse(data) {
        Ok(envoy) => check_wiring(&envoy, None).diagnostics.iter().for_each(message::check),
        Err(diagnostic) => message::check(diagnostic),
    }
}
