//! Istio's kinds.

use crate::own_writes::OwnWrites;
use crate::projection::{
    Kind, NotKept, Projected, parse_part, projected, scalar_elements, scalars, type_and_metadata, with_name,
    within_limit,
};
use crate::raw_object::{RawObject, elements, fields};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// Istio's VirtualServices: `spec.hosts`, `spec.gateways`, and whether `spec.http` has entries.
#[derive(Debug)]
pub(crate) struct VirtualServices;

impl Kind for VirtualServices {
    type Kept = Arc<Value>;

    const NAME: &'static str = "VirtualService";

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = with_name(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            let [hosts, gateways, http] = fields(spec, ["hosts", "gateways", "http"]);
            let has_routes = http.is_some_and(|http| !elements(http).is_empty());
            value["spec"] = json!({
                "hosts": scalar_elements(hosts),
                "gateways": scalar_elements(gateways),
                "http": if has_routes { json!([{}]) } else { json!([]) },
            });
        }
        projected::<Self>(value, room)
    }
}

/// Istio's DestinationRules: `spec.host`, and `loadBalancer.consistentHash` of the traffic policy and its ports.
#[derive(Debug)]
pub(crate) struct DestinationRules;

impl Kind for DestinationRules {
    type Kept = Arc<Value>;

    const NAME: &'static str = "DestinationRule";

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = with_name(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            let mut kept = scalars(spec, ["host"]);
            if let [Some(policy)] = fields(spec, ["trafficPolicy"]) {
                let [ports] = fields(policy, ["portLevelSettings"]);
                let ports = ports.map(elements).unwrap_or_default();
                let ports: Vec<_> = ports.into_iter().filter_map(consistent_hash).collect();
                let mut policy = consistent_hash(policy).unwrap_or_else(|| json!({}));
                policy["portLevelSettings"] = ports.into();
                kept.insert("trafficPolicy".into(), policy);
            }
            value["spec"] = kept.into();
        }
        projected::<Self>(value, room)
    }
}

/// Returns a policy with only its `loadBalancer.consistentHash.httpHeaderName`; `None` if the policy has no consistent hash.
fn consistent_hash(policy: &RawValue) -> Option<Value> {
    let [load_balancer] = fields(policy, ["loadBalancer"]);
    let [hash] = fields(load_balancer?, ["consistentHash"]);
    Some(json!({"loadBalancer": {"consistentHash": scalars(hash?, ["httpHeaderName"])}}))
}

/// Istio's Sidecars: `spec.egress[].hosts`.
#[derive(Debug)]
pub(crate) struct Sidecars;

impl Kind for Sidecars {
    type Kept = Arc<Value>;

    const NAME: &'static str = "Sidecar";

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = with_name(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            let [egress] = fields(spec, ["egress"]);
            let egress = egress.map(elements).unwrap_or_default().into_iter();
            let egress = egress.map(|egress| json!({"hosts": scalar_elements(fields(egress, ["hosts"])[0])}));
            value["spec"] = json!({"egress": egress.collect::<Vec<_>>()});
        }
        projected::<Self>(value, room)
    }
}

/// EnvoyFilters: metadata and spec. Only the controller's own is watched; it may be larger than `--max-bytes`.
#[derive(Debug)]
pub(crate) struct EnvoyFilters {
    /// The EnvoyFilter that the controller has written.
    pub(crate) own_writes: OwnWrites,
}

impl Kind for EnvoyFilters {
    type Kept = Arc<Value>;

    const NAME: &'static str = "EnvoyFilter";
    const MAX_OBJECT_BYTES: usize = 8 << 20;
    const MAX_NAMESPACE_BYTES: usize = 8 << 20;

    /// A version that the controller wrote needs no pass.
    fn is_same(&self, _: &Self::Kept, new: &Self::Kept) -> bool {
        self.own_writes.is_filter_spec(&new["spec"])
    }

    fn read(&self, object: &RawObject<'_>, room: usize) -> Result<Projected<Self::Kept>, NotKept> {
        let mut value = type_and_metadata::<Self>(object);
        if let [Some(spec)] = fields(object.json, ["spec"]) {
            within_limit::<Self>(spec.get().len())?;
            value["spec"] = parse_part("spec", spec)?;
        }
        projected::<Self>(value, room)
    }
}
