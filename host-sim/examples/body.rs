//! Bodies: whole, in pieces, and with trailers; and a filter that waits for the rest.
//!
//! The filter is `host-sim/guests/filters/src/body.rs`.

use host_sim::{Error, Headers, Response, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("body")).start()?;

    // At once.
    let receipt = Response::status_only(200).header("content-length", "22").body("paid: 4111111111111111");
    let outcome = sim.request().response(receipt).send();
    assert_eq!(outcome.response.body, b"paid: [card]");
    assert_eq!(outcome.response_header("content-length"), None);
    println!("the client reads {}", outcome.response.body.escape_ascii());

    // Step by step: the number comes in two pieces.
    let id = sim.request().open();
    let headers: Headers = [(b":status".to_vec(), b"200".to_vec())].into_iter().collect();
    let stream = sim.stream(id).respond_headers(headers, false).respond_body("paid: 41111111", false);
    println!("after the first piece the filter {}", if stream.is_paused() { "waits" } else { "goes on" });
    assert!(stream.is_paused());
    let stream = stream.respond_body("11111111", true);
    assert!(!stream.is_paused());
    let outcome = stream.finish();
    assert_eq!(outcome.response.body, b"paid: [card]");
    println!("the client reads {}", outcome.response.body.escape_ascii());

    // With trailers, no piece of the body says that it is the last.
    let receipt = Response::status_only(200).body("paid: 4111111111111111").trailer("checksum", "7");
    let outcome = sim.request().response(receipt).send();
    assert_eq!(outcome.response.body, b"paid: [card]");
    assert_eq!(outcome.response.trailers.get("checksum"), Some(&b"7"[..]));

    // A client that leaves while the filter still waits.
    let id = sim.request().open();
    let headers: Headers = [(b":status".to_vec(), b"200".to_vec())].into_iter().collect();
    let outcome = sim.stream(id).respond_headers(headers, false).respond_body("paid: 41111111", false).finish();
    assert!(outcome.paused);
    assert!(outcome.response.body.is_empty());
    println!("who leaves early has read {} bytes", outcome.response.body.len());
    Ok(())
}
