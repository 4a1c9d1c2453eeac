//! A trap, which a panic in Rust causes: Envoy's `failure_policy` decides about this request and later ones.
//!
//! The filter is `host-sim/guests/filters/src/headers.rs`. The filter itself never panics, but the SDK panics when a host
//! function returns an unexpected status.

use host_sim::{Error, FailurePolicy, Outcome, Simulator};
use std::time::Duration;

mod filters;

fn main() -> Result<(), Error> {
    let filter = filters::filter("headers");
    for policy in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload] {
        let mut sim = Simulator::builder(&filter).failure_policy(policy).start()?;
        sim.inject_fault("proxy_get_header_map_pairs", 10, Some(1));
        let trapped = sim.request().send();
        assert!(trapped.trap.is_some() && sim.has_failed());
        assert!(trapped.logs.iter().any(|log| log.message.contains("unexpected status: 10")));
        let next = sim.request().send();
        // `Reload` replaces the VM at the first request at least one second after its start.
        sim.advance(Duration::from_secs(1));
        let later = sim.request().send();
        let expected = match policy {
            // Only requests after the trap bypass the filter.
            FailurePolicy::Open => ["503", "200, not filtered", "200, not filtered"],
            FailurePolicy::Reload => ["503", "503", "200"],
            _ => ["503", "503", "503"],
        };
        assert_eq!([&trapped, &next, &later].map(described), expected, "{policy:?}");
        println!("{policy:?}: trap {}; next request {}; after one second {}", expected[0], expected[1], expected[2]);
    }

    // `reload` starts a new VM at once, whatever the policy is.
    let mut sim = Simulator::builder(&filter).start()?;
    sim.inject_fault("proxy_get_header_map_pairs", 10, Some(1));
    let outcome = sim.request().send();
    println!("trap in {}", outcome.trap.unwrap_or_default().lines().next().unwrap_or_default());
    sim.reload()?;
    assert_eq!(described(&sim.request().send()), "200");
    Ok(())
}

fn described(outcome: &Outcome) -> String {
    let status = outcome.status().unwrap_or_default();
    let filtered = status != 200 || outcome.logs.iter().any(|log| log.message.starts_with("request "));
    format!("{status}{}", if filtered { "" } else { ", not filtered" })
}
