//! The host calls, all of them: what a request asks and what a decision does.
//!
//! Only calls that return bytes: the SDK's string getters panic on what isn't UTF-8. A failing
//! call is never worth a request: reading then gives nothing, writing does nothing.

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType};
use std::borrow::Cow;
use traffic_split::Request;

/// The request that the host is handling now.
pub(crate) struct CurrentRequest {
    /// Whether its headers are all of it.
    pub(crate) ends: bool,
}

impl Request for CurrentRequest {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten().map(Cow::Owned)
    }

    fn destination_port(&self) -> Option<u16> {
        // Envoy's integers are 8 bytes, little-endian.
        let bytes = property(&["destination", "port"])?;
        u16::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    fn has_body(&self) -> bool {
        !self.ends
    }
}

impl CurrentRequest {
    /// Writes a request header in place of all that have its name. Envoy then looks for the
    /// route again.
    pub(crate) fn set_header(&self, name: &str, value: &str) {
        if hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value.as_bytes())).is_err() {
            log::error!("could not write the request header {name}");
        }
    }

    /// Removes a request header if it is there. Looks first, since Envoy looks for the route
    /// again after any change.
    pub(crate) fn remove_header(&self, name: &str) {
        if self.header(name).is_some()
            && hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, None).is_err()
        {
            log::error!("could not remove the request header {name}");
        }
    }
}

/// The plugin configuration of the root context that is being configured.
pub(crate) fn configuration() -> Vec<u8> {
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten().unwrap_or_default()
}

/// The namespace that the control plane put into the node's metadata.
pub(crate) fn node_namespace() -> Option<String> {
    String::from_utf8(property(&["xds", "node", "metadata", "NAMESPACE"])?).ok()
}

/// Defines a counter. Each call costs Envoy memory for as long as the VM lives.
pub(crate) fn define_counter(name: &str) -> Option<u32> {
    hostcalls::define_metric(MetricType::Counter, name).ok()
}

/// Adds one to a counter.
pub(crate) fn increment(counter: u32) {
    if hostcalls::increment_metric(counter, 1).is_err() {
        log::debug!("could not increment counter {counter}");
    }
}

fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}
