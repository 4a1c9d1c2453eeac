//! HTTP callouts: a request is paused until the test responds, resets the callout, or lets it time out.
//!
//! The filter is `host-sim/guests/filters/src/http_auth.rs`.

use host_sim::{Error, Response, Simulator};
use std::time::Duration;

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("http_auth")).clusters(&["auth"]).start()?;

    // The filter makes a callout and pauses the request.
    let id = sim.request().header("authorization", "Bearer alice").open();
    assert!(sim.stream(id).is_paused());
    let call = sim.http_calls().pop().expect("a callout");
    assert_eq!((&call.cluster[..], call.timeout), ("auth", Some(Duration::from_secs(1))));
    assert_eq!(call.headers.get("authorization"), Some(&b"Bearer alice"[..]));
    println!("callout to {}, path {}", call.cluster, call.headers.get(":path").unwrap_or_default().escape_ascii());

    // After the response of the callout, the filter continues the request, and the upstream responds.
    sim.respond_to_http_call(call.token, Response::status_only(200));
    assert!(!sim.stream(id).is_paused());
    let outcome = sim.stream(id).respond(Response::status_only(204)).finish();
    assert_eq!(outcome.status(), Some(204));
    println!("callout response 200: {}", outcome.status().unwrap_or_default());

    // The callout is answered 403.
    let id = sim.request().header("authorization", "Bearer mallory").open();
    let call = sim.http_calls().pop().expect("a callout");
    sim.respond_to_http_call(call.token, Response::status_only(403));
    let outcome = sim.stream(id).finish();
    assert_eq!(outcome.status(), Some(403));
    println!("callout response 403: {}", outcome.status().unwrap_or_default());

    // The callout is reset.
    let id = sim.request().header("authorization", "Bearer alice").open();
    let call = sim.http_calls().pop().expect("a callout");
    sim.reset_http_call(call.token);
    assert_eq!(sim.stream(id).finish().status(), Some(503));

    // The callout times out. Time advances only when the test advances it.
    let id = sim.request().header("authorization", "Bearer alice").open();
    sim.advance(Duration::from_millis(999));
    assert!(sim.stream(id).is_paused());
    sim.advance(Duration::from_millis(1));
    let outcome = sim.stream(id).finish();
    assert_eq!(outcome.status(), Some(503));
    println!("callout timeout: {}", outcome.status().unwrap_or_default());
    outcome.logs.iter().for_each(|log| println!("  {log}"));
    Ok(())
}
