//! A new configuration while requests are open: an open request keeps its configuration.
//!
//! The filter is `host-sim/guests/filters/src/configuration.rs`.

use host_sim::{Error, Response, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("configuration")).configuration("x-version: 1").start()?;
    let version = |outcome: &host_sim::Outcome| {
        String::from_utf8_lossy(outcome.response_header("x-version").unwrap_or_default()).into_owned()
    };

    // The configuration changes while this request waits for the upstream.
    let early = sim.request().open();
    sim.reconfigure("x-version: 2")?;
    let late = sim.request().send();
    // The old root context ends with its last stream.
    assert_eq!(sim.root_contexts(), 2);
    let early = sim.stream(early).respond(Response::status_only(200)).finish();
    assert_eq!((&version(&early)[..], &version(&late)[..]), ("1", "2"));
    assert_eq!(sim.root_contexts(), 1);
    println!(
        "request before the change: version {}; request after the change: version {}",
        version(&early),
        version(&late)
    );

    // A refused configuration changes nothing.
    let refused = sim.reconfigure("nonsense");
    assert!(matches!(refused, Err(Error::Refused { .. })));
    let after = sim.request().send();
    assert_eq!(version(&after), "2");
    println!("after a refused configuration: version {}", version(&after));
    Ok(())
}
