//! Parallel tests: the module is compiled once, and each test has its own simulator.
//!
//! `cargo test` runs tests on threads in the same way. The filter is `host-sim/guests/filters/src/configuration.rs`.

use host_sim::{Error, Module, Simulator};
use std::sync::LazyLock;
use std::thread;

mod filters;

/// The module, shared by all tests of a file.
static FILTER: LazyLock<Module> = LazyLock::new(|| filters::filter("configuration"));

fn main() {
    let tests: Vec<_> = (0..8).map(|n| thread::spawn(move || test(n))).collect();
    let requests: usize = tests.into_iter().map(|test| test.join().expect("a thread").expect("a start")).sum();
    assert_eq!(requests, 800);
    println!("{requests} requests in 8 simulators");
}

fn test(n: usize) -> Result<usize, Error> {
    let mut sim = Simulator::builder(&FILTER).configuration(format!("x-test: {n}")).start()?;
    for _ in 0..100 {
        assert_eq!(sim.request().send().response_header("x-test"), Some(n.to_string().as_bytes()));
    }
    Ok(100)
}
