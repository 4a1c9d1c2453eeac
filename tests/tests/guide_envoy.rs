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

#[test]
fn a_refused_configuration_leaves_the_last_good_one_in_force() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 0, 100)?;
    let good = guide.ecds(&guide.traffic_split(&sidecar.scratch, 0, 100)?)?;
    let bad = good.replace("httpbin-v2", "No Service");
    assert_ne!(bad, good);
    let load = Load::start(sidecar.port, ROOT, 4);
    load.more(500)?;
    let error = sidecar.replace(&bad).expect_err("Envoy refuses it");
    assert!(error.to_string().contains("refused"), "{error}");
    sidecar.envoy.wait_for_log("No Service")?;
    load.more(1000)?;
    let tally = load.stop();
    assert_eq!((tally.failed, tally.connections), (0, 4), "{:?}", tally.errors);
    assert_eq!(tally.of("httpbin-v2"), tally.total());
    assert_eq!(ten(&sidecar)?, ["httpbin-v2"; 10]);
    sidecar.apply(&guide, 100, 0)?;
    assert_eq!(ten(&sidecar)?, ["httpbin-v1"; 10]);
    Ok(())
}

#[test]
fn a_sidecar_that_starts_on_a_bad_configuration_serves_the_root_and_recovers() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start_on(&guide, 100, 0, |ecds| ecds.replace("httpbin-v1", "No Service"))?;
    sidecar.envoy.wait_for_log("No Service")?;
    assert_eq!(ten(&sidecar)?, ["httpbin"; 10]);
    assert_eq!(Client::new(sidecar.port).get(OTHER, "/json", &[])?.version(), "other");
    sidecar.apply(&guide, 100, 0)?;
    assert_eq!(ten(&sidecar)?, ["httpbin-v1"; 10]);
    Ok(())
}

#[test]
fn a_client_cannot_pick_a_cluster() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 100, 0)?;
    let mut client = Client::new(sidecar.port);
    let clusters = sidecar.envoy.admin("/clusters")?;
    let v2 = clusters.lines().filter_map(|line| line.split_once("::")).map(|(cluster, _)| cluster);
    let v2 = v2.into_iter().find(|cluster| cluster.contains("httpbin-v2")).expect("v2 has a cluster").as_bytes();
    let headers: &[(&str, &[u8])] = &[("x-traffic-split-cluster", v2), ("x-traffic-split-mirror", v2)];
    for host in [ROOT, OTHER] {
        let answer = client.get(host, "/json", headers)?;
        assert_eq!(answer.version(), if host == ROOT { "httpbin-v1" } else { "other" });
        assert!(answer.received("x-traffic-split-cluster").is_empty());
    }
    assert_eq!(sidecar.world.v2.requests(), 0);
    Ok(())
}
