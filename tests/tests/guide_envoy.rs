//! The canary guide in a real Envoy, with the filter and the command as they were built.

use journeys::client::{Client, Load};
use journeys::guide::{Guide, Sidecar};
use journeys::world::{OTHER, ROOT};
use journeys::{Result, is_share};

/// Asks the root ten times, as ten calls of curl would; the versions that answered.
fn ten(sidecar: &Sidecar) -> Result<Vec<String>> {
    (0..10)
        .map(|_| {
            let answer = Client::new(sidecar.port).get(ROOT, "/json", &[])?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            Ok(answer.version())
        })
        .collect()
}

#[test]
fn all_ten_requests_are_answered_by_v1() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 100, 0)?;
    assert_eq!(ten(&sidecar)?, ["httpbin-v1"; 10]);
    assert_eq!(sidecar.world.root.requests(), 0);
    Ok(())
}

#[test]
fn weights_change_under_load_and_nobody_notices() -> Result<()> {
    let guide = Guide::built()?;
    let mut sidecar = Sidecar::start(&guide, 100, 0)?;
    let load = Load::start(sidecar.port, ROOT, 4);
    let other = Load::start(sidecar.port, OTHER, 1);
    let before = load.more(500)?;
    assert_eq!(before.of("httpbin-v1"), before.total(), "{before:?}");

    for (v1, v2) in [(50, 50), (90, 10), (0, 100), (100, 0), (50, 50)] {
        sidecar.apply(&guide, v1, v2)?;
        // Each worker follows as soon as it looks; what was under way until then isn't counted.
        load.more(1000)?;
        let after = load.more(2000)?;
        let share = f64::from(v1) / f64::from(v1 + v2);
        assert!(is_share(after.of("httpbin-v1"), after.total(), share, 5.0), "{v1}/{v2}: {after:?}");
        assert_eq!(after.of("httpbin-v1") + after.of("httpbin-v2"), after.total(), "{after:?}");
    }

    let (tally, others) = (load.stop(), other.stop());
    assert_eq!(tally.failed, 0, "{:?}", tally.errors);
    assert_eq!(tally.connections, 4, "no connection was closed");
    assert_eq!(sidecar.world.root.requests(), 0);
    assert_eq!(sidecar.envoy.stat("listener_manager.listener_modified")?, 0);
    assert_eq!(sidecar.extension_stat("update_success")?, 6);
    sidecar.envoy.check_running()?;

    assert!(others.total() > 0);
    assert_eq!(others.of("other"), others.total(), "{others:?}");
    assert_eq!(sidecar.world.other.requests(), others.total());
    Ok(())
}
