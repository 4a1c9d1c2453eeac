//! An accepted configuration, and one that the filter refuses with the reason in its log.
//!
//! The filter is `host-sim/guests/filters/src/configuration.rs`.

use host_sim::{Error, LogLevel, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let filter = filters::filter("configuration");

    let mut sim = Simulator::builder(&filter).configuration("x-team: shop\nx-tier: gold\n").start()?;
    let outcome = sim.request().send();
    assert_eq!(outcome.response_header("x-team"), Some(&b"shop"[..]));
    assert_eq!(outcome.response_header("x-tier"), Some(&b"gold"[..]));
    // The simulator, not an outcome, has the log messages before the first request.
    assert_eq!(sim.logs()[0].message, "headers: 2");
    println!("accepted: {}", sim.logs()[0]);

    // Envoy would not start the listener. The simulator does not start.
    let refused = Simulator::builder(&filter).configuration("x-team: shop\nx-tier\n: gold\n").start();
    let Err(Error::Refused { callback, logs }) = refused else { panic!("the configuration was accepted") };
    assert_eq!(callback, "proxy_on_configure");
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|log| log.level == LogLevel::Error));
    assert_eq!(logs[0].message, "line 2: expected `name: value`: x-tier");
    println!("refused by {callback}:");
    logs.iter().for_each(|log| println!("  {log}"));
    Ok(())
}
