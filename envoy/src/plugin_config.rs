//! The plugin configuration, which the filter reads.

use crate::yaml::ALWAYS_JSON;
use traffic_split::Configuration;

/// Renders the plugin configuration as indented JSON.
pub fn plugin_config(configuration: &Configuration) -> String {
    format!("{}\n", serde_json::to_string_pretty(configuration).expect(ALWAYS_JSON))
}
