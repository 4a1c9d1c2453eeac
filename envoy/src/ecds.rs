//! The file from which Envoy reads the filter's configuration, again at every change.

use crate::{ALWAYS_JSON, yaml};
use serde_json::{Value, json};
use traffic_split::Configuration;

/// How the filter is run, for [`ecds`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ecds {
    /// The path of the compiled filter on Envoy's host.
    pub wasm: String,
    /// What tells this filter from others at that path, if anything is known of it. Envoy doesn't
    /// look at the path again as long as the configuration is the one it has.
    pub wasm_version: Option<String>,
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
    // The bootstrap strips, by `early_header_mutation_extensions`, unless the operator says otherwise.
    let mut configuration = configuration.clone();
    configuration.headers_stripped.get_or_insert(true);
    let vm_id = match &options.wasm_version {
        Some(version) => format!("{FILTER}-{version}"),
        None => FILTER.into(),
    };
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": FILTER,
        "typed_config": {
            "@type": WASM_TYPE,
            "config": {
                "name": FILTER,
                "failure_policy": options.failure_policy.as_str(),
                "vm_config": {
                    "vm_id": vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": options.wasm}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": serde_json::to_string(&configuration).expect(ALWAYS_JSON),
                },
            },
        },
    });
    let response: Value = json!({"version_info": version(resource.to_string().as_bytes()), "resources": [resource]});
    format!(
        "# The filter's configuration; Envoy reads it again when it is replaced by rename (mv).\n{}",
        yaml::write(&response)
    )
}

/// FNV-1a: the same on every machine, another one for other bytes.
pub fn version(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

// === impl Ecds ===

impl Default for Ecds {
    fn default() -> Self {
        Self {
            wasm: "/etc/traffic-split/traffic-split.wasm".into(),
            wasm_version: None,
            failure_policy: FailurePolicy::default(),
        }
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
