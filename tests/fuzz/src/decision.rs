//! Checks of decisions.

use fixtures::{FakeRequest, FixedRandom};
use traffic_split::{Decision, Pick, RoutingTrace, Rules};

/// Random numbers at the ends and in the middle of the range.
const NUMBERS: [u64; 3] = [0, u64::MAX / 2, u64::MAX];

/// Checks that `decide` agrees with `explain` for every random number, with and without random ids.
pub(crate) fn check(rules: &Rules, request: &FakeRequest) {
    let trace = rules.explain(request);
    for number in NUMBERS {
        for mut random in [FixedRandom::always(number), FixedRandom::always(number).id([number as u8; 16])] {
            match rules.decide(request, &mut random) {
                Decision::Root(reason) => assert_eq!(trace.root_reason, Some(reason), "{trace:?}"),
                Decision::Backend(pick) => check_pick(&pick, &trace),
            }
        }
    }
}

fn check_pick(pick: &Pick<'_>, trace: &RoutingTrace<'_>) {
    assert_eq!(trace.root_reason, None, "{pick:?} {trace:?}");
    assert_eq!(trace.split, Some(pick.split));
    let share = trace.shares.iter().find(|share| share.backend == pick.backend);
    let share = share.unwrap_or_else(|| panic!("{pick:?} is not in {trace:?}"));
    assert_eq!(share.cluster, pick.cluster);
    // Envoy reads the cluster from a header.
    assert!(!pick.cluster.is_empty() && pick.cluster.bytes().all(|byte| byte.is_ascii_graphic()), "{pick:?}");
    match &trace.certain {
        Some(certain) => assert_eq!((certain.backend, certain.reason), (pick.backend, pick.reason)),
        None => assert!(share.weight.billionths() > 0, "{pick:?} has no weight in {trace:?}"),
    }
    if let Some(cookie) = &pick.set_cookie {
        let name = trace.new_cookie.expect("the trace has the new cookie");
        assert!(cookie.starts_with(&format!("{name}=")) && !cookie.contains(char::is_control), "{cookie:?}");
    }
    assert!(pick.mirror.is_none() || trace.mirror.is_some(), "{pick:?} {trace:?}");
    assert!(!pick.counter().contains(char::is_control));
}
