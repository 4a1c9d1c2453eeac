//! Access to the current request, the configuration and the metrics of the host.
//!
//! A failing call never fails a request: a failed read returns nothing, a failed write is logged. No failure lets a
//! client choose a cluster.

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
        abi::request_header(name).ok().map(Cow::Owned)
    }

    fn destination_port(&self) -> Option<u16> {
        // Envoy's integers are 8 bytes, little-endian.
        let bytes = abi::property("destination\0port").ok()?;
        u16::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    fn has_body(&self) -> bool {
        !self.end_of_stream
    }
}

impl CurrentRequest {
    /// Replaces all request headers of this name by one header. Envoy then selects the route again. Returns false if that fails:
    /// the request then has no such header.
    pub(crate) fn set_header(&self, name: &str, value: &str) -> bool {
        let Err(status) = abi::replace_request_header(name, value) else { return true };
        log::error!("could not write the request header {name}: the host returned {status}");
        self.remove_header(name);
        false
    }

    /// Removes a request header, unless it is absent. A removal makes Envoy select the route again, so absent headers are
    /// not removed.
    pub(crate) fn remove_header(&self, name: &str) {
        if abi::request_header(name).is_err_and(|status| status.is_not_found()) {
            return;
        }
        if let Err(status) = abi::remove_request_header(name) {
            log::error!("could not remove the request header {name}: the host returned {status}");
            // The header may be a client's. No cluster has an empty name, so Envoy answers 503.
            _ = abi::replace_request_header(name, "");
        }
    }
}

/// Returns the plugin configuration of the root context whose `on_configure` is running. Logs a failure.
pub(crate) fn configuration() -> Option<Vec<u8>> {
    abi::plugin_configuration()
        .inspect_err(|status| log::error!("could not read the configuration: the host returned {status}"))
        .ok()
}

/// Returns the namespace that the control plane put into the node's metadata. Logs a failure.
pub(crate) fn node_namespace() -> Option<String> {
    match abi::property("xds\0node\0metadata\0NAMESPACE") {
        Ok(namespace) => String::from_utf8(namespace).ok(),
        Err(status) => {
            if !status.is_not_found() {
                log::warn!("could not read the node's namespace: the host returned {status}; set `namespace`");
            }
            None
        }
    }
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
