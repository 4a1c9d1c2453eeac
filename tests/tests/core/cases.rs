//! The table of cases, in the core.

use e2e::cases::{self, Case, SUITES};
use std::borrow::Cow;
use traffic_split::{Configuration, Decision, RandomSource, Request, RootReason, Rules};

struct Asked<'a>(&'a Case);

impl Request for Asked<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.header(name).map(Cow::Borrowed)
    }

    fn destination_port(&self) -> Option<u16> {
        Some(self.0.port)
    }
}

struct Always(u64);

impl RandomSource for Always {
    fn number(&mut self) -> u64 {
        self.0
    }

    fn id(&mut self) -> Option<[u8; 16]> {
        Some([self.0 as u8; 16])
    }
}

#[test]
fn the_table_has_a_case_for_each_rule() {
    assert!(cases::count() >= 150, "{}", cases::count());
}

#[test]
fn every_case_goes_where_the_table_says_whatever_the_random_number() {
    for suite in SUITES {
        let configuration = Configuration::from_json(suite.configuration.as_bytes())
            .unwrap_or_else(|problems| panic!("{}: {problems:#?}", suite.about));
        let rules = Rules::new(&configuration, Some(suite.namespace));
        for case in suite.cases {
            let about = format!("{}: {}", suite.about, case.describe());
            for random in [0, 1, u64::MAX / 2, u64::MAX] {
                match rules.decide(&Asked(case), &mut Always(random)) {
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

/// What `traffic-split explain` says is the decision's own reasoning.
#[test]
fn an_explanation_of_every_case_says_what_is_done() {
    for suite in SUITES {
        let configuration = Configuration::from_json(suite.configuration.as_bytes()).expect(suite.about);
        let rules = Rules::new(&configuration, Some(suite.namespace));
        for case in suite.cases {
            let about = format!("{}: {}", suite.about, case.describe());
            let trace = rules.explain(&Asked(case));
            match (trace.root_reason, rules.decide(&Asked(case), &mut Always(0))) {
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
    assert_eq!(Rules::new(&configuration, Some("a")).explain(&Asked(&case)).root_reason, Some(RootReason::Excluded));
}
