//! The file from which Envoy reads the filter's configuration, again at every change.

use crate::wiring::{FILTER, FailurePolicy, WasmSource, hash, wasm};
use crate::yaml;
use serde_json::{Value, json};
use traffic_split::Configuration;

/// How the filter is run, for [`ecds`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EcdsOptions {
    /// Where the compiled filter is: a file on Envoy's host, for Envoy itself fetches nothing.
    pub wasm: WasmSource,
    /// What tells this filter from others at that path, if anything is known of it. Envoy doesn't
    /// look at the path again as long as the configuration is the one it has.
    pub wasm_version: Option<String>,
    /// The epoch of the filter's VM: another number is another VM. Absent: [`vm_epoch`](crate::vm_epoch) of the
    /// configuration.
    pub vm_epoch: Option<u64>,
    /// What Envoy does when the filter's VM has died.
    pub failure_policy: FailurePolicy,
}

/// Renders the file that a bootstrap's `path_config_source` names. Replace it by rename (`mv`),
/// and Envoy takes the new configuration without losing a connection.
pub fn ecds(configuration: &Configuration, options: &EcdsOptions) -> String {
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": FILTER,
        "typed_config": wasm(
            configuration,
            &options.wasm,
            options.wasm_version.as_deref(),
            options.vm_epoch,
            options.failure_policy,
        ),
    });
    let response: Value =
        json!({"version_info": content_version(resource.to_string().as_bytes()), "resources": [resource]});
    format!(
        "# The filter's configuration; Envoy reads it again when it is replaced by rename (mv).\n{}",
        yaml::write(&response)
    )
}

/// FNV-1a: the same on every machine, another one for other bytes.
pub fn content_version(bytes: &[u8]) -> String {
    format!("{:016x}", hash(bytes))
}
