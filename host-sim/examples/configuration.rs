//! Configurations: a good one, and a bad one, which the filter refuses with the reason in its log.
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
    // What was logged before the first request is the simulator's, not the outcome's.
    assert_eq!(sim.logs()[0].message, "headers: 2");
    println!("a good one: {}", sim.logs()[0]);

    // Envoy would not start the listener; here nothing starts.
    let refused = Simulator::builder(&filter).configuration("x-team: shop\nx-tier\n: gold\n").start();
    let Err(Error::Refused { callback, logs }) = refused else { panic!("it was taken") };
    assert_eq!(callback, "proxy_on_configure");
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|log| log.level == LogLevel::Error));
    assert_eq!(logs[0].message, "line 2 isn't `name: value`: x-tier");
    println!("a bad one, refused by {callback}:");
    logs.iter().for_each(|log| println!("  {log}"));
    Ok(())
}
