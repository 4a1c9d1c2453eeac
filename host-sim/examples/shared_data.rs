//! Shared data of the workers of an Envoy, each with its own VM, and of plugins with the same `vm_id`.
//!
//! The filter is `host-sim/guests/filters/src/blocklist.rs`.

use host_sim::{Error, Response, Shared, Simulator};
use std::time::Duration;

mod filters;

fn main() -> Result<(), Error> {
    let filter = filters::filter("blocklist");
    let shared = Shared::default();
    let mut sim = Simulator::builder(&filter).workers(2).vm_id("blocklist").shared(&shared).start()?;

    // Both workers make a callout; only the first receives a response.
    sim.advance(Duration::from_secs(10));
    let calls = sim.http_calls();
    assert_eq!(calls.len(), 2);
    sim.respond_to_http_call(calls[0].token, Response::status_only(200).body("mallory"));

    for worker in 0..2 {
        let outcome = sim.request().worker(worker).header("x-user", "mallory").send();
        assert_eq!(outcome.status(), Some(403));
        println!("worker {worker}: {}", outcome.status().unwrap_or_default());
    }

    // A plugin with the same `vm_id` reads the data, a plugin with another `vm_id` does not.
    let mut same = Simulator::builder(&filter).vm_id("blocklist").shared(&shared).start()?;
    assert_eq!(same.request().header("x-user", "mallory").send().status(), Some(403));
    let mut other = Simulator::builder(&filter).vm_id("other").shared(&shared).start()?;
    assert_eq!(other.request().header("x-user", "mallory").send().status(), Some(200));
    println!("a plugin with the same vm_id reads the list, a plugin with another vm_id does not");
    Ok(())
}
