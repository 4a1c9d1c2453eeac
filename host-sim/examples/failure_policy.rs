//! A trap, which in Rust is a panic: what becomes of the request, and of those after it, by Envoy's `failure_policy`.
//!
//! The filter is `host-sim/guests/filters/src/headers.rs`. It never panics itself, but the SDK does at an answer that it
//! doesn't expect.

use host_sim::{Error, FailurePolicy, Outcome, Simulator};
use std::time::Duration;

mod filters;

fn main() -> Result<(), Error> {
    let filter = filters::filter("headers");
    for policy in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload] {
        let mut sim = Simulator::builder(&filter).failure_policy(policy).start()?;
        sim.fail("proxy_get_header_map_pairs", 10, Some(1));
        let trapped = sim.request().send();
        assert!(trapped.trap.is_some() && sim.is_dead());
        assert!(trapped.logs.iter().any(|log| log.message.contains("unexpected status: 10")));
        let next = sim.request().send();
        // A dead VM is replaced once it is a second old, by the next request.
        sim.advance(Duration::from_secs(1));
        let later = sim.request().send();
        let expected = match policy {
            // Not the request that it trapped at, but those that come after.
            FailurePolicy::Open => ["503", "200, not filtered", "200, not filtered"],
            FailurePolicy::Reload => ["503", "503", "200"],
            _ => ["503", "503", "503"],
        };
        assert_eq!([&trapped, &next, &later].map(described), expected, "{policy:?}");
        println!(
            "{policy:?}: the client gets {}; the next {}; a second later {}",
            expected[0], expected[1], expected[2]
        );
    }

    // A new VM whatever the policy is: a test needn't wait for one.
    let mut sim = Simulator::builder(&filter).start()?;
    sim.fail("proxy_get_header_map_pairs", 10, Some(1));
    let outcome = sim.request().send();
    println!("the trap was in {}", outcome.trap.unwrap_or_default().lines().next().unwrap_or_default());
    sim.reload()?;
    assert_eq!(described(&sim.request().send()), "200");
    Ok(())
}

fn described(outcome: &Outcome) -> String {
    let status = outcome.status().unwrap_or_default();
    let filtered = status != 200 || outcome.logs.iter().any(|log| log.message.starts_with("request "));
    format!("{status}{}", if filtered { "" } else { ", not filtered" })
}
