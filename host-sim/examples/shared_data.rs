//! Shared data: between the workers of an Envoy, each with a VM of its own, and between plugins with the same `vm_id`.
//!
//! The filter is `host-sim/guests/filters/src/blocklist.rs`.

use host_sim::{Error, Response, Shared, Simulator};
use std::time::Duration;

mod filters;

fn main() -> Result<(), Error> {
    let filter = filters::filter("blocklist");
    let shared = Shared::default();
    let mut sim = Simulator::builder(&filter).workers(2).vm_id("blocklist").shared(&shared).start()?;

    // Both workers have asked; only the first is answered.
    sim.advance(Duration::from_secs(10));
    let calls = sim.http_calls();
    assert_eq!(calls.len(), 2);
    sim.answer_http_call(calls[0].token, Response::status_only(200).body("mallory"));

    for worker in 0..2 {
        let outcome = sim.request().worker(worker).header("x-user", "mallory").send();
        assert_eq!(outcome.status(), Some(403));
        println!("worker {worker} answers {}", outcome.status().unwrap_or_default());
    }

    // Another plugin of the same `vm_id` reads it too; one of another doesn't.
    let mut same = Simulator::builder(&filter).vm_id("blocklist").shared(&shared).start()?;
    assert_eq!(same.request().header("x-user", "mallory").send().status(), Some(403));
    let mut other = Simulator::builder(&filter).vm_id("other").shared(&shared).start()?;
    assert_eq!(other.request().header("x-user", "mallory").send().status(), Some(200));
    println!("a plugin of the same vm_id knows the list, another doesn't");
    Ok(())
}
