//! Another configuration while requests are under way: each keeps the one that it began with.
//!
//! The filter is `host-sim/guests/filters/src/configuration.rs`.

use host_sim::{Error, Response, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("configuration")).configuration("x-version: 1").start()?;
    let version = |outcome: &host_sim::Outcome| {
        String::from_utf8_lossy(outcome.response_header("x-version").unwrap_or_default()).into_owned()
    };

    // Its request is upstream when the configuration changes.
    let early = sim.request().open();
    sim.reconfigure("x-version: 2")?;
    let late = sim.request().send();
    // The old root context is there until its last stream ends.
    assert_eq!(sim.root_contexts(), 2);
    let early = sim.stream(early).respond(Response::status_only(200)).finish();
    assert_eq!((&version(&early)[..], &version(&late)[..]), ("1", "2"));
    assert_eq!(sim.root_contexts(), 1);
    println!("begun before: version {}; begun after: version {}", version(&early), version(&late));

    // A bad one changes nothing.
    let refused = sim.reconfigure("nonsense");
    assert!(matches!(refused, Err(Error::Refused { .. })));
    let after = sim.request().send();
    assert_eq!(version(&after), "2");
    println!("after a bad one: version {}", version(&after));
    Ok(())
}
