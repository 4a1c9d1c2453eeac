//! Routes: the cluster that Envoy selects after the filter has forwarded the request.
//!
//! The filter is `host-sim/guests/filters/src/headers.rs`: it writes the header that a route matches.

use host_sim::{Error, HeaderMatch, Outcome, Route, RouteTable, Simulator, VirtualHost};

mod filters;

fn main() -> Result<(), Error> {
    // The listener's `route_config`.
    let routes = RouteTable::builder()
        .virtual_host(
            VirtualHost::new("shop", ["shop", "shop:*"])
                .route(
                    Route::to_cluster_header("x-cluster")
                        .named("chosen")
                        .header(HeaderMatch::present("x-cluster"))
                        .remove_request_header("x-cluster")
                        .add_response_header("x-served-by", "%REQ(:authority)%"),
                )
                .route(Route::to_cluster("stable").named("default")),
        )
        .clusters(["stable", "canary"])
        .build()
        .expect("a valid route configuration");
    let mut sim = Simulator::builder(&filters::filter("headers")).routes(routes).start()?;

    let outcome = sim.request().get("http://shop/").header("x-tester", "yes").send();
    println!("tester:       {}", describe(&outcome));
    let route = outcome.route.as_ref().expect("a route");
    assert_eq!((&route.route[..], route.cluster.as_deref()), ("chosen", Some(&b"canary"[..])));
    // The route removes the request header and adds a response header.
    assert_eq!(outcome.request_header("x-cluster"), None);
    assert_eq!(outcome.response_header("x-served-by"), Some(&b"shop"[..]));

    let outcome = sim.request().get("http://shop/").header("x-cluster", "canary").send();
    println!("other user:   {}", describe(&outcome));
    assert_eq!(outcome.route.expect("a route").cluster.as_deref(), Some(&b"stable"[..]));

    let outcome = sim.request().get("http://elsewhere/").send();
    println!("other host:   {}", describe(&outcome));
    assert_eq!((outcome.status(), outcome.route), (Some(404), None));
    Ok(())
}

fn describe(outcome: &Outcome) -> String {
    match &outcome.route {
        Some(route) => {
            format!("route {}, cluster {}", route.route, route.cluster.as_deref().unwrap_or_default().escape_ascii())
        }
        None => format!("no route, status {}", outcome.status().unwrap_or_default()),
    }
}
