//! Hostile requests and configurations in the compiled filter in the simulator.

use crate::FILTER;
use e2e::hostile::{OWN_HEADERS, configuration_of_50_mb, configuration_of_requests, configurations, requests};
use host_sim::{Error, Outcome, Simulator};

const FORGED: &str = "forged";
const V1: &[u8] = b"outbound|14001||httpbin-v1.httpbin.svc.cluster.local";

fn start(configuration: &str) -> Simulator {
    Simulator::builder(&FILTER).configuration(configuration).start().expect("a start")
}

fn ask(simulator: &mut Simulator) -> Outcome {
    simulator.request().get("http://httpbin.httpbin:14001/json").send()
}

#[test]
fn hostile_requests_reach_only_v1_or_the_root() {
    let mut simulator = start(&configuration_of_requests());
    for row in requests(FORGED) {
        for host in ["httpbin.httpbin:14001", "other.httpbin:14001"] {
            let about = format!("{} at {host}", row.about);
            let mut request =
                simulator.request().method(row.method, "http://_/").path(&row.path).destination_port(14001);
            request = request.authority(row.authority.as_deref().unwrap_or(host.as_bytes()));
            for (name, value) in &row.headers {
                request = request.header(name, value);
            }
            let outcome = request.send();
            assert_eq!((&outcome.trap, &outcome.local_response), (&None, &None), "{about}");
            let clusters: Vec<_> = outcome.request_headers.get_all(OWN_HEADERS[0]).collect();
            assert!(
                clusters.is_empty() || clusters.len() == 1 && clusters[0].ends_with(&V1[14..]),
                "{about}: {clusters:?}"
            );
            let is_split = !clusters.is_empty();
            let expects_split = host == "httpbin.httpbin:14001" && row.authority.is_none();
            assert!(is_split || !expects_split, "{about}");
            // The route of split requests obeys these headers.
            let mirrors = outcome.request_headers.get_all(OWN_HEADERS[1]).count();
            assert!(!is_split || mirrors == 0, "{about}");
            let mut cookies = outcome.request_headers.get_all(OWN_HEADERS[2]);
            assert!(!is_split || cookies.all(|cookie| cookie.starts_with(b"user=")), "{about}");
            let backends: Vec<_> = outcome.request_headers.get_all(OWN_HEADERS[3]).collect();
            assert!(!is_split || backends == [b"httpbin-v1"], "{about}: {backends:?}");
        }
        assert!(ask(&mut simulator).request_header(OWN_HEADERS[0]) == Some(V1), "after {}", row.about);
    }
    // No request defines a counter: the names of all counters come from the configuration.
    let names: Vec<_> = simulator.metrics().into_iter().map(|(name, _)| name).collect();
    assert!(!names.is_empty() && names.len() <= 3, "{names:?}");
}

#[test]
fn hostile_configurations_are_accepted_or_refused_without_a_trap() {
    let good = r#"{"trafficSplits": []}"#;
    let mut simulator = start(good);
    let mut wrong = Vec::new();
    for row in configurations().into_iter().chain([configuration_of_50_mb()]) {
        let result = simulator.reconfigure(&row.text);
        match &result {
            Ok(()) => {
                assert_eq!(ask(&mut simulator).request_header(OWN_HEADERS[0]), Some(V1), "{}", row.about);
                simulator.reconfigure(good).expect("a good configuration");
            }
            Err(Error::Refused { logs, .. }) => {
                assert!(!logs.is_empty(), "{}", row.about);
                let is_short = |message: &str| message.len() < 1000 && !message.contains(['\n', '\r', '\0']);
                assert!(logs.iter().all(|log| is_short(&log.message)), "{}: {logs:?}", row.about);
            }
            Err(error) => panic!("{}: {error}", row.about),
        }
        if result.is_ok() != row.is_valid {
            wrong.push(format!("{}: {:?}", row.about, result.err().map(|error| error.to_string())));
        }
        assert_eq!(ask(&mut simulator).request_header(OWN_HEADERS[0]), None, "after {}", row.about);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
