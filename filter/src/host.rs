//! Access to the current request, the configuration and the metrics of the host.
//!
//! A failing call never fails a request: a failed read returns nothing, a failed write is logged.

use crate::abi;
use std::borrow::Cow;
use traffic_split::Request;

/// The request that the host is handling now.
pub(crate) struct CurrentRequest {
    /// Whether the request has no body.
    pub(crate) end_of_stream: bool,
}

impl Request for CurrentRequest {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        abi::request_header(name).map(Cow::Owned)
    }

    fn destination_port(&self) -> Option<u16> {
        // Envoy's integers are 8 bytes, little-endian.
        let bytes = abi::property("destination\0port")?;
        u16::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    fn has_body(&self) -> bool {
        !self.end_of_stream
    }
}

impl CurrentRequest {
    /// Replaces all request headers of this name by one header. Envoy then selects the route again.
    pub(crate) fn set_header(&self, name: &str, value: &str) {
        if let Err(status) = abi::replace_request_header(name, value) {
            log::error!("could not write the request header {name}: the host returned {status}");
        }
    }

    /// Removes a request header if it is present. A removal makes Envoy select the route again, so absent headers are
    /// not removed.
    pub(crate) fn remove_header(&self, name: &str) {
        if self.header(name).is_some()
            && let Err(status) = abi::remove_request_header(name)
        {
            log::error!("could not remove the request header {name}: the host returned {status}");
        }
    }
}

/// Returns the plugin configuration of the root context whose `on_configure` is running.
pub(crate) fn configuration() -> Vec<u8> {
    abi::plugin_configuration().unwrap_or_default()
}

/// Returns the namespace that the control plane put into the node's metadata.
pub(crate) fn node_namespace() -> Option<String> {
    String::from_utf8(abi::property("xds\0node\0metadata\0NAMESPACE")?).ok()
}

/// Defines a counter. Each call costs Envoy memory for as long as the VM lives.
pub(crate) fn define_counter(name: &str) -> Option<u32> {
    abi::define_counter(name).ok()
}

/// Adds one to a counter.
pub(crate) fn increment(counter: u32) {
    if let Err(status) = abi::increment_metric(counter, 1) {
        log::debug!("could not increment counter {counter}: the host returned {status}");
    }
}
