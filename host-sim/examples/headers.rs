//! Header changes, local responses and logs.
//!
//! The filter is `host-sim/guests/filters/src/headers.rs`.

use host_sim::{Error, LogLevel, Response, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("headers")).start()?;

    // The request passes the filter, then the upstream's response does.
    let outcome = sim
        .request()
        .get("http://shop/cart?page=2")
        .header("x-tester", "yes")
        .response(Response::status_only(201).header("etag", "7"))
        .send();
    assert_eq!(outcome.request_header("x-cluster"), Some(&b"canary"[..]));
    assert_eq!(outcome.request_header(":path"), Some(&b"/cart?page=2"[..]));
    assert_eq!(outcome.status(), Some(201));
    // The filter changed a header, so Envoy selects the route again.
    assert!(outcome.route_cache_cleared);
    println!("request headers after the filter:");
    outcome
        .request_headers
        .iter()
        .for_each(|(name, value)| println!("  {}: {}", name.escape_ascii(), value.escape_ascii()));

    // The log messages of the filter during the request.
    assert!(outcome.logs.iter().all(|log| log.level == LogLevel::Info));
    assert!(outcome.logs.iter().any(|log| log.message == "response etag: 7"));
    println!("logs:");
    outcome.logs.iter().for_each(|log| println!("  {log}"));

    // The filter removes a cluster header that the client sends.
    let outcome = sim.request().header("x-cluster", "canary").send();
    assert_eq!(outcome.request_header("x-cluster"), None);

    // The filter sends a local response; the request does not reach the upstream.
    let outcome = sim.request().get("http://shop/ping").send();
    let answer = outcome.local_response.as_ref().expect("a local response");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"pong\n"[..]));
    assert_eq!(outcome.response_header("x-answered-by"), Some(&b"the filter"[..]));
    println!("local response to /ping: {}", answer.body.escape_ascii());
    Ok(())
}
