//! The table of cases, in the core.

use journeys::cases::{Case, SUITES};
use std::borrow::Cow;
use traffic_split::{Configuration, Decision, Request, Rules};

struct Asked<'a>(&'a Case);

impl Request for Asked<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == ":authority").then_some(Cow::Borrowed(self.0.authority))
    }

    fn destination_port(&self) -> Option<u16> {
        Some(self.0.port)
    }
}

#[test]
fn every_case_goes_where_the_table_says_whatever_the_random_number() {
    for suite in SUITES {
        let configuration = Configuration::from_json(suite.configuration.as_bytes()).expect(suite.about);
        let rules = Rules::new(&configuration, Some(suite.namespace));
        for case in suite.cases {
            for random in [0, 1, u64::MAX / 2, u64::MAX] {
                let cluster = match rules.decide(&Asked(case), random) {
                    Decision::Root(_) => None,
                    Decision::Backend(pick) => Some(pick.cluster.into_owned()),
                };
                assert_eq!(cluster.as_deref(), case.cluster, "{}: {}", suite.about, case.authority.escape_ascii());
            }
        }
    }
}
