//! Time: it stands still until the test moves it, and ticks come on the way. And metrics, which outlive everything.
//!
//! The filter is `host-sim/guests/filters/src/blocklist.rs`.

use host_sim::{Error, Response, Simulator, Value};
use std::time::{Duration, SystemTime};

mod filters;

fn main() -> Result<(), Error> {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(43_200);
    let mut sim = Simulator::builder(&filters::filter("blocklist")).time(noon).start()?;

    // Nothing happens by itself.
    assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(200));
    assert!(sim.http_calls().is_empty());

    // The first tick comes after ten seconds, and the filter asks.
    sim.advance(Duration::from_secs(10));
    let call = sim.http_calls().pop().expect("a callout");
    println!("after 10 s it asks {}", call.cluster);
    sim.answer_http_call(call.token, Response::status_only(200).body("mallory\ntrudy\n"));
    assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(403));
    assert_eq!(sim.request().header("x-user", "alice").send().status(), Some(200));

    // In a minute there are six ticks. Nobody answers: each callout times out after five seconds, before the next tick.
    sim.advance(Duration::from_secs(60));
    let unanswered = sim.logs().iter().filter(|log| log.message == "control didn't answer").count();
    println!("a minute later {unanswered} callouts have timed out, and {} waits", sim.http_calls().len());
    assert_eq!((unanswered, sim.http_calls().len()), (5, 1));

    // The list is still the one that was known, and Envoy has counted.
    assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(403));
    let blocked = sim.metric("blocked_requests").expect("a metric");
    assert_eq!(blocked.value, Value::Counter(2));
    println!("blocked_requests: {:?}", blocked.value);
    Ok(())
}
