//! The ports, the export list and the suitability of each Service as a backend, computed once for each Service.

use crate::document::text;
use crate::service_ports::{non_http_protocols, service_ports};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::HashMap;

/// Services by namespace and name.
pub(crate) type Services<'c> = HashMap<(&'c str, &'c str), ServiceFacts<'c>>;

/// A Service, and what is derived from it.
pub(crate) struct ServiceFacts<'c> {
    value: &'c Value,
    ports: OnceCell<Option<Vec<u16>>>,
    export: OnceCell<Export>,
}

/// The namespaces to which Istio exports a Service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Export {
    All,
    /// Sorted, without duplicates.
    Only(Vec<String>),
    /// More than [`MAX_EXPORTS`] entries; the list is not evaluated.
    TooMany,
}

/// The annotation that lists the namespaces to which Istio exports a Service.
pub const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Maximum number of entries of [`EXPORT_TO`] that the planner evaluates.
pub(crate) const MAX_EXPORTS: usize = 100;

impl<'c> ServiceFacts<'c> {
    /// Returns the facts of all Services.
    pub(crate) fn all(services: impl IntoIterator<Item = &'c Value>) -> Services<'c> {
        let facts = |value: &'c Value| {
            let key = ["/metadata/namespace", "/metadata/name"].map(|pointer| text(value, pointer).unwrap_or_default());
            (key.into(), Self { value, ports: OnceCell::new(), export: OnceCell::new() })
        };
        services.into_iter().map(facts).collect()
    }

    /// Returns the TCP ports, sorted; `None` if the Service lists no port.
    pub(crate) fn ports(&self) -> Option<&[u16]> {
        let ports = self.ports.get_or_init(|| {
            let mut ports = service_ports(self.value).ok().flatten()?;
            ports.sort_unstable();
            ports.dedup();
            Some(ports)
        });
        ports.as_deref()
    }

    /// Returns why proxies have no cluster for a backend of this Service, as a predicate of the Service.
    pub(crate) fn no_traffic_reason(&self) -> Option<&'static str> {
        let is = |pointer, value| text(self.value, pointer) == Some(value);
        match self.ports() {
            _ if is("/spec/type", "ExternalName") => Some("is of type ExternalName"),
            // Istio's cluster of a headless Service sends a request to the address that the client connected to.
            _ if is("/spec/clusterIP", "None") => Some("is headless"),
            None => Some("has no ports"),
            Some([]) => Some("has no TCP ports"),
            Some(_) => None,
        }
    }

    /// Returns the protocols that the TCP ports declare, if Istio routes none of the ports as HTTP.
    pub(crate) fn non_http_protocols(&self) -> Option<String> {
        non_http_protocols(self.value)
    }

    /// Returns the namespaces to which the Service is exported.
    pub(crate) fn export(&self) -> &Export {
        self.export.get_or_init(|| {
            let list = self.value.pointer("/metadata/annotations").and_then(|annotations| annotations.get(EXPORT_TO));
            let Some(list) = list.and_then(Value::as_str) else { return Export::All };
            let own = text(self.value, "/metadata/namespace").unwrap_or_default();
            let entries = list.split(',').map(str::trim).take(MAX_EXPORTS + 1);
            let mut entries: Vec<_> = entries.map(|to| if to == "." { own } else { to }.to_owned()).collect();
            match entries.iter().any(|to| to == "*") {
                true => Export::All,
                false if entries.len() > MAX_EXPORTS => Export::TooMany,
                false => {
                    entries.sort_unstable();
                    entries.dedup();
                    Export::Only(entries)
                }
            }
        })
    }
}
