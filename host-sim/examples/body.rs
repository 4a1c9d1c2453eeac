//! Complete and streamed bodies, trailers, and a client that resets a paused stream.
//!
//! The filter is `host-sim/guests/filters/src/body.rs`.

use host_sim::{Error, Headers, Response, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("body")).start()?;

    // A complete body.
    let receipt = Response::status_only(200).header("content-length", "22").body("paid: 4111111111111111");
    let outcome = sim.request().response(receipt).send();
    assert_eq!(outcome.response.body, b"paid: [card]");
    assert_eq!(outcome.response_header("content-length"), None);
    println!("response body: {}", outcome.response.body.escape_ascii());

    // A streamed body: the card number arrives in two parts.
    let id = sim.request().open();
    let headers: Headers = [(b":status".to_vec(), b"200".to_vec())].into_iter().collect();
    let stream = sim.stream(id).respond_headers(headers, false).respond_body("paid: 41111111", false);
    println!("after the first part, paused: {}", stream.is_paused());
    assert!(stream.is_paused());
    let stream = stream.respond_body("11111111", true);
    assert!(!stream.is_paused());
    let outcome = stream.finish();
    assert_eq!(outcome.response.body, b"paid: [card]");
    println!("response body: {}", outcome.response.body.escape_ascii());

    // With trailers, `end_of_stream` is false for every part of the body.
    let receipt = Response::status_only(200).body("paid: 4111111111111111").trailer("checksum", "7");
    let outcome = sim.request().response(receipt).send();
    assert_eq!(outcome.response.body, b"paid: [card]");
    assert_eq!(outcome.response.trailers.get("checksum"), Some(&b"7"[..]));

    // The client resets the stream while the filter is paused.
    let id = sim.request().open();
    let headers: Headers = [(b":status".to_vec(), b"200".to_vec())].into_iter().collect();
    let outcome = sim.stream(id).respond_headers(headers, false).respond_body("paid: 41111111", false).finish();
    assert!(outcome.paused);
    assert!(outcome.response.body.is_empty());
    println!("after a reset the client has read {} bytes", outcome.response.body.len());
    Ok(())
}
