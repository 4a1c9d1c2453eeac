//! Faults: host functions that answer something else, so that a test sees what the filter makes of it.
//!
//! The filter is `host-sim/guests/filters/src/http_auth.rs`.

use host_sim::{Error, Simulator, Status};

mod filters;

fn main() -> Result<(), Error> {
    let filter = filters::filter("http_auth");
    let mut sim = Simulator::builder(&filter).start()?;

    // The next callout can't be made.
    sim.fail("proxy_http_call", Status::InternalFailure as u32, Some(1));
    let outcome = sim.request().header("authorization", "Bearer alice").send();
    assert_eq!(outcome.status(), Some(503));
    assert!(sim.http_calls().is_empty());
    println!("a callout that fails: {}, {}", outcome.status().unwrap_or_default(), outcome.logs[0]);

    // The one after can.
    let id = sim.request().header("authorization", "Bearer alice").open();
    assert!(sim.stream(id).is_paused());
    sim.stream(id).finish();

    // Always, until it is mended.
    sim.fail("proxy_http_call", Status::InternalFailure as u32, None);
    for _ in 0..3 {
        assert_eq!(sim.request().header("authorization", "Bearer alice").send().status(), Some(503));
    }
    sim.mend();
    let id = sim.request().header("authorization", "Bearer alice").open();
    assert!(sim.stream(id).is_paused());

    // What Envoy would answer by itself needs no fault: here the cluster isn't there.
    let mut sim = Simulator::builder(&filter).clusters(&["another"]).start()?;
    let outcome = sim.request().header("authorization", "Bearer alice").send();
    assert_eq!(outcome.status(), Some(503));
    println!("a cluster that isn't there: {}, {}", outcome.status().unwrap_or_default(), outcome.logs[0]);
    Ok(())
}
