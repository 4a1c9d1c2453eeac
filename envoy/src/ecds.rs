//! The file from which Envoy reads the filter's configuration, again at every change.

use crate::yaml;
use serde_json::{Value, json};
use traffic_split::Configuration;

/// How the filter is run, for [`ecds`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ecds {
    /// The path of the compiled filter on Envoy's host.
    pub wasm: String,
    /// What Envoy does when the filter's VM has died.
    pub failure_policy: FailurePolicy,
}

/// What Envoy does when the filter's VM has died. That it may answer 503 for ever after
/// (`FAIL_CLOSED`) is not on offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// `FAIL_RELOAD`: a new VM is started; requests within the back-off of a second get 503.
    #[default]
    Reload,
    /// `FAIL_OPEN`: the root serves until there is a new VM.
    Open,
}

/// The names by which the bootstrap refers to what is rendered here.
pub(crate) const FILTER: &str = "traffic-split";
pub(crate) const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// Renders the file that a bootstrap's `path_config_source` names. Replace it by rename (`mv`),
/// and Envoy takes the new configuration without losing a connection.
pub fn ecds(configuration: &Configuration, options: &Ecds) -> String {
    // The bootstrap strips, by `early_header_mutation_extensions`.
    let mut configuration = configuration.clone();
    configuration.headers_stripped = true;
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": FILTER,
        "typed_config": {
            "@type": WASM_TYPE,
            "config": {
                "name": FILTER,
                "failure_policy": options.failure_policy.as_str(),
                "vm_config": {
                    "vm_id": FILTER,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": options.wasm}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": yaml::value(&configuration).to_string(),
                },
            },
        },
    });
    let response: Value = json!({"version_info": version(&resource.to_string()), "resources": [resource]});
    format!(
        "# The filter's configuration; Envoy reads it again when it is replaced by rename (mv).\n{}",
        yaml::write(&response)
    )
}

/// FNV-1a: the same on every machine, another one for another text.
fn version(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

// === impl Ecds ===

impl Default for Ecds {
    fn default() -> Self {
        Self { wasm: "/etc/traffic-split/traffic-split.wasm".into(), failure_policy: FailurePolicy::default() }
    }
}

// === impl FailurePolicy ===

impl FailurePolicy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "FAIL_RELOAD",
            Self::Open => "FAIL_OPEN",
        }
    }
}
