//! Checks how the filter is wired into a running or configured Envoy: the filter itself, the removal of its headers, the route of
//! split requests, and the clusters of the backends.
//!
//! Envoy accepts most mistakes of this wiring, and the root Services then serve all requests without an error.

mod clusters;
mod config_source;
mod connection_manager;
mod enabled;
mod envoy_configuration;
mod extension;
mod findings;
mod routes;
mod values;
mod virtual_hosts;
mod watched_file;

pub use envoy_configuration::EnvoyConfiguration;
pub use watched_file::check_watched_file;

use crate::diagnostic::Diagnostic;
use connection_manager::ConnectionManager;
use findings::{Findings, PARTS, SILENCE};
use std::borrow::Cow;
use traffic_split::Configuration;

/// The result of [`check_wiring`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WiringReport {
    /// The number of connection managers that have the filter or the route of split requests.
    pub connection_managers: usize,
    /// The mistakes. Their field `file` is empty.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reports every mistake in the wiring of the filter.
///
/// Only connection managers that have the filter or the route of split requests are checked. `configuration` names the headers and
/// the splits; without it, each connection manager is checked with the configuration that its filter has loaded.
#[must_use]
pub fn check_wiring(envoy: &EnvoyConfiguration, configuration: Option<&Configuration>) -> WiringReport {
    let mut findings = Findings::default();
    let managers = ConnectionManager::all(envoy);
    if managers.is_empty() {
        findings.error("", "", no_connection_manager(envoy));
        return WiringReport { connection_managers: 0, diagnostics: findings.into_diagnostics() };
    }
    let default = Configuration::default();
    let used: Vec<_> = managers
        .iter()
        .filter_map(|manager| {
            let loaded = manager.loaded_configuration();
            let effective = match (configuration, loaded.as_ref()) {
                (Some(given), _) => Cow::Borrowed(given),
                (None, Some(loaded)) => Cow::Owned(loaded.clone()),
                (None, None) => Cow::Borrowed(&default),
            };
            manager.is_wired(&effective.cluster_header).then_some((manager, effective, loaded))
        })
        .collect();
    if used.is_empty() {
        let message = format!(
            "no HTTP connection manager has the filter or the route of split requests, so {SILENCE}; add the parts of {PARTS}"
        );
        findings.error("", "", message);
        return WiringReport { connection_managers: 0, diagnostics: findings.into_diagnostics() };
    }
    for (manager, effective, loaded) in &used {
        connection_manager::check(manager, effective, &mut findings);
        extension::check(envoy, manager, effective, loaded.as_ref(), &mut findings);
    }
    let tables: Vec<_> = used.iter().filter_map(|(manager, ..)| manager.route_configuration()).collect();
    for (manager, effective, loaded) in &used {
        let is_known = configuration.is_some() || loaded.is_some();
        routes::check(manager, effective, is_known, &tables, &mut findings);
    }
    let mut checked: Vec<&Configuration> = Vec::new();
    for (_, effective, _) in &used {
        // Most connection managers have the same configuration.
        if !checked.contains(&effective.as_ref()) {
            checked.push(effective);
            clusters::check(envoy, &tables, effective, configuration.is_some(), &mut findings);
        }
    }
    WiringReport { connection_managers: used.len(), diagnostics: findings.into_diagnostics() }
}

fn no_connection_manager(envoy: &EnvoyConfiguration) -> String {
    if envoy.lacks_dynamic_listeners() {
        return "the listeners come from LDS, which a bootstrap does not contain; pass Envoy's /config_dump instead"
            .into();
    }
    format!("no listener has an HTTP connection manager, so no request is split; add one with the parts of {PARTS}")
}
