//! The table of cases in the core.

use e2e::cases::{self, Case, SUITES};
use envoy_request_headers::{HttpVersion, received};
use fixtures::{FakeRequest, FixedRandom};
use traffic_split::{Configuration, Decision, RootReason, Rules};

fn request(case: &Case) -> FakeRequest {
    let request = FakeRequest::default().header(":authority", case.authority).header(":method", case.method);
    let request = request.header(":path", case.path).destination_port(case.port);
    // Envoy writes header names in lower case.
    let headers = case.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
    let received = received(headers, HttpVersion::Http1);
    received.into_iter().fold(request, |request, (name, value)| request.header(&name, value))
}

#[test]
fn table_has_a_case_for_each_rule() {
    assert!(cases::count() >= 150, "{}", cases::count());
}

#[test]
fn every_case_goes_where_the_table_says_for_any_random_number() {
    for suite in SUITES {
        let configuration = Configuration::from_json(suite.configuration.as_bytes())
            .unwrap_or_else(|problems| panic!("{}: {problems:#?}", suite.about));
        let rules = Rules::new(&configuration, Some(suite.namespace));
        for case in suite.cases {
            let about = format!("{}: {}", suite.about, case.describe());
            for random in [0, 1, u64::MAX / 2, u64::MAX] {
                match rules.decide(&request(case), &mut FixedRandom::always(random).id([random as u8; 16])) {
                    Decision::Root(_) => assert_eq!(case.cluster, None, "{about}"),
                    Decision::Backend(pick) => {
                        assert_eq!(Some(&*pick.cluster), case.cluster, "{about}");
                        assert_eq!(pick.reason.as_str(), case.reason, "{about}");
                        assert_eq!(pick.mirror.as_deref(), case.mirror, "{about}");
                        assert_eq!(pick.set_cookie.is_some(), case.sets_cookie, "{about}");
                    }
                }
            }
        }
    }
}

/// The trace of `traffic-split explain` must match the decision.
#[test]
fn explanation_of_every_case_matches_the_decision() {
    for suite in SUITES {
        let configuration = Configuration::from_json(suite.configuration.as_bytes()).expect(suite.about);
        let rules = Rules::new(&configuration, Some(suite.namespace));
        for case in suite.cases {
            let about = format!("{}: {}", suite.about, case.describe());
            let trace = rules.explain(&request(case));
            match (trace.root_reason, rules.decide(&request(case), &mut FixedRandom::always(0).id([0; 16]))) {
                (Some(reason), decided) => assert_eq!(decided, Decision::Root(reason), "{about}"),
                (None, Decision::Backend(pick)) => {
                    assert_eq!(
                        (trace.split, trace.new_cookie.is_some()),
                        (Some(pick.split), case.sets_cookie),
                        "{about}"
                    );
                    let certain = trace.certain.map(|certain| (certain.backend, certain.reason));
                    assert!(certain.is_none_or(|certain| certain == (pick.backend, pick.reason)), "{about}");
                    let share = trace.shares.iter().find(|share| share.backend == pick.backend);
                    let share = share.unwrap_or_else(|| panic!("{about}: no share of {}", pick.backend));
                    assert_eq!(share.cluster, pick.cluster, "{about}");
                    assert!(certain.is_some() || share.share > 0.0, "{about}");
                }
                (None, Decision::Root(reason)) => panic!("{about}: {trace:?}, but {reason:?}"),
            }
        }
    }
    let configuration = Configuration::from_json(br#"{"excludedNamespaces": ["a"]}"#).expect("a configuration");
    let case = SUITES[0].cases[0];
    assert_eq!(Rules::new(&configuration, Some("a")).explain(&request(&case)).root_reason, Some(RootReason::Excluded));
}
