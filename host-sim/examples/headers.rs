//! Headers: what a filter reads, writes, removes and answers itself.
//!
//! The filter is `host-sim/guests/filters/src/headers.rs`.

use host_sim::{Error, LogLevel, Response, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("headers")).start()?;

    // A request through the filter, and the upstream's answer back through it.
    let outcome = sim
        .request()
        .get("http://shop/cart?page=2")
        .header("x-tester", "yes")
        .response(Response::status_only(201).header("etag", "7"))
        .send();
    assert_eq!(outcome.request_header("x-cluster"), Some(&b"canary"[..]));
    assert_eq!(outcome.request_header(":path"), Some(&b"/cart?page=2"[..]));
    assert_eq!(outcome.status(), Some(201));
    // A header was written, so Envoy looks for the route again.
    assert!(outcome.route_cache_cleared);
    println!("the next filter gets:");
    outcome
        .request_headers
        .iter()
        .for_each(|(name, value)| println!("  {}: {}", name.escape_ascii(), value.escape_ascii()));

    // What the filter logged meanwhile.
    assert!(outcome.logs.iter().all(|log| log.level == LogLevel::Info));
    assert!(outcome.logs.iter().any(|log| log.message == "response etag: 7"));
    println!("it logged:");
    outcome.logs.iter().for_each(|log| println!("  {log}"));

    // A client can't choose the canary itself.
    let outcome = sim.request().header("x-cluster", "canary").send();
    assert_eq!(outcome.request_header("x-cluster"), None);

    // The filter answers this one; it never gets upstream.
    let outcome = sim.request().get("http://shop/ping").send();
    let answer = outcome.local_response.as_ref().expect("an answer of the filter's");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"pong\n"[..]));
    assert_eq!(outcome.response_header("x-answered-by"), Some(&b"the filter"[..]));
    println!("/ping is answered {}", answer.body.escape_ascii());
    Ok(())
}
