//! What the EnvoyFilter that the API server has serves: its configuration and its VM epoch.

use crate::wiring;
use crate::yaml::ALWAYS_JSON;
use serde_json::Value;
use traffic_split::Configuration;

/// The configuration that proxies get by an EnvoyFilter; `None` if it has none that the filter takes.
#[must_use]
pub fn served_configuration(filter: &Value) -> Option<Configuration> {
    let patches = filter.pointer("/spec/configPatches")?.as_array()?;
    let extension = patches.iter().find(|patch| patch["applyTo"] == "EXTENSION_CONFIG")?;
    let text = extension.pointer("/patch/value/typed_config/config/configuration/value")?.as_str()?;
    Configuration::from_json(text.as_bytes()).ok()
}

/// The number of changes of an EnvoyFilter after which its VM is replaced even if only weights change.
const MAX_CHANGES_PER_VM: u64 = 100;

/// The [`vm_epoch`](crate::IstioOptions::vm_epoch) for the EnvoyFilter that replaces `served`, as the API server has it, with this configuration.
///
/// It differs from the one served if more than weights change, so that the configuration serves even if the workers' VMs
/// trapped on the one served; and after every hundredth change, by `metadata.generation`, so that Envoy frees the VM's
/// memory and metrics.
///
/// Apply the result to one replacement only: before each retry, ask again with the EnvoyFilter that is there then.
#[must_use]
pub fn next_vm_epoch(served: &Value, configuration: &Configuration) -> u64 {
    vm_epoch_after(served, served_configuration(served).as_ref(), configuration)
}

/// Returns the same as [`next_vm_epoch`] for an EnvoyFilter whose configuration was read before.
#[must_use]
pub fn vm_epoch_after(served: &Value, previous: Option<&Configuration>, configuration: &Configuration) -> u64 {
    let Some((epoch, previous)) = served_vm_epoch(served).zip(previous) else {
        return served_vm_epoch(served).map_or_else(|| wiring::vm_epoch(configuration), wiring::increment_vm_epoch);
    };
    let generation = served.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or_default();
    if generation > 0 && generation.is_multiple_of(MAX_CHANGES_PER_VM) {
        return wiring::increment_vm_epoch(epoch);
    }
    wiring::next_vm_epoch(previous, epoch, configuration)
}

/// The epoch at the end of the VM's id; `None` in an EnvoyFilter of a version that wrote none.
#[must_use]
pub fn served_vm_epoch(filter: &Value) -> Option<u64> {
    let patches = filter.pointer("/spec/configPatches")?.as_array()?;
    let extension = patches.iter().find(|patch| patch["applyTo"] == "EXTENSION_CONFIG")?;
    let id = extension.pointer("/patch/value/typed_config/config/vm_config/vm_id")?.as_str()?;
    id.rsplit_once('-')?.1.parse().ok().filter(|epoch| *epoch < wiring::VM_EPOCHS)
}

/// Takes all splits out of an EnvoyFilter, so that every root serves. False if it has none, or no configuration.
pub fn remove_splits(filter: &mut Value) -> bool {
    let Some(mut configuration) = served_configuration(filter).filter(|served| !served.traffic_splits.is_empty())
    else {
        return false;
    };
    configuration.traffic_splits.clear();
    let text = serde_json::to_string(&wiring::filter_configuration(&configuration)).expect(ALWAYS_JSON);
    let epoch = next_vm_epoch(filter, &configuration);
    let patches = filter.pointer_mut("/spec/configPatches").and_then(Value::as_array_mut);
    for patch in patches.into_iter().flatten() {
        if let Some(Value::String(id)) = patch.pointer_mut("/patch/value/typed_config/config/vm_config/vm_id")
            && let Some((filter, served)) = id.rsplit_once('-')
            && served.parse::<u64>().is_ok_and(|served| served < wiring::VM_EPOCHS)
        {
            *id = format!("{filter}-{epoch}");
        }
        if let Some(value) = patch.pointer_mut("/patch/value/typed_config/config/configuration/value") {
            *value = text.as_str().into();
        }
    }
    true
}
