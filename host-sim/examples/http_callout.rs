//! HTTP callouts: a request that waits for an answer, which the test gives, delays or withholds.
//!
//! The filter is `host-sim/guests/filters/src/http_auth.rs`.

use host_sim::{Error, Response, Simulator};
use std::time::Duration;

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("http_auth")).clusters(&["auth"]).start()?;

    // The filter asks, and holds the request meanwhile.
    let id = sim.request().header("authorization", "Bearer alice").open();
    assert!(sim.stream(id).is_paused());
    let call = sim.http_calls().pop().expect("a callout");
    assert_eq!((&call.cluster[..], call.timeout), ("auth", Some(Duration::from_secs(1))));
    assert_eq!(call.headers.get("authorization"), Some(&b"Bearer alice"[..]));
    println!("it asks {} for {}", call.cluster, call.headers.get(":path").unwrap_or_default().escape_ascii());

    // The answer lets the request go; then the upstream can answer.
    sim.answer_http_call(call.token, Response::status_only(200));
    assert!(!sim.stream(id).is_paused());
    let outcome = sim.stream(id).respond(Response::status_only(204)).finish();
    assert_eq!(outcome.status(), Some(204));
    println!("after 200 the client gets {}", outcome.status().unwrap_or_default());

    // Another answer.
    let id = sim.request().header("authorization", "Bearer mallory").open();
    let call = sim.http_calls().pop().expect("a callout");
    sim.answer_http_call(call.token, Response::status_only(403));
    let outcome = sim.stream(id).finish();
    assert_eq!(outcome.status(), Some(403));
    println!("after 403 the client gets {}", outcome.status().unwrap_or_default());

    // A connection that breaks.
    let id = sim.request().header("authorization", "Bearer alice").open();
    let call = sim.http_calls().pop().expect("a callout");
    sim.fail_http_call(call.token);
    assert_eq!(sim.stream(id).finish().status(), Some(503));

    // An answer that doesn't come. Time passes when the test says so.
    let id = sim.request().header("authorization", "Bearer alice").open();
    sim.advance(Duration::from_millis(999));
    assert!(sim.stream(id).is_paused());
    sim.advance(Duration::from_millis(1));
    let outcome = sim.stream(id).finish();
    assert_eq!(outcome.status(), Some(503));
    println!("after a second without answer the client gets {}", outcome.status().unwrap_or_default());
    outcome.logs.iter().for_each(|log| println!("  {log}"));
    Ok(())
}
