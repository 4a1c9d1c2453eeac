//! gRPC callouts: a response message, or a status that closes the call.
//!
//! The filter is `host-sim/guests/filters/src/grpc_auth.rs`.

use host_sim::{Error, Simulator};

mod filters;

fn main() -> Result<(), Error> {
    let mut sim = Simulator::builder(&filters::filter("grpc_auth")).start()?;

    let id = sim.request().get("http://shop/cart").header("authorization", "alice").open();
    let call = sim.grpc_calls().pop().expect("a call");
    assert_eq!(
        (&call.upstream[..], &call.service[..], &call.method[..]),
        (&b"auth"[..], "auth.v1.Authorization", "Check")
    );
    assert_eq!(call.metadata.get("authorization"), Some(&b"alice"[..]));
    // A message is a protobuf encoding: field 1, five bytes.
    assert_eq!(call.messages, [b"\x0a\x05/cart"]);
    println!("call of {}/{}, message {}", call.service, call.method, call.messages[0].escape_ascii());

    // The response message ends the call.
    sim.grpc_message(call.token, b"");
    assert!(sim.grpc_calls().is_empty());
    let outcome = sim.stream(id).respond(host_sim::Response::status_only(200)).finish();
    assert_eq!(outcome.status(), Some(200));
    println!("after a response: {}", outcome.status().unwrap_or_default());

    // PERMISSION_DENIED.
    let id = sim.request().open();
    let call = sim.grpc_calls().pop().expect("a call");
    sim.grpc_close(call.token, 7, "no");
    let outcome = sim.stream(id).finish();
    assert_eq!(outcome.status(), Some(403));
    println!("after status 7: {}", outcome.status().unwrap_or_default());

    // A gRPC client receives the local response as a gRPC status.
    let id = sim.request().header("content-type", "application/grpc").open();
    let call = sim.grpc_calls().pop().expect("a call");
    sim.grpc_close(call.token, 7, "no");
    let outcome = sim.stream(id).finish();
    assert_eq!((outcome.status(), outcome.response_header("grpc-status")), (Some(200), Some(&b"7"[..])));
    println!("gRPC client: grpc-status 7");
    Ok(())
}
