//! The same 100,000 generated configurations in the compiled filter in the simulator.

use crate::FILTER;
use e2e::configurations::Configurations;
use host_sim::{Error, Simulator};
use traffic_split::Configuration;

const CONFIGURATIONS: usize = 100_000;

/// Applies every second configuration from this one on. Returns the numbers of accepted and rejected ones.
fn every_second(first: usize) -> (usize, usize) {
    let mut configurations = Configurations::new(1);
    let mut simulator = Simulator::builder(&FILTER).configuration("{}").start().expect("a start");
    let (mut taken, mut refused) = (0, 0);
    for number in 0..CONFIGURATIONS {
        let text = configurations.draw();
        if number % 2 != first {
            continue;
        }
        let shown = || text.escape_ascii().to_string();
        let is_good = Configuration::from_json(&text).is_ok();
        match simulator.reconfigure(&text) {
            Ok(()) => {
                taken += 1;
                assert!(is_good, "the core refuses {}", shown());
                let request = simulator.request().get("http://web.a:80/abx?y").header("x-user", "alice");
                let outcome = request.header("cookie", b"user=\xff; a=b").send();
                assert_eq!((outcome.trap, outcome.local_response), (None, None), "{}", shown());
            }
            Err(Error::Refused { logs, .. }) => {
                refused += 1;
                assert!(!is_good && !logs.is_empty(), "the core takes {}", shown());
            }
            Err(other) => panic!("{other}: {}", shown()),
        }
    }
    (taken, refused)
}

#[test]
fn filter_survives_every_configuration_and_accepts_what_the_core_accepts() {
    let [even, odd] = std::thread::scope(|scope| {
        [0, 1].map(|first| scope.spawn(move || every_second(first))).map(|half| half.join().expect("a half"))
    });
    let (taken, refused) = (even.0 + odd.0, even.1 + odd.1);
    assert_eq!(taken + refused, CONFIGURATIONS);
    assert!(taken > 30_000 && refused > 30_000, "{taken} taken, {refused} refused");
}
