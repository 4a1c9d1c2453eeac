//! 100,000 generated configurations in the core.

use e2e::configurations::Configurations;
use fixtures::{FakeRequest, FixedRandom};
use traffic_split::{Configuration, Decision, Rules};

const CONFIGURATIONS: usize = 100_000;

#[test]
fn core_survives_every_configuration_and_serializes_what_it_accepts() {
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
                    let message = problem.to_string();
                    assert!(message.len() < 1000 && !message.contains(char::is_control), "{message}: {}", shown());
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
                    let request = FakeRequest::default().header(":authority", authority).every_other_header(bytes);
                    let request = request.destination_port(80);
                    let mut random = FixedRandom::always(u64::MAX).id([0xff; 16]);
                    let decision = rules.decide(&request, &mut random);
                    decided += usize::from(matches!(decision, Decision::Backend(_)));
                }
            }
        }
    }
    assert!(taken > 30_000 && refused > 30_000, "{taken} taken, {refused} refused");
    assert!(decided > 20_000, "{decided} requests to a backend");
}
