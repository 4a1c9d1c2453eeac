//! Reads and changes the configuration and the VM epoch of an existing EnvoyFilter.

use crate::wiring;
use crate::yaml::ALWAYS_JSON;
use serde_json::Value;
use traffic_split::Configuration;

/// Returns the configuration in an EnvoyFilter; `None` if it has no valid one.
#[must_use]
pub fn served_configuration(filter: &Value) -> Option<Configuration> {
    let patches = filter.pointer("/spec/configPatches")?.as_array()?;
    let extension = patches.iter().find(|patch| patch["applyTo"] == "EXTENSION_CONFIG")?;
    let text = extension.pointer("/patch/value/typed_config/config/configuration/value")?.as_str()?;
    Configuration::from_json(text.as_bytes()).ok()
}

/// The number of changes of an EnvoyFilter after which the VM is replaced even if only weights change.
const MAX_CHANGES_PER_VM: u64 = 100;

/// Returns the [`vm_epoch`](crate::IstioOptions::vm_epoch) for the EnvoyFilter that replaces `served` with this configuration.
///
/// The epoch changes if anything other than weights changes, so that the new configuration loads even if the served
/// configuration trapped. The epoch also changes after every hundredth change, counted by `metadata.generation`, so that
/// Envoy frees the VM's memory and metrics.
///
/// Use the result for one replacement only: before each retry, call this function again with the EnvoyFilter that then exists.
#[must_use]
pub fn next_vm_epoch(served: &Value, configuration: &Configuration) -> u64 {
    vm_epoch_after(served, served_configuration(served).as_ref(), configuration)
}

/// Returns the same as [`next_vm_epoch`] for an EnvoyFilter whose configuration is already parsed.
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

/// Returns the epoch at the end of the VM's id; `None` for an EnvoyFilter of a version without epochs.
#[must_use]
pub fn served_vm_epoch(filter: &Value) -> Option<u64> {
    let patches = filter.pointer("/spec/configPatches")?.as_array()?;
    let extension = patches.iter().find(|patch| patch["applyTo"] == "EXTENSION_CONFIG")?;
    let id = extension.pointer("/patch/value/typed_config/config/vm_config/vm_id")?.as_str()?;
    id.rsplit_once('-')?.1.parse().ok().filter(|epoch| *epoch < wiring::VM_EPOCHS)
}

/// Removes all splits from an EnvoyFilter, so that the root Services serve. Returns `false` if there are none.
pub fn remove_splits(filter: &mut Value) -> bool {
    let Some(mut configuration) = served_configuration(filter).filter(|served| !served.traffic_splits.is_empty())
    else {
        return false;
    };
    configuration.traffic_splits.clear();
    let text = serde_json::to_string(&wiring::filter_configuration(&configuration)).expect(ALWAYS_JSON);
    let epoch = next_vm_epoch(filter, &configuration);
    let patches = filter.pointer_mut("/spec/configPatches").and_then(Value::as_array_mut);
    let Some(patches) = patches else { return true };
    patches.retain(|patch| patch["applyTo"] != "VIRTUAL_HOST");
    for patch in patches {
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
