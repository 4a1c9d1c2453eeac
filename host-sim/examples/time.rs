//! Time advances only when the test advances it, and ticks run when they are due. Metrics outlive VMs.
//!
//! The filter is `host-sim/guests/filters/src/blocklist.rs`.

use host_sim::{Error, Response, Simulator, Value};
use std::time::{Duration, SystemTime};

mod filters;

fn main() -> Result<(), Error> {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(43_200);
    let mut sim = Simulator::builder(&filters::filter("blocklist")).time(noon).start()?;

    // Without `advance`, no tick runs.
    assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(200));
    assert!(sim.http_calls().is_empty());

    // The first tick runs after ten seconds, and the filter makes a callout.
    sim.advance(Duration::from_secs(10));
    let call = sim.http_calls().pop().expect("a callout");
    println!("after 10 s: callout to {}", call.cluster);
    sim.respond_to_http_call(call.token, Response::status_only(200).body("mallory\ntrudy\n"));
    assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(403));
    assert_eq!(sim.request().header("x-user", "alice").send().status(), Some(200));

    // Six ticks run in a minute. Each callout times out after five seconds, before the next tick.
    sim.advance(Duration::from_secs(60));
    let unanswered = sim.logs().iter().filter(|log| log.message == "control did not respond with 200").count();
    println!("after another minute: {unanswered} callouts timed out, {} is open", sim.http_calls().len());
    assert_eq!((unanswered, sim.http_calls().len()), (5, 1));

    // The filter keeps its last list, and Envoy keeps the counter.
    assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(403));
    let blocked = sim.metric("blocked_requests").expect("a metric");
    assert_eq!(blocked.value, Value::Counter(2));
    println!("blocked_requests: {:?}", blocked.value);
    Ok(())
}
