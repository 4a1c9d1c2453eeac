//! A TCP connection: what the filter holds back and lets go, each way, and who closes it.
//!
//! The filter is `host-sim/guests/filters/src/line.rs`.

use host_sim::{ClosedBy, Error, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("line")).start()?;

    // It waits for a whole line, and then lets all of it go.
    let id = sim.connection().source_address(([10, 0, 0, 7], 4711).into()).open();
    let connection = sim.open_connection(id).downstream_data("HEL", false);
    assert_eq!(connection.to_upstream(), b"");
    let connection = connection.downstream_data("LO alice\nand more", false);
    assert_eq!(connection.to_upstream(), b"HELLO alice\nand more");
    println!("the upstream gets: {}", connection.to_upstream().escape_ascii());

    // The upstream answers, and both end.
    let outcome = connection.upstream_data("hi\n", true).downstream_data("", true).finish();
    assert_eq!((&outcome.to_downstream[..], outcome.closed_by), (&b"hi\n"[..], ClosedBy::Client));
    println!("the client gets: {}", outcome.to_downstream.escape_ascii());

    // Whoever doesn't greet is cut off.
    let id = sim.connection().open();
    let outcome = sim.open_connection(id).downstream_data("GET / HTTP/1.1\r\n", false).finish();
    assert_eq!((&outcome.to_upstream[..], outcome.closed_by), (&b""[..], ClosedBy::Filter));
    assert_eq!(outcome.logs.len(), 1);
    println!("closed by {:?}: {}", outcome.closed_by, outcome.logs[0]);
    Ok(())
}
