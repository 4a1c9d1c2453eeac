//! A TCP connection: held and forwarded data in each direction, and the side that closes.
//!
//! The filter is `host-sim/guests/filters/src/line.rs`.

use host_sim::{ClosedBy, Error, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("line")).start()?;

    // The filter waits for a complete line, then forwards all data.
    let id = sim.connection().source_address(([10, 0, 0, 7], 4711).into()).open();
    let connection = sim.open_connection(id).downstream_data("HEL", false);
    assert_eq!(connection.to_upstream(), b"");
    let connection = connection.downstream_data("LO alice\nand more", false);
    assert_eq!(connection.to_upstream(), b"HELLO alice\nand more");
    println!("to upstream: {}", connection.to_upstream().escape_ascii());

    // The upstream responds, then both sides end.
    let outcome = connection.upstream_data("hi\n", true).downstream_data("", true).finish();
    assert_eq!((&outcome.to_downstream[..], outcome.closed_by), (&b"hi\n"[..], ClosedBy::Client));
    println!("to downstream: {}", outcome.to_downstream.escape_ascii());

    // The filter closes a connection that does not begin with a greeting.
    let id = sim.connection().open();
    let outcome = sim.open_connection(id).downstream_data("GET / HTTP/1.1\r\n", false).finish();
    assert_eq!((&outcome.to_upstream[..], outcome.closed_by), (&b""[..], ClosedBy::Filter));
    assert_eq!(outcome.logs.len(), 1);
    println!("closed by {:?}: {}", outcome.closed_by, outcome.logs[0]);
    Ok(())
}
