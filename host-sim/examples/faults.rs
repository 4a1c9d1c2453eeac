//! Fault injection: a host function returns an error status, and the test checks how the filter handles it.
//!
//! The filter is `host-sim/guests/filters/src/http_auth.rs`.

use host_sim::{Error, Simulator, Status};

mod filters;

fn main() -> Result<(), Error> {
    let filter = filters::filter("http_auth");
    let mut sim = Simulator::builder(&filter).start()?;

    // The next callout fails.
    sim.inject_fault("proxy_http_call", Status::InternalFailure as u32, Some(1));
    let outcome = sim.request().header("authorization", "Bearer alice").send();
    assert_eq!(outcome.status(), Some(503));
    assert!(sim.http_calls().is_empty());
    println!("failed callout: {}, {}", outcome.status().unwrap_or_default(), outcome.logs[0]);

    // The callout after it succeeds.
    let id = sim.request().header("authorization", "Bearer alice").open();
    assert!(sim.stream(id).is_paused());
    sim.stream(id).finish();

    // All callouts fail, until `clear_faults`.
    sim.inject_fault("proxy_http_call", Status::InternalFailure as u32, None);
    for _ in 0..3 {
        assert_eq!(sim.request().header("authorization", "Bearer alice").send().status(), Some(503));
    }
    sim.clear_faults();
    let id = sim.request().header("authorization", "Bearer alice").open();
    assert!(sim.stream(id).is_paused());

    // The second callout fails. The filter makes one callout for each request.
    sim.inject_fault_after(1, "proxy_http_call", Status::InternalFailure as u32, Some(1));
    let id = sim.request().header("authorization", "Bearer alice").open();
    assert!(sim.stream(id).is_paused());
    assert_eq!(sim.request().header("authorization", "Bearer alice").send().status(), Some(503));
    assert_eq!(sim.injected_faults(), 5);

    // An unknown cluster needs no fault: the host function fails as in Envoy.
    let mut sim = Simulator::builder(&filter).clusters(&["another"]).start()?;
    let outcome = sim.request().header("authorization", "Bearer alice").send();
    assert_eq!(outcome.status(), Some(503));
    println!("unknown cluster: {}, {}", outcome.status().unwrap_or_default(), outcome.logs[0]);
    Ok(())
}
