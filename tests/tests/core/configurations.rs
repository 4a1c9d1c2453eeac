//! A hundred thousand configurations, in the core.

use e2e::configurations::Configurations;
use std::borrow::Cow;
use traffic_split::{Configuration, Decision, RandomSource, Request, Rules};

const CONFIGURATIONS: usize = 100_000;

/// A request with the same bytes in every header.
struct Same<'a>(&'a [u8], &'a [u8]);

impl Request for Same<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(if name == ":authority" { self.0 } else { self.1 }))
    }

    fn destination_port(&self) -> Option<u16> {
        Some(80)
    }
}

struct Greatest;

impl RandomSource for Greatest {
    fn number(&mut self) -> u64 {
        u64::MAX
    }

    fn id(&mut self) -> Option<[u8; 16]> {
        Some([0xff; 16])
    }
}

#[test]
fn no_configuration_stops_the_core_and_what_it_takes_it_writes_again() {
    let mut configurations = Configurations::new(1);
    let (mut taken, mut refused, mut decided) = (0, 0, 0);
    for _ in 0..CONFIGURATIONS {
        let text = configurations.draw();
        let shown = || text.escape_ascii().to_string();
        match Configuration::from_json(&text) {
            Err(problems) => {
                refused += 1;
                assert!(!problems.is_empty(), "{}", shown());
                for problem in problems {
                    let said = problem.to_string();
                    assert!(said.len() < 1000 && !said.contains(char::is_control), "{said}: {}", shown());
                }
            }
            Ok(configuration) => {
                taken += 1;
                let written = serde_json::to_vec(&configuration).expect("JSON");
                let read = Configuration::from_json(&written);
                assert_eq!(read.as_ref(), Ok(&configuration), "{}", shown());
                let rules = Rules::new(&configuration, Some("a"));
                for (authority, bytes) in [
                    (&b"web.a:80"[..], &b"alice"[..]),
                    (b"WEB.b.", b"\xff"),
                    (b"web", b"user=\"x\"; v1"),
                    (b"shop.example.com", b"v1"),
                ] {
                    let decision = rules.decide(&Same(authority, bytes), &mut Greatest);
                    decided += usize::from(matches!(decision, Decision::Backend(_)));
                }
            }
        }
    }
    assert!(taken > 30_000 && refused > 30_000, "{taken} taken, {refused} refused");
    assert!(decided > 20_000, "{decided} requests to a backend");
}
