//! The file that a bare Envoy watches for the filter's configuration.

use crate::wiring::{FILTER, FailurePolicy, WasmSource, hash, wasm};
use crate::yaml;
use serde_json::{Value, json};
use traffic_split::Configuration;

/// Options of [`ecds`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EcdsOptions {
    /// The compiled filter. Must be a file: without Istio's agent, Envoy fetches no URL.
    pub wasm: WasmSource,
    /// The version of the filter at that path, if known. Envoy reads the file again only if the configuration changes.
    pub wasm_version: Option<String>,
    /// The epoch of the filter's VM: another number is another VM. Defaults to [`vm_epoch`](crate::vm_epoch) of the configuration.
    pub vm_epoch: Option<u64>,
    /// What Envoy does after the filter's VM fails.
    pub failure_policy: FailurePolicy,
}

/// The file that [`ecds`] renders.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EcdsFile {
    /// The content of the file.
    pub text: String,
    /// The `version_info` in the file. After Envoy has loaded the file, its statistic
    /// `extension_config_discovery.http_filter.traffic-split.version_text` has this value.
    pub version: String,
}

/// Renders the file that a bootstrap's `path_config_source` names. After the file is replaced by rename (`mv`), Envoy loads the new
/// configuration and keeps all connections.
pub fn ecds(configuration: &Configuration, options: &EcdsOptions) -> EcdsFile {
    let resource = resource(configuration, options);
    let version = content_version(resource.to_string().as_bytes());
    let response = json!({"version_info": version, "resources": [resource]});
    let text = format!(
        "# The filter's configuration. Replace this file by rename (mv): Envoy then loads the new one.\n{}",
        yaml::write(&response)
    );
    EcdsFile { text, version }
}

fn resource(configuration: &Configuration, options: &EcdsOptions) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": FILTER,
        "typed_config": wasm(
            configuration,
            &options.wasm,
            options.wasm_version.as_deref(),
            options.vm_epoch,
            options.failure_policy,
        ),
    })
}

/// Returns a version for these bytes: their FNV-1a hash in hexadecimal.
pub fn content_version(bytes: &[u8]) -> String {
    format!("{:016x}", hash(bytes))
}
